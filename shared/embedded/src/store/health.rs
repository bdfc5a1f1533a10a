//! Health reports by table and time; the newest one is the last of the history.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use snowpack_domain::{TableHealth, TableId, Timestamp};
use snowpack_service::ports::Page;
use snowpack_wire::stored::{Cursor, decode_health, encode_health};

use crate::error::DatabaseError;

pub(super) fn put(transaction: &Transaction<'_>, health: &TableHealth) -> Result<(), DatabaseError> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO health (database_name, table_name, collected_at, document) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            health.table.database.as_str(),
            health.table.table.as_str(),
            health.collected_at.as_micros(),
            encode_health(health),
        ])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<TableHealth, DatabaseError> {
    let document = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(decode_health(document)?)
}

pub(super) fn latest(
    transaction: &Transaction<'_>,
    tables: &[TableId],
) -> Result<HashMap<TableId, TableHealth>, DatabaseError> {
    let mut statement = transaction.prepare_cached(
        "SELECT document FROM health WHERE database_name = ?1 AND table_name = ?2 ORDER BY collected_at DESC LIMIT 1",
    )?;
    let mut found = HashMap::new();
    for table in tables {
        let names = params![table.database.as_str(), table.table.as_str()];
        let document: Option<String> = statement.query_row(names, |row| row.get(0)).optional()?;
        match document.as_deref().map(decode_health) {
            Some(Ok(report)) => {
                found.insert(table.clone(), report);
            }
            // As good as none: it is read anew.
            Some(Err(error)) => tracing::warn!(%table, %error, "a health report cannot be read"),
            None => {}
        }
    }
    Ok(found)
}

/// A page of a table's reports, newest first, from right before `before`.
pub(super) fn history(
    transaction: &Transaction<'_>,
    table: &TableId,
    before: Option<Timestamp>,
    limit: usize,
) -> Result<Page<TableHealth>, DatabaseError> {
    let before = before.map_or(i64::MAX, Timestamp::as_micros);
    let mut statement = transaction.prepare_cached(
        "SELECT document FROM health WHERE database_name = ?1 AND table_name = ?2 AND collected_at < ?3
         ORDER BY collected_at DESC LIMIT ?4",
    )?;
    let names = (table.database.as_str(), table.table.as_str());
    let one_more = limit.saturating_add(1);
    let mut rows = statement.query(params![names.0, names.1, before, one_more])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(read(row)?);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let next = last.map(|health| Cursor::Health(health.collected_at).encode());
    Ok(Page { items, next })
}

/// The table that the sync of health came to.
pub(super) fn position(transaction: &Transaction<'_>) -> Result<Option<TableId>, DatabaseError> {
    let mut statement = transaction.prepare_cached("SELECT position FROM health_sync")?;
    let position: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
    let unreadable =
        |_| DatabaseError::Unreadable(format!("the position {position:?} of the sync of health"));
    position
        .as_deref()
        .map(TableId::parse)
        .transpose()
        .map_err(unreadable)
}

pub(super) fn set_position(transaction: &Transaction<'_>, table: &TableId) -> Result<(), DatabaseError> {
    transaction.execute(
        "INSERT OR REPLACE INTO health_sync (only, position) VALUES (1, ?1)",
        params![table.to_string()],
    )?;
    Ok(())
}

/// Deletes at most `limit` reports collected before `before`; returns how many.
pub(super) fn purge(
    transaction: &Transaction<'_>,
    before: Timestamp,
    limit: usize,
) -> Result<usize, DatabaseError> {
    let deleted = transaction.execute(
        "DELETE FROM health WHERE (database_name, table_name, collected_at) IN
         (SELECT database_name, table_name, collected_at FROM health WHERE collected_at < ?1 LIMIT ?2)",
        params![before.as_micros(), limit],
    )?;
    Ok(deleted)
}
