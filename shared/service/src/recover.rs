//! Recover: send the messages of jobs that nothing else will wake.

use snowpack_domain as domain;
use snowpack_domain::JobStatus;

use crate::failure::Failure;
use crate::ports::{Clock, JobFilter, JobQueue, JobStore, ListError, PageRequest, Versioned, Write};

/// Jobs looked at in one round; the next round takes the rest.
const MAX_JOBS: usize = 500;

/// Sends a message for every job that needs one: never enqueued, long pending, or left by a dead worker.
/// Returns how many were sent.
///
/// # Errors
/// [`Failure`] when the store or queue failed; what was sent stays sent, and sending twice is harmless.
pub async fn recover<S: JobStore, Q: JobQueue>(
    store: &S,
    queue: &Q,
    clock: &impl Clock,
) -> Result<u64, Failure> {
    if store.drain().await?.value.enabled {
        return Ok(0);
    }
    let mut sent = 0;
    for id in store.jobs_needing_message(clock.now(), MAX_JOBS).await? {
        let Some(Versioned { value: job, version }) = store.job(&id).await? else {
            continue;
        };
        if !domain::needs_message(&job, clock.now()) {
            continue;
        }
        queue.send(&id, 0).await?;
        sent += 1;
        tracing::info!(event = "job_recovered", job_id = %id, table = %job.table, attempt = job.attempt);
        let noted = domain::enqueued(job, clock.now());
        store
            .write(&Write {
                job: Some(Versioned {
                    value: noted,
                    version,
                }),
                ..Write::default()
            })
            .await?;
    }
    Ok(sent)
}

/// Ends every lease: for a deployment whose only worker process has just started, so that every worker
/// named in the store is dead. [`recover`] then wakes the jobs.
///
/// # Errors
/// [`Failure`] when the store failed; calling again is safe.
pub async fn abandon_leases<S: JobStore>(store: &S, clock: &impl Clock) -> Result<(), Failure> {
    let running = JobFilter {
        status: Some(JobStatus::Running),
        ..JobFilter::default()
    };
    let mut page = PageRequest {
        limit: MAX_JOBS,
        cursor: None,
    };
    loop {
        let jobs = match store.jobs(&running, &page).await {
            Ok(jobs) => jobs,
            Err(ListError::Store(error)) => return Err(error.into()),
            Err(ListError::BadCursor) => return Err(Failure::Contended),
        };
        for listed in jobs.items {
            let Some(Versioned { value: job, version }) = store.job(&listed.id).await? else {
                continue;
            };
            let job = domain::abandon_lease(job, clock.now());
            store
                .write(&Write {
                    job: Some(Versioned { value: job, version }),
                    ..Write::default()
                })
                .await?;
        }
        match jobs.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(()),
        }
    }
}
