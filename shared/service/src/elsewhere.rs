//! The run of another engine that a job left behind when it ended: told to stop, then forgotten.

use snowpack_domain as domain;
use snowpack_domain::{JobId, RemoteRun};
use snowpack_telemetry::events::{REMOTE_RUN_NOT_STOPPED, REMOTE_RUN_STOPPED};

use crate::failure::Failure;
use crate::ports::{Engine, JobStore, RemoteError, Versioned, Write};

/// Sees to the run that the job left behind, if it has ended and did.
///
/// # Errors
/// [`Failure`] when the run could not be reached or the job not be written; trying again is safe. A sweep sends the
/// job's message until this has worked once.
pub(crate) async fn stop_run_left_behind<S: JobStore, E: Engine>(
    store: &S,
    engine: &E,
    id: &JobId,
) -> Result<(), Failure> {
    let Some(Versioned { value: job, version }) = store.job(id).await? else {
        return Ok(());
    };
    let Some(run) = domain::run_left_behind(&job) else {
        return Ok(());
    };
    stop_run(engine, id, run).await?;
    let forgotten = Versioned {
        value: domain::forget_run(job),
        version,
    };
    // A lost race was lost to another worker that did the same.
    store
        .write(&Write {
            job: Some(forgotten),
            ..Write::default()
        })
        .await?;
    Ok(())
}

/// Tells a run to stop. One that cannot be told, because the other engine refuses, ends by its own time limit.
///
/// # Errors
/// [`Failure::Remote`] when trying again may help.
pub(crate) async fn stop_run<E: Engine>(engine: &E, job: &JobId, run: &RemoteRun) -> Result<(), Failure> {
    match engine.abandon(run).await {
        Ok(()) => {
            tracing::info!(event = REMOTE_RUN_STOPPED.name, job_id = %job, action = %run.action, run = run.id)
        }
        Err(RemoteError::Refused(reason)) => {
            tracing::error!(event = REMOTE_RUN_NOT_STOPPED.name, job_id = %job, action = %run.action, run = run.id, cause = reason);
        }
        Err(unavailable) => return Err(unavailable.into()),
    }
    Ok(())
}
