//! Records of orchestrator runs.

use rusqlite::{OptionalExtension, Transaction, params};
use snowpack_domain::{Run, RunId, Timestamp};
use snowpack_service::ports::Page;
use snowpack_wire::stored::{Cursor, decode_run, encode_run};

use crate::error::DatabaseError;

pub(super) fn put(transaction: &Transaction<'_>, run: &Run) -> Result<(), DatabaseError> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO runs (id, started_at, document) VALUES (?1, ?2, ?3)")?
        .execute(params![
            run.id.as_str(),
            run.started_at.as_micros(),
            encode_run(run)
        ])?;
    Ok(())
}

pub(super) fn run(transaction: &Transaction<'_>, id: &RunId) -> Result<Option<Run>, DatabaseError> {
    let document: Option<String> = transaction
        .prepare_cached("SELECT document FROM runs WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    Ok(document.map(|document| decode_run(&document)).transpose()?)
}

/// A page of runs, newest start first, right behind `after`.
pub(super) fn list(
    transaction: &Transaction<'_>,
    after: Option<&(Timestamp, RunId)>,
    limit: usize,
) -> Result<Page<Run>, DatabaseError> {
    let (time, id) = match after {
        Some((time, id)) => (time.as_micros(), id.as_str()),
        None => (i64::MAX, "~"),
    };
    let mut statement = transaction.prepare_cached(
        "SELECT document FROM runs WHERE (started_at, id) < (?1, ?2) ORDER BY started_at DESC, id DESC LIMIT ?3",
    )?;
    let mut rows = statement.query(params![time, id, limit.saturating_add(1)])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let document = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        items.push(decode_run(document)?);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let next = last.map(|run| Cursor::Run(run.started_at, run.id.clone()).encode());
    Ok(Page { items, next })
}
