//! Send a job's message and note in the job that it was sent, so that no sweep sends it again too soon.

use snowpack_domain as domain;
use snowpack_domain::{Duration, Job};

use crate::failure::Failure;
use crate::ports::{Clock, JobQueue, JobStore, Versioned, Write};

/// Sends the message of the job as just read or written, to be delivered after `delay_seconds`. A job that has
/// changed meanwhile is noted by nobody: a worker has it already.
///
/// # Errors
/// [`Failure`] when the message was not sent or that could not be noted; a sweep then sends it (again).
pub(crate) async fn send<S: JobStore, Q: JobQueue>(
    store: &S,
    queue: &Q,
    clock: &impl Clock,
    job: Versioned<Job>,
    delay_seconds: u32,
) -> Result<(), Failure> {
    let Versioned { value, version } = job;
    queue.send(&value.id, delay_seconds).await?;
    let arrives = clock.now() + Duration::from_seconds(i64::from(delay_seconds));
    let noted = Versioned {
        value: domain::enqueued(value, arrives),
        version,
    };
    store
        .write(&Write {
            job: Some(noted),
            ..Write::default()
        })
        .await?;
    Ok(())
}
