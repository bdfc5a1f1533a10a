//! Counts what a run of the orchestrator does, and makes its record.

use snowpack_domain::{Candidate, Job, JobId, Run, RunId, RunStatus, SkipCause, SkipCounts, Timestamp};

use super::Look;
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
    problems: u64,
    notes: Vec<String>,
    failure: Option<String>,
}

impl Tally {
    pub(super) fn new(id: RunId, started_at: Timestamp, dry_run: bool) -> Self {
        Self {
            id,
            started_at,
            dry_run,
            skipped: SkipCounts::default(),
            assessed: 0,
            healthy: 0,
            submitted: 0,
            jobs: Vec::new(),
            left: 0,
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

    /// Notes what ended the run before its time.
    pub(super) fn fail(&mut self, error: &Failure) {
        self.failure = Some(error.to_string());
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
            Look::NoTime => self.left += 1,
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
            status: RunStatus::Failed,
            error: Some(UNFINISHED.to_owned()),
            ..self.record(None)
        }
    }

    /// The record of the whole run.
    pub(super) fn finished(self, now: Timestamp) -> Run {
        let status = match &self.failure {
            Some(_) => RunStatus::Failed,
            None if self.problems > 0 || self.left > 0 => RunStatus::Partial,
            None => RunStatus::Completed,
        };
        Run {
            status,
            error: self.error(),
            ..self.record(Some(now))
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
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
