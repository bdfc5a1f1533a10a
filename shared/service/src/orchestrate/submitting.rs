//! What a run does with the tables it found: it submits jobs for as many as its limits and its time allow.

use std::time::Duration;

use snowpack_domain::{Candidate, JobOptions, JobStatus, Shortlist, SkipCause, SubmitRefused};

use super::{Orchestrator, Tally};
use crate::failure::Failure;
use crate::ports::{Clock, HealthStore, Ids, JobFilter, JobQueue, JobStore, PageRequest, RunStore, Tables};
use crate::submit::{SubmitRefusal, SubmitRequest};
use crate::sync::{PAGE, list_failure};
use crate::time_limit::TimeLimit;

/// How long beyond its time limit a run goes on submitting what it found. Who sets the limit keeps this much time, and
/// some more to keep the record.
pub const SUBMITTING_TIME: Duration = Duration::from_secs(60);

/// Whether a run goes on after a candidate.
enum Next {
    GoOn,
    /// Drain mode came on.
    Stop,
}

impl<S, Q, T, C, I> Orchestrator<S, Q, T, C, I>
where
    S: JobStore + HealthStore + RunStore,
    Q: JobQueue,
    T: Tables,
    C: Clock + Clone,
    I: Ids,
{
    /// Submits candidates until the slots are taken or time is up. Each job is in the record before the next is
    /// submitted, so that a run that dies is known by its jobs.
    pub(super) async fn submit_best(
        &self,
        shortlist: Shortlist,
        limit: TimeLimit,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let slots = self.free_slots().await?;
        let mut candidates = shortlist.into_order().into_iter();
        while tally.submitted() < slots {
            if limit.is_reached() {
                tally.leave_unsubmitted(candidates.len().min(slots - tally.submitted()));
                break;
            }
            let Some(candidate) = candidates.next() else {
                break;
            };
            if let Next::Stop = self.submit_one(candidate, tally).await? {
                break;
            }
        }
        Ok(())
    }

    async fn submit_one(&self, candidate: Candidate, tally: &mut Tally) -> Result<Next, Failure> {
        if tally.is_dry_run() {
            tally.would_submit();
            return Ok(Next::GoOn);
        }
        let table = candidate.table.clone();
        let request = SubmitRequest {
            table: candidate.table,
            actions: candidate.actions,
            options: JobOptions::default(),
            dry_run: false,
            idempotency_key: None,
        };
        match self.submitter.submit(request).await {
            Ok(Ok(job)) => {
                tally.submit(&job);
                self.store.put_run(&tally.unfinished()).await?;
            }
            Ok(Err(SubmitRefusal::Protocol(SubmitRefused::Busy(_)))) => tally.skip(SkipCause::ActiveJob),
            Ok(Err(SubmitRefusal::Protocol(SubmitRefused::Draining(_)))) => {
                tally.skip(SkipCause::Draining);
                return Ok(Next::Stop);
            }
            Ok(Err(refused)) => tally.note(format!("{table} was refused: {refused:?}")),
            Err(error) => tally.note(format!("{table} could not be submitted: {error}")),
        }
        Ok(Next::GoOn)
    }

    /// Jobs that may be submitted now.
    async fn free_slots(&self) -> Result<usize, Failure> {
        let mut active = 0;
        for status in [JobStatus::Pending, JobStatus::Running] {
            let filter = JobFilter {
                status: Some(status),
                ..JobFilter::default()
            };
            let mut cursor = None;
            while active < self.limits.max_active_jobs {
                let page = PageRequest { limit: PAGE, cursor };
                let page = self.store.jobs(&filter, &page).await.map_err(list_failure)?;
                active += page.items.len();
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        let free = self.limits.max_active_jobs.saturating_sub(active);
        Ok(free.min(self.limits.max_submissions))
    }
}
