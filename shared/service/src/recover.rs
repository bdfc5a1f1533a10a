//! Recover: send the messages of jobs that nothing else will wake.

use snowpack_domain as domain;

use crate::failure::Failure;
use crate::ports::{Clock, JobQueue, JobStore, Versioned, Write};

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
