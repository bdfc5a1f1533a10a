//! One atomic write: every condition checked and every put made in one transaction, or nothing.

use rusqlite::{Transaction, params};
use snowpack_domain::{Job, Lock, TableId, Timestamp, message_due};
use snowpack_service::ports::{IdempotencyRecord, Versioned, Write, Written};
use snowpack_wire::stored::encode_job;

use super::{cache, rows};
use crate::database::Outcome;
use crate::error::DatabaseError;

/// Applies `write`, or finds that a version moved on and undoes everything.
pub(super) fn apply(transaction: &Transaction<'_>, write: &Write) -> Result<Outcome<Written>, DatabaseError> {
    let applied = conditions_hold(transaction, write)? && put_all(transaction, write)?;
    Ok(if applied {
        Outcome::Commit(Written::Applied)
    } else {
        Outcome::Undo(Written::LostRace)
    })
}

fn conditions_hold(transaction: &Transaction<'_>, write: &Write) -> Result<bool, DatabaseError> {
    if let Some(expected) = write.expect_drain
        && rows::drain(transaction)?.version != expected
    {
        return Ok(false);
    }
    match &write.expect_cached {
        Some(table) => cache::contains(transaction, table),
        None => Ok(true),
    }
}

fn put_all(transaction: &Transaction<'_>, write: &Write) -> Result<bool, DatabaseError> {
    if let Some(job) = &write.job
        && !put_job(transaction, job)?
    {
        return Ok(false);
    }
    if let Some((table, lock)) = &write.lock
        && !put_lock(transaction, table, lock)?
    {
        return Ok(false);
    }
    match &write.idempotency {
        Some(record) => record_key(
            transaction,
            record,
            write.job.as_ref().map(|job| job.value.submitted_at),
        ),
        None => Ok(true),
    }
}

fn put_job(transaction: &Transaction<'_>, job: &Versioned<Job>) -> Result<bool, DatabaseError> {
    let Versioned { value: job, version } = job;
    let sql = if *version == 0 {
        "INSERT INTO jobs (id, version, status, database_name, table_name, submitted_at, finished_at, due, document)
         VALUES (?1, ?2 + 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING"
    } else {
        "UPDATE jobs SET version = ?2 + 1, status = ?3, database_name = ?4, table_name = ?5, submitted_at = ?6,
         finished_at = ?7, due = ?8, document = ?9 WHERE id = ?1 AND version = ?2"
    };
    let finished_at = job.completed_at.filter(|_| job.is_terminal());
    let changed = transaction.prepare_cached(sql)?.execute(params![
        job.id.as_str(),
        version,
        job.status.as_str(),
        job.table.database.as_str(),
        job.table.table.as_str(),
        job.submitted_at.as_micros(),
        finished_at.map(Timestamp::as_micros),
        message_due(job).map(Timestamp::as_micros),
        encode_job(job),
    ])?;
    Ok(changed == 1)
}

fn put_lock(
    transaction: &Transaction<'_>,
    table: &TableId,
    lock: &Versioned<Lock>,
) -> Result<bool, DatabaseError> {
    let Versioned { value: lock, version } = lock;
    let sql = if *version == 0 {
        "INSERT INTO locks (database_name, table_name, version, holder, fence, completed_at, ended_at,
             orphans_removed_at)
         VALUES (?1, ?2, ?3 + 1, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (database_name, table_name) DO NOTHING"
    } else {
        "UPDATE locks SET version = ?3 + 1, holder = ?4, fence = ?5, completed_at = ?6, ended_at = ?7,
         orphans_removed_at = ?8
         WHERE database_name = ?1 AND table_name = ?2 AND version = ?3"
    };
    let changed = transaction.prepare_cached(sql)?.execute(params![
        table.database.as_str(),
        table.table.as_str(),
        version,
        lock.holder.as_ref().map(|job| job.as_str()),
        lock.fence.number(),
        lock.upkeep.completed_at.map(|time| time.as_micros()),
        lock.upkeep.ended_at.map(|time| time.as_micros()),
        lock.upkeep.orphans_removed_at.map(|time| time.as_micros()),
    ])?;
    Ok(changed == 1)
}

/// Drops every record expired at `now`, so that they never pile up, and keeps the new one if its key is free.
fn record_key(
    transaction: &Transaction<'_>,
    record: &IdempotencyRecord,
    now: Option<Timestamp>,
) -> Result<bool, DatabaseError> {
    if let Some(now) = now {
        transaction
            .prepare_cached("DELETE FROM idempotency WHERE expires_at <= ?1")?
            .execute([now.as_micros()])?;
    }
    let changed = transaction
        .prepare_cached(
            "INSERT INTO idempotency (key, request_hash, job, expires_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (key) DO NOTHING",
        )?
        .execute(params![
            record.key,
            record.request_hash,
            record.job.as_str(),
            record.expires_at.as_micros()
        ])?;
    Ok(changed == 1)
}
