//! Reads of single rows: a job, a lock, the drain switch, an idempotency record.

use rusqlite::{OptionalExtension, Transaction, params};
use snowpack_domain::{Drain, Fence, Job, JobId, Lock, TableId, Timestamp, Upkeep};
use snowpack_service::ports::{IdempotencyRecord, Version, Versioned};
use snowpack_wire::stored::decode_job;

use crate::error::DatabaseError;

pub(super) fn job(
    transaction: &Transaction<'_>,
    id: &JobId,
) -> Result<Option<Versioned<Job>>, DatabaseError> {
    let row: Option<(Version, String)> = transaction
        .prepare_cached("SELECT version, document FROM jobs WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let decode = |(version, document): (Version, String)| {
        Ok(Versioned {
            value: decode_job(&document)?,
            version,
        })
    };
    row.map(decode).transpose()
}

pub(super) fn lock(transaction: &Transaction<'_>, table: &TableId) -> Result<Versioned<Lock>, DatabaseError> {
    let row: Option<(Version, Option<String>, u64, Upkeep)> = transaction
        .prepare_cached(
            "SELECT version, holder, fence, completed_at, ended_at, orphans_removed_at FROM locks
             WHERE database_name = ?1 AND table_name = ?2",
        )?
        .query_row(params![table.database.as_str(), table.table.as_str()], |row| {
            let time = |index| {
                Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.map(Timestamp::from_micros))
            };
            let upkeep = Upkeep {
                completed_at: time(3)?,
                ended_at: time(4)?,
                orphans_removed_at: time(5)?,
            };
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, upkeep))
        })
        .optional()?;
    let Some((version, holder, fence, upkeep)) = row else {
        return Ok(Versioned {
            value: Lock::default(),
            version: 0,
        });
    };
    Ok(Versioned {
        value: Lock {
            holder: holder.as_deref().map(job_id).transpose()?,
            fence: Fence::new(fence),
            upkeep,
        },
        version,
    })
}

pub(super) fn drain(transaction: &Transaction<'_>) -> Result<Versioned<Drain>, DatabaseError> {
    let row = transaction
        .prepare_cached("SELECT version, enabled, reason FROM drain")?
        .query_row([], |row| {
            Ok(Versioned {
                version: row.get(0)?,
                value: Drain {
                    enabled: row.get(1)?,
                    reason: row.get(2)?,
                },
            })
        })
        .optional()?;
    Ok(row.unwrap_or(Versioned {
        value: Drain::default(),
        version: 0,
    }))
}

/// The record of a key that has not expired at `now`.
pub(super) fn idempotency(
    transaction: &Transaction<'_>,
    key: &str,
    now: Timestamp,
) -> Result<Option<IdempotencyRecord>, DatabaseError> {
    let row: Option<(String, String, i64)> = transaction
        .prepare_cached(
            "SELECT request_hash, job, expires_at FROM idempotency WHERE key = ?1 AND expires_at > ?2",
        )?
        .query_row(params![key, now.as_micros()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let record = |(request_hash, job, expires_at): (String, String, i64)| {
        Ok(IdempotencyRecord {
            key: key.to_owned(),
            request_hash,
            job: job_id(&job)?,
            expires_at: Timestamp::from_micros(expires_at),
        })
    };
    row.map(record).transpose()
}

/// The id in a column that only ever gets ids.
pub(super) fn job_id(text: &str) -> Result<JobId, DatabaseError> {
    JobId::parse(text).map_err(|_| DatabaseError::Unreadable(format!("{text:?} where a job id belongs")))
}
