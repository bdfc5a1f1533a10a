//! The table cache: one row per table, and how fresh the whole is.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Row, Transaction, params, params_from_iter};
use snowpack_domain::{CacheEntry, CacheState, TableId, Timestamp};
use snowpack_service::ports::Page;
use snowpack_wire::stored::Cursor;

use crate::error::DatabaseError;

const COLUMNS: &str =
    "database_name, table_name, location, metadata_location, format_version, properties, generation";

pub(super) fn contains(transaction: &Transaction<'_>, table: &TableId) -> Result<bool, DatabaseError> {
    let found = transaction
        .prepare_cached("SELECT 1 FROM cache_entries WHERE database_name = ?1 AND table_name = ?2")?
        .exists(params![table.database.as_str(), table.table.as_str()])?;
    Ok(found)
}

pub(super) fn entry(
    transaction: &Transaction<'_>,
    table: &TableId,
) -> Result<Option<CacheEntry>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM cache_entries WHERE database_name = ?1 AND table_name = ?2");
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut rows = statement.query(params![table.database.as_str(), table.table.as_str()])?;
    rows.next()?.map(read).transpose()
}

/// A page of entries by name, of one database if given, right after `after`.
pub(super) fn list(
    transaction: &Transaction<'_>,
    database: Option<String>,
    after: Option<TableId>,
    limit: usize,
) -> Result<Page<CacheEntry>, DatabaseError> {
    let mut conditions = vec!["1"];
    let mut values = Vec::new();
    if let Some(database) = database {
        conditions.push("database_name = ?");
        values.push(Value::from(database));
    }
    if let Some(after) = after {
        conditions.push("(database_name, table_name) > (?, ?)");
        values.push(Value::from(after.database.to_string()));
        values.push(Value::from(after.table.to_string()));
    }
    values.push(Value::from(
        i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
    ));
    let conditions = conditions.join(" AND ");
    let sql = format!(
        "SELECT {COLUMNS} FROM cache_entries WHERE {conditions} ORDER BY database_name, table_name LIMIT ?"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(read(row)?);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items
        .last()
        .filter(|_| more)
        .map(|entry| Cursor::after_entry(entry).encode());
    Ok(Page { items, next })
}

fn read(row: &Row<'_>) -> Result<CacheEntry, DatabaseError> {
    let (database, table): (String, String) = (row.get(0)?, row.get(1)?);
    let properties: String = row.get(5)?;
    let unreadable =
        |what: &str| DatabaseError::Unreadable(format!("the cache entry {database}.{table}: {what}"));
    let properties: BTreeMap<String, String> =
        serde_json::from_str(&properties).map_err(|error| unreadable(&error.to_string()))?;
    Ok(CacheEntry {
        table: TableId::new(&database, &table).map_err(|error| unreadable(&error.to_string()))?,
        location: row.get(2)?,
        metadata_location: row.get(3)?,
        format_version: row.get(4)?,
        properties,
        generation: row.get(6)?,
    })
}

pub(super) fn put(transaction: &Transaction<'_>, entries: &[CacheEntry]) -> Result<(), DatabaseError> {
    let sql = format!("INSERT OR REPLACE INTO cache_entries ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    let mut statement = transaction.prepare_cached(&sql)?;
    for entry in entries {
        let properties = serde_json::to_string(&entry.properties).expect("a map of texts is always JSON");
        statement.execute(params![
            entry.table.database.as_str(),
            entry.table.table.as_str(),
            entry.location,
            entry.metadata_location,
            entry.format_version,
            properties,
            entry.generation,
        ])?;
    }
    Ok(())
}

pub(super) fn remove(transaction: &Transaction<'_>, table: &TableId) -> Result<(), DatabaseError> {
    transaction.execute(
        "DELETE FROM cache_entries WHERE database_name = ?1 AND table_name = ?2",
        params![table.database.as_str(), table.table.as_str()],
    )?;
    Ok(())
}

/// Removes those of these entries that were written before `generation`; returns how many.
pub(super) fn remove_older(
    transaction: &Transaction<'_>,
    tables: &[TableId],
    generation: u64,
) -> Result<u64, DatabaseError> {
    let mut statement = transaction.prepare_cached(
        "DELETE FROM cache_entries WHERE database_name = ?1 AND table_name = ?2 AND generation < ?3",
    )?;
    let mut removed = 0;
    for table in tables {
        removed += statement.execute(params![table.database.as_str(), table.table.as_str(), generation])?;
    }
    Ok(removed as u64)
}

pub(super) fn state(transaction: &Transaction<'_>) -> Result<CacheState, DatabaseError> {
    let mut statement = transaction
        .prepare_cached("SELECT generation, last_synced, table_count, position FROM cache_state")?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(CacheState::default());
    };
    let position: Option<String> = row.get(3)?;
    let unreadable = |_| DatabaseError::Unreadable(format!("the position {position:?} of the sync"));
    Ok(CacheState {
        generation: row.get(0)?,
        last_synced: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_micros),
        table_count: row.get(2)?,
        position: position
            .as_deref()
            .map(TableId::parse)
            .transpose()
            .map_err(unreadable)?,
    })
}

pub(super) fn set_state(transaction: &Transaction<'_>, state: &CacheState) -> Result<(), DatabaseError> {
    transaction.execute(
        "INSERT OR REPLACE INTO cache_state (only, generation, last_synced, table_count, position)
         VALUES (1, ?1, ?2, ?3, ?4)",
        params![
            state.generation,
            state.last_synced.map(Timestamp::as_micros),
            state.table_count,
            state.position.as_ref().map(TableId::to_string),
        ],
    )?;
    Ok(())
}
