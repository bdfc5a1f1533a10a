//! Counts what a run of the orchestrator does, and makes its record.

use snowpack_domain::{
    Candidate, Job, JobId, Run, RunId, RunStatus, SkipCause, SkipCounts, TableId, Timestamp,
};

use super::RunRequest;
use super::look::Look;
use crate::failure::Failure;

/// What a record says of a run that is under way, or that died.
const UNFINISHED: &str = "the run has not come to its end";
/// Problems told one by one; more are only counted.
const MOST_NOTES: usize = 3;

pub(super) struct Tally {
    id: RunId,
    started_at: Timestamp,
    dry_run: bool,
    skipped: SkipCounts,
    assessed: u64,
    healthy: u64,
    submitted: usize,
    jobs: Vec<JobId>,
    /// Tables for which there was no time.
    left: u64,
    /// The first of them, if the next run is to start with it.
    left_from: Option<TableId>,
    keeps_its_place: bool,
    /// Jobs that were due and for which there was no time.
    unsubmitted: usize,
    problems: u64,
    notes: Vec<String>,
    failure: Option<String>,
}

impl Tally {
    pub(super) fn new(id: RunId, started_at: Timestamp, request: &RunRequest) -> Self {
        Self {
            id,
            started_at,
            dry_run: request.dry_run,
            skipped: SkipCounts::default(),
            assessed: 0,
            healthy: 0,
            submitted: 0,
            jobs: Vec::new(),
            left: 0,
            left_from: None,
            keeps_its_place: request.is_for_everything(),
            unsubmitted: 0,
            problems: 0,
            notes: Vec::new(),
            failure: None,
        }
    }

    pub(super) fn skip(&mut self, cause: SkipCause) {
        self.skipped.add(cause);
    }

    /// Notes something that went wrong with one table.
    pub(super) fn note(&mut self, problem: String) {
        self.problems += 1;
        if self.notes.len() < MOST_NOTES {
            self.notes.push(problem);
        }
    }

    /// Notes what ended a part of the run before its time. What comes after it may be its consequence, and is only
    /// logged.
    pub(super) fn fail(&mut self, error: &Failure) {
        tracing::warn!(%error, "the run broke off");
        self.failure.get_or_insert_with(|| error.to_string());
    }

    /// Counts tables for which there is no time, in the order in which their turn would have come.
    pub(super) fn leave(&mut self, tables: impl IntoIterator<Item = TableId>) {
        for table in tables {
            self.left += 1;
            if self.keeps_its_place {
                self.left_from.get_or_insert(table);
            }
        }
    }

    pub(super) fn leave_unsubmitted(&mut self, jobs: usize) {
        self.unsubmitted = jobs;
    }

    /// Counts a look at a table; returns the table if something is due on it.
    pub(super) fn count(&mut self, look: Look) -> Option<Candidate> {
        match look {
            Look::Due(candidate) => {
                self.assessed += 1;
                return Some(candidate);
            }
            Look::Healthy => {
                self.assessed += 1;
                self.healthy += 1;
            }
            Look::Gone => {}
            Look::Skipped(cause) => self.skip(cause),
            Look::NoTime(table) => self.leave([table]),
            Look::Failed(table, error) => self.note(format!("{table} could not be assessed: {error}")),
        }
        None
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    pub(super) fn submitted(&self) -> usize {
        self.submitted
    }

    pub(super) fn submit(&mut self, job: &Job) {
        self.submitted += 1;
        self.jobs.push(job.id.clone());
    }

    pub(super) fn would_submit(&mut self) {
        self.submitted += 1;
    }

    /// The record before the run has come to its end.
    pub(super) fn unfinished(&self) -> Run {
        Run {
            status: self.broken_off(),
            error: Some(UNFINISHED.to_owned()),
            ..self.record(None)
        }
    }

    /// The record of the whole run.
    pub(super) fn finished(self, now: Timestamp) -> Run {
        let left_something = self.problems > 0 || self.left > 0 || self.unsubmitted > 0;
        let status = match &self.failure {
            Some(_) => self.broken_off(),
            None if left_something => RunStatus::Partial,
            None => RunStatus::Completed,
        };
        Run {
            status,
            error: self.error(),
            ..self.record(Some(now))
        }
    }

    /// What a run has come to that did not come to its end.
    fn broken_off(&self) -> RunStatus {
        match (self.assessed, self.submitted) {
            (0, 0) => RunStatus::Failed,
            _ => RunStatus::Partial,
        }
    }

    fn record(&self, completed_at: Option<Timestamp>) -> Run {
        Run {
            id: self.id.clone(),
            started_at: self.started_at,
            completed_at,
            status: RunStatus::Completed,
            tables_assessed: self.assessed,
            tables_skipped: self.skipped.total(),
            tables_healthy: self.healthy,
            jobs_submitted: self.submitted as u64,
            jobs_completed: 0,
            jobs_failed: 0,
            dry_run: self.dry_run,
            error: None,
            skip_reasons: self.skipped.by_name(),
            open_jobs: self.jobs.clone(),
            left_from: self.left_from.clone(),
        }
    }

    fn error(&self) -> Option<String> {
        let mut parts: Vec<_> = self.failure.iter().chain(&self.notes).cloned().collect();
        let untold = self.problems - self.notes.len() as u64;
        if untold > 0 {
            parts.push(format!("{untold} more tables had problems; the log names them"));
        }
        if self.left > 0 {
            parts.push(format!("there was no time for {} tables", self.left));
        }
        if self.unsubmitted > 0 {
            parts.push(format!(
                "there was no time to submit {} jobs that are due",
                self.unsubmitted
            ));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::StoreError;

    fn tally() -> Tally {
        let id = RunId::new(JobId::from_u128(1));
        Tally::new(id, Timestamp::from_micros(0), &RunRequest::default())
    }

    fn failure(reason: &str) -> Failure {
        StoreError::Unavailable(reason.to_owned()).into()
    }

    #[test]
    fn a_run_that_broke_off_failed_only_if_it_did_nothing() {
        let now = Timestamp::from_micros(9);
        let mut nothing = tally();
        nothing.skip(SkipCause::Cadence);
        assert_eq!(nothing.unfinished().status, RunStatus::Failed);
        nothing.fail(&failure("throttled"));
        assert_eq!(nothing.finished(now).status, RunStatus::Failed);

        let mut something = tally();
        something.count(Look::Healthy);
        assert_eq!(something.unfinished().status, RunStatus::Partial);
        something.fail(&failure("a late page"));
        something.fail(&failure("the slots"));
        let run = something.finished(now);
        let error = run.error.unwrap();
        assert_eq!(run.status, RunStatus::Partial);
        assert!(
            error.contains("a late page") && !error.contains("the slots"),
            "{error}"
        );
    }
}
