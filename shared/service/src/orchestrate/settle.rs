//! Brings the counts of earlier runs up to date: which of their jobs have ended since, and how.

use snowpack_domain::{Duration, JobStatus, Run, Timestamp};

use crate::failure::Failure;
use crate::ports::{JobStore, PageRequest, RunStore};
use crate::sync::list_failure;

/// Earlier runs looked at: two days' worth at the default schedule. Jobs that take longer stay open in their record.
const RUNS: usize = 24;

/// How long a run may still be under way and write its record: longer than any invocation lasts.
const UNDER_WAY: Duration = Duration::from_seconds(3600);

/// Counts the jobs of earlier runs that have ended.
///
/// # Errors
/// [`Failure`] when the store failed.
pub(super) async fn settle_earlier_runs<S: JobStore + RunStore>(
    store: &S,
    now: Timestamp,
) -> Result<(), Failure> {
    let page = PageRequest {
        limit: RUNS,
        cursor: None,
    };
    let runs = store.runs(&page).await.map_err(list_failure)?;
    let has_ended = |run: &Run| run.completed_at.is_some() || now - run.started_at > UNDER_WAY;
    let open = |run: &Run| has_ended(run) && !run.open_jobs.is_empty();
    for run in runs.items.into_iter().filter(open) {
        let open = run.open_jobs.len();
        let settled = settle(store, run).await?;
        if settled.open_jobs.len() < open {
            store.put_run(&settled).await?;
        }
    }
    Ok(())
}

async fn settle<S: JobStore>(store: &S, mut run: Run) -> Result<Run, Failure> {
    for id in std::mem::take(&mut run.open_jobs) {
        // A job that was purged has ended, and nobody knows how.
        let status = store.job(&id).await?.map(|job| job.value.status);
        match status {
            Some(JobStatus::Completed) => run.jobs_completed += 1,
            Some(JobStatus::Failed | JobStatus::Cancelled) => run.jobs_failed += 1,
            Some(JobStatus::Pending | JobStatus::Running) => run.open_jobs.push(id),
            None => {}
        }
    }
    Ok(run)
}
