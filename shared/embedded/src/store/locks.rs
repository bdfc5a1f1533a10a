//! The list of locks that are held.

use rusqlite::{Transaction, params};
use snowpack_domain::TableId;
use snowpack_service::ports::Page;
use snowpack_wire::stored::Cursor;

use crate::error::DatabaseError;

/// A page of tables whose lock is held, by name, right after `after`.
pub(super) fn held(
    transaction: &Transaction<'_>,
    after: Option<TableId>,
    limit: usize,
) -> Result<Page<TableId>, DatabaseError> {
    // No name is empty, so that an empty one sorts before them all.
    let (database, table) = after
        .map(|table| (table.database.to_string(), table.table.to_string()))
        .unwrap_or_default();
    let mut statement = transaction.prepare_cached(
        "SELECT database_name, table_name FROM locks
         WHERE holder IS NOT NULL AND (database_name, table_name) > (?1, ?2)
         ORDER BY database_name, table_name LIMIT ?3",
    )?;
    let more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows = statement.query(params![database, table, more])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let (database, table): (String, String) = (row.get(0)?, row.get(1)?);
        let id = TableId::new(&database, &table)
            .map_err(|error| DatabaseError::Unreadable(format!("the lock of {database}.{table}: {error}")))?;
        items.push(id);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items
        .last()
        .filter(|_| more)
        .map(|table| Cursor::Table(table.clone()).encode());
    Ok(Page { items, next })
}
