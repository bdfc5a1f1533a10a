//! The job document itself: members in the order they are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use snowpack_domain::{Action, Fence, Job, JobId, JobStatus, Lease, Progress, RemoteRun, TableId, Timestamp};

use super::parts::{Options, ResultDocument, action, read_options, write_options};
use super::{JOB_FORMAT, StoredError};

/// What every version of the document starts with.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) format: u32,
}

/// A job; times are microseconds since the epoch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobDocument {
    format: u32,
    id: String,
    database: String,
    table: String,
    actions: Vec<String>,
    options: Options,
    dry_run: bool,
    status: String,
    submitted_at: i64,
    started_at: Option<i64>,
    completed_at: Option<i64>,
    results: Vec<ResultDocument>,
    error: Option<String>,
    attempt: u32,
    slice: u32,
    fence: u64,
    lease: Option<LeaseDocument>,
    progress: Option<ProgressDocument>,
    enqueued_at: Option<i64>,
    /// Since format 2.
    #[serde(default)]
    last_fault: Option<String>,
    /// Since format 3.
    #[serde(default)]
    remote_run: Option<RunDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunDocument {
    action: String,
    id: String,
    started_at: i64,
    /// Since format 4.
    #[serde(default)]
    predicted: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseDocument {
    worker: String,
    expires_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgressDocument {
    action: String,
    done: u64,
    total: u64,
    unit: String,
}

impl From<&Job> for JobDocument {
    fn from(job: &Job) -> Self {
        Self {
            format: JOB_FORMAT,
            id: job.id.to_string(),
            database: job.table.database.to_string(),
            table: job.table.table.to_string(),
            actions: job.actions.iter().map(|action| action.to_string()).collect(),
            options: write_options(&job.options),
            dry_run: job.dry_run,
            status: job.status.as_str().to_owned(),
            submitted_at: job.submitted_at.as_micros(),
            started_at: job.started_at.map(Timestamp::as_micros),
            completed_at: job.completed_at.map(Timestamp::as_micros),
            results: job.results.iter().map(ResultDocument::from).collect(),
            error: job.error.clone(),
            attempt: job.attempt,
            slice: job.slice,
            fence: job.fence.number(),
            lease: job.lease.as_ref().map(LeaseDocument::from),
            progress: job.progress.as_ref().map(ProgressDocument::from),
            enqueued_at: job.enqueued_at.map(Timestamp::as_micros),
            last_fault: job.last_fault.clone(),
            remote_run: job.remote_run.as_ref().map(RunDocument::from),
        }
    }
}

impl From<&RemoteRun> for RunDocument {
    fn from(run: &RemoteRun) -> Self {
        Self {
            action: run.action.to_string(),
            id: run.id.clone(),
            started_at: run.started_at.as_micros(),
            predicted: run.predicted.clone(),
        }
    }
}

impl RunDocument {
    fn into_run(self) -> Result<RemoteRun, StoredError> {
        Ok(RemoteRun {
            action: action(&self.action)?,
            id: self.id,
            started_at: Timestamp::from_micros(self.started_at),
            predicted: self.predicted,
        })
    }
}

impl From<&Lease> for LeaseDocument {
    fn from(lease: &Lease) -> Self {
        Self {
            worker: lease.worker.clone(),
            expires_at: lease.expires_at.as_micros(),
        }
    }
}

impl From<&Progress> for ProgressDocument {
    fn from(progress: &Progress) -> Self {
        Self {
            action: progress.action.to_string(),
            done: progress.done,
            total: progress.total,
            unit: progress.unit.clone(),
        }
    }
}

impl ProgressDocument {
    fn into_progress(self) -> Result<Progress, StoredError> {
        Ok(Progress {
            action: action(&self.action)?,
            done: self.done,
            total: self.total,
            unit: self.unit,
        })
    }
}

impl JobDocument {
    pub(super) fn into_job(self) -> Result<Job, StoredError> {
        let table = TableId::new(&self.database, &self.table)
            .map_err(|_| StoredError::bad("table", format!("{}.{}", self.database, self.table)))?;
        let status =
            JobStatus::parse(&self.status).ok_or_else(|| StoredError::bad("status", &self.status))?;
        let actions: Vec<Action> = self
            .actions
            .iter()
            .map(|name| action(name))
            .collect::<Result<_, _>>()?;
        let results = self
            .results
            .into_iter()
            .map(ResultDocument::into_result)
            .collect::<Result<_, _>>()?;
        Ok(Job {
            id: JobId::parse(&self.id).map_err(|_| StoredError::bad("id", &self.id))?,
            table,
            actions,
            options: read_options(self.options)?,
            dry_run: self.dry_run,
            status,
            submitted_at: Timestamp::from_micros(self.submitted_at),
            started_at: self.started_at.map(Timestamp::from_micros),
            completed_at: self.completed_at.map(Timestamp::from_micros),
            results,
            error: self.error,
            attempt: self.attempt,
            slice: self.slice,
            fence: Fence::new(self.fence),
            lease: self.lease.map(|lease| Lease {
                worker: lease.worker,
                expires_at: Timestamp::from_micros(lease.expires_at),
            }),
            progress: self.progress.map(ProgressDocument::into_progress).transpose()?,
            enqueued_at: self.enqueued_at.map(Timestamp::from_micros),
            last_fault: self.last_fault,
            remote_run: self.remote_run.map(RunDocument::into_run).transpose()?,
        })
    }
}
