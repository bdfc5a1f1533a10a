//! Cancel: end a job, revoke its fence and free its table in one write.

use snowpack_domain as domain;
use snowpack_domain::{CancelRefused, Job, JobId, Pair};

use crate::failure::{Failure, Races};
use crate::ports::{Clock, JobStore, Versioned, Write};

/// Why a cancel was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelRefusal {
    /// No such job.
    UnknownJob,
    /// The job has ended.
    Protocol(CancelRefused),
}

/// Cancels a pending or running job.
///
/// # Errors
/// [`Failure`] when the store failed; cancelling again is safe.
pub async fn cancel<S: JobStore>(
    store: &S,
    clock: &impl Clock,
    id: &JobId,
) -> Result<Result<Job, CancelRefusal>, Failure> {
    let mut races = Races::default();
    loop {
        let Some(job) = store.job(id).await? else {
            return Ok(Err(CancelRefusal::UnknownJob));
        };
        let lock = store.lock(&job.value.table).await?;
        let pair = Pair {
            job: job.value,
            lock: lock.value,
        };
        let table = pair.job.table.clone();
        let cancelled = match domain::cancel(pair, clock.now()) {
            Ok(cancelled) => cancelled,
            Err(refused) => return Ok(Err(CancelRefusal::Protocol(refused))),
        };
        let write = Write {
            job: Some(Versioned {
                value: cancelled.job.clone(),
                version: job.version,
            }),
            lock: Some((
                table,
                Versioned {
                    value: cancelled.lock,
                    version: lock.version,
                },
            )),
            ..Write::default()
        };
        if races.won(store.write(&write).await?)? {
            tracing::info!(event = "job_cancelled", job_id = %cancelled.job.id, table = %cancelled.job.table);
            return Ok(Ok(cancelled.job));
        }
    }
}
