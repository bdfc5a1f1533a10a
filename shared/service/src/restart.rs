//! Restart of a deployment whose only worker process has just started: whoever held a lease is dead.

use snowpack_domain as domain;
use snowpack_domain::JobStatus;

use crate::failure::Failure;
use crate::ports::{Clock, JobFilter, JobStore, ListError, PageRequest, Versioned, Write};

/// Jobs in one page.
const JOBS_PER_PAGE: usize = 500;

/// Ends every lease. [`sweep`](crate::sweep) then wakes the jobs.
///
/// # Errors
/// [`Failure`] when the store failed; calling again is safe.
pub async fn abandon_leases<S: JobStore>(store: &S, clock: &impl Clock) -> Result<(), Failure> {
    let running = JobFilter {
        status: Some(JobStatus::Running),
        ..JobFilter::default()
    };
    let mut page = PageRequest {
        limit: JOBS_PER_PAGE,
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
