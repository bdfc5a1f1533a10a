//! Cancel: end a job, revoke its fence and free its table in one write.

use snowpack_domain as domain;
use snowpack_domain::{CancelRefused, Job, JobId};

use crate::apply::change_pair;
use crate::failure::Failure;
use crate::ports::{Clock, JobStore};
use crate::report::job_ended;

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
    let changed = change_pair(store, id, |pair| domain::cancel(pair, clock.now())).await?;
    Ok(match changed {
        None => Err(CancelRefusal::UnknownJob),
        Some(Err(refused)) => Err(CancelRefusal::Protocol(refused)),
        Some(Ok(cancelled)) => {
            let job = cancelled.job;
            job_ended(&job);
            Ok(job)
        }
    })
}
