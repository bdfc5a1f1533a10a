//! What the log says of jobs: one place for the events that several use cases lead to, and for the spans that lend
//! job and action to everything logged within.

use snowpack_domain::{Action, ActionResult, Job, JobOptions, JobStatus, Metric, OptionValue, Timestamp};
use snowpack_telemetry::events::{ACTION_COMPLETED, JOB_CANCELLED, JOB_COMPLETED, JOB_FAILED, JOB_STARTED};
use tracing::Span;

/// The span of one slice of a job.
pub(crate) fn job_span(job: &Job) -> Span {
    // Of the severest level, so that no filter takes the fields from its lines.
    tracing::error_span!(
        "job",
        job_id = %job.id,
        table = %job.table,
        attempt = job.attempt,
        slice = job.slice,
        fence = job.fence.number()
    )
}

/// The span of an action within that of its job.
pub(crate) fn action_span(action: Action) -> Span {
    tracing::error_span!("action", %action)
}

/// A job was claimed at `now`; within the job's span.
pub(crate) fn job_started(job: &Job, now: Timestamp) {
    // What waits since its submission was perhaps sent again meanwhile, and waits all the same.
    let first = job.slice <= 1;
    let since = job.enqueued_at.filter(|_| !first).unwrap_or(job.submitted_at);
    tracing::info!(
        event = JOB_STARTED.name,
        queue_seconds = seconds_between(since, now).max(0.0)
    );
}

/// A job ended.
pub(crate) fn job_ended(job: &Job) {
    let elapsed_seconds = job
        .started_at
        .zip(job.completed_at)
        .map(|(started, completed)| seconds_between(started, completed));
    macro_rules! say {
        ($level:ident, $event:ident) => {
            tracing::$level!(
                event = $event.name,
                job_id = %job.id,
                table = %job.table,
                attempt = job.attempt,
                slice = job.slice,
                fence = job.fence.number(),
                status = job.status.as_str(),
                elapsed_seconds,
                cause = job.error,
            )
        };
    }
    match job.status {
        JobStatus::Completed => say!(info, JOB_COMPLETED),
        JobStatus::Failed => say!(warn, JOB_FAILED),
        JobStatus::Cancelled => say!(info, JOB_CANCELLED),
        JobStatus::Pending | JobStatus::Running => {}
    }
}

/// An action ended; within the job's span.
pub(crate) fn action_ended(result: &ActionResult, options: &JobOptions) {
    let number = |name: &str| match result.metrics.get(name) {
        Some(Metric::Count(count)) => Some(*count),
        _ => None,
    };
    let status = match result.outcome {
        Ok(_) => JobStatus::Completed,
        Err(_) => JobStatus::Failed,
    };
    let reclaimed = number("bytes").filter(|_| deletes(result.action, options));
    tracing::info!(
        event = ACTION_COMPLETED.name,
        action = %result.action,
        status = status.as_str(),
        elapsed_seconds = result.elapsed_seconds,
        files_in = number("files_in"),
        files_out = number("files_out"),
        bytes_in = number("bytes_in"),
        bytes_out = number("bytes_out"),
        bytes_reclaimed = reclaimed,
        cause = result.outcome.as_ref().err(),
    );
}

/// Whether the action deletes what its result counts, and does not only look.
fn deletes(action: Action, options: &JobOptions) -> bool {
    options.get(action, "dry_run") != Some(&OptionValue::Bool(true))
}

fn seconds_between(start: Timestamp, end: Timestamp) -> f64 {
    let micros = (end - start).as_micros();
    std::time::Duration::from_micros(u64::try_from(micros).unwrap_or_default()).as_secs_f64()
}
