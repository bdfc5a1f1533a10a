//! Lists of jobs: by submission, by completion, those whose message is due, and the purge.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Transaction, params, params_from_iter};
use snowpack_domain::{Job, JobId, JobStatus, Timestamp};
use snowpack_service::ports::{JobFilter, MOST_JOBS_COUNTED, Page};
use snowpack_wire::stored::{Cursor, decode_job};

use super::rows::job_id;
use crate::error::DatabaseError;

/// A page of jobs that match `filter`, right after `after` in the list's order.
pub(super) fn list(
    transaction: &Transaction<'_>,
    filter: &JobFilter,
    after: Option<(Timestamp, JobId)>,
    limit: usize,
) -> Result<Page<Job>, DatabaseError> {
    let (sql, values) = query(filter, after, limit);
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(decode_job(
            row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
        )?);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items
        .last()
        .filter(|_| more)
        .map(|job| Cursor::after_job(job, filter.finished_only).encode());
    Ok(Page { items, next })
}

/// One more row than the page holds tells whether there is another page.
fn query(filter: &JobFilter, after: Option<(Timestamp, JobId)>, limit: usize) -> (String, Vec<Value>) {
    let order = if filter.finished_only {
        "finished_at"
    } else {
        "submitted_at"
    };
    let mut conditions = vec![format!("{order} IS NOT NULL")];
    let mut values = Vec::new();
    for (column, wanted) in [
        ("status", filter.status.map(|status| status.as_str().to_owned())),
        ("database_name", filter.database.clone()),
        ("table_name", filter.table.clone()),
    ] {
        if let Some(wanted) = wanted {
            conditions.push(format!("{column} = ?"));
            values.push(Value::from(wanted));
        }
    }
    if let Some((time, id)) = after {
        conditions.push(format!("({order}, id) < (?, ?)"));
        values.push(Value::from(time.as_micros()));
        values.push(Value::from(id.to_string()));
    }
    values.push(Value::from(
        i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
    ));
    let conditions = conditions.join(" AND ");
    let sql = format!("SELECT document FROM jobs WHERE {conditions} ORDER BY {order} DESC, id DESC LIMIT ?");
    (sql, values)
}

/// Jobs whose message is due at `now`, the longest due first.
pub(super) fn due(
    transaction: &Transaction<'_>,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<JobId>, DatabaseError> {
    let mut statement =
        transaction.prepare_cached("SELECT id FROM jobs WHERE due <= ?1 ORDER BY due LIMIT ?2")?;
    let mut rows = statement.query(params![now.as_micros(), limit])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.push(job_id(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(due)
}

/// Active jobs by status, and those that ended at `since` or later.
pub(super) fn counts(
    transaction: &Transaction<'_>,
    since: Timestamp,
) -> Result<BTreeMap<JobStatus, u64>, DatabaseError> {
    let mut counts = BTreeMap::from(JobStatus::ALL.map(|status| (status, 0)));
    for (status, count) in counts.iter_mut().filter(|(status, _)| !status.is_terminal()) {
        *count = transaction
            .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM jobs WHERE status = ?1 LIMIT ?2)")?
            .query_row(params![status.as_str(), MOST_JOBS_COUNTED], |row| row.get(0))?;
    }
    let mut statement = transaction.prepare_cached(
        "SELECT status, count(*) FROM (SELECT status FROM jobs WHERE finished_at >= ?1 LIMIT ?2) GROUP BY status",
    )?;
    let mut rows = statement.query(params![since.as_micros(), MOST_JOBS_COUNTED])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let status = JobStatus::parse(&name)
            .ok_or_else(|| DatabaseError::Unreadable(format!("a job of status {name:?}")))?;
        counts.insert(status, row.get(1)?);
    }
    Ok(counts)
}

/// Deletes at most `limit` jobs that ended before `before`; returns how many.
pub(super) fn purge(
    transaction: &Transaction<'_>,
    before: Timestamp,
    limit: usize,
) -> Result<usize, DatabaseError> {
    let deleted = transaction.execute(
        "DELETE FROM jobs WHERE rowid IN (SELECT rowid FROM jobs WHERE finished_at < ?1 LIMIT ?2)",
        params![before.as_micros(), limit],
    )?;
    Ok(deleted)
}

#[cfg(test)]
mod tests;
