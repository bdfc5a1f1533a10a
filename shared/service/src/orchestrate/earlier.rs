//! What a run learns from earlier ones: how their jobs ended, which goes into their records, and where the last one that
//! ran out of time left off.

use snowpack_domain::{Duration, JobStatus, Run, TableId, Timestamp};

use crate::failure::Failure;
use crate::ports::{JobStore, PageRequest, RunStore};
use crate::sync::{PAGE, list_failure};

/// Age up to which records are looked at. Jobs that take longer stay open in theirs.
const SETTLED_FOR: Duration = Duration::from_days(7);

/// Records looked at, however many an outside scheduler posts: a week of one every two minutes.
const MOST_RECORDS: usize = 5040;

/// How long a run may still be under way and write its record: longer than any invocation lasts.
const UNDER_WAY: Duration = Duration::from_seconds(3600);

/// Counts the jobs of earlier runs that have ended; returns the table to start with.
///
/// # Errors
/// [`Failure`] when the store failed.
pub(super) async fn see_to_earlier_runs<S: JobStore + RunStore>(
    store: &S,
    now: Timestamp,
) -> Result<Option<TableId>, Failure> {
    let runs = telling_runs(store, now).await?;
    // A later run that had time enough may have started anywhere.
    let start = runs.iter().find_map(|run| run.left_from.clone());
    let has_ended = |run: &Run| run.completed_at.is_some() || now - run.started_at > UNDER_WAY;
    let open = |run: &Run| has_ended(run) && !run.open_jobs.is_empty();
    for run in runs.into_iter().filter(open) {
        let open = run.open_jobs.len();
        let settled = settle(store, run).await?;
        if settled.open_jobs.len() < open {
            store.put_run(&settled).await?;
        }
    }
    Ok(start)
}

/// The records young enough that have open jobs or say where their run left off, newest first.
async fn telling_runs<S: RunStore>(store: &S, now: Timestamp) -> Result<Vec<Run>, Failure> {
    let (mut telling, mut seen, mut cursor) = (Vec::new(), 0, None);
    loop {
        let page = PageRequest { limit: PAGE, cursor };
        let page = store.runs(&page).await.map_err(list_failure)?;
        seen += page.items.len();
        let is_young = |run: &Run| now - run.started_at <= SETTLED_FOR;
        let came_to_old = page.items.last().is_some_and(|run| !is_young(run));
        let tells = |run: &Run| is_young(run) && (!run.open_jobs.is_empty() || run.left_from.is_some());
        telling.extend(page.items.into_iter().filter(tells));
        cursor = page.next;
        if came_to_old || cursor.is_none() || seen >= MOST_RECORDS {
            return Ok(telling);
        }
    }
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
