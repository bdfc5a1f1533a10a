//! A maintenance job, its lock, and the results of its actions, as plain values.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Action, JobOptions, Note, RemoteRun, TableId, Timestamp};

/// A job id: 32 lower-case hex characters, a UUIDv7 without dashes, so ids sort by time of submission.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(String);

/// A text that is no job id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobIdError;

impl fmt::Display for JobIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a job id is 32 lower-case hexadecimal characters")
    }
}

impl std::error::Error for JobIdError {}

impl JobId {
    /// Checks the form of an id.
    ///
    /// # Errors
    /// [`JobIdError`] when it is not 32 lower-case hex characters.
    pub fn parse(text: &str) -> Result<Self, JobIdError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 32 && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(JobIdError)
        }
    }

    /// The id of these 16 bytes, most significant first.
    pub fn from_u128(id: u128) -> Self {
        Self(format!("{id:032x}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A fence token. Per table it only grows; whoever holds the newest may write (invariant 2 of the protocol).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fence(u64);

impl Fence {
    /// From its number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
    /// The next token.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobStatus {
    /// Queued.
    Pending,
    /// A worker holds it, or held it and yielded.
    Running,
    /// All actions finished.
    Completed,
    /// An action failed, or the job was given up.
    Failed,
    /// Cancelled before completion.
    Cancelled,
}

impl JobStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether the job can never change again.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A worker's claim on a running job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub worker: String,
    /// When it ends unless renewed.
    pub expires_at: Timestamp,
}

/// How far the running action is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The action.
    pub action: Action,
    /// Units finished.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// What is counted, for example `file_groups`.
    pub unit: String,
}

/// A number in a result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// A count or a number of bytes.
    Count(u64),
    /// A fraction.
    Ratio(f64),
}

/// What a dry run says an action would do. Numbers by name; absent when only running it could tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// What the numbers were taken from.
    pub source: PreviewSource,
    /// Numbers by name, for example `files_in`; `None` where only a listing could tell.
    pub numbers: BTreeMap<String, Option<u64>>,
    /// Why there is no preview, or what to know about it.
    pub note: Option<String>,
}

/// What a preview was computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviewSource {
    /// The table's metadata, read now.
    Live,
    /// The table's newest stored health report.
    Cached,
    /// Neither could be had within the time a dry run may take.
    None,
}

impl PreviewSource {
    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Cached => "cached",
            Self::None => "none",
        }
    }
}

/// The outcome of one action that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionResult {
    /// The action.
    pub action: Action,
    /// `Ok` with a summary for a person, `Err` with the cause.
    pub outcome: Result<String, String>,
    /// Wall-clock seconds it took.
    pub elapsed_seconds: f64,
    /// Numbers by name (engine.md, Metrics in results).
    pub metrics: BTreeMap<String, Metric>,
    /// What the plan expected of them before anything was done; empty where only doing it could tell.
    pub predicted: BTreeMap<String, u64>,
    /// Set on dry runs only.
    pub preview: Option<Preview>,
}

/// Why a job as a whole failed.
pub type JobError = String;

/// How a job ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every action succeeded.
    Completed,
    /// The root cause.
    Failed(JobError),
}

/// What a submit asks for, already checked.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// The table.
    pub table: TableId,
    /// In order of execution, without repeats, not empty.
    pub actions: Vec<Action>,
    /// Checked options.
    pub options: JobOptions,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The table it maintains.
    pub table: TableId,
    /// What it does, in order of execution.
    pub actions: Vec<Action>,
    /// Checked options of those actions.
    pub options: JobOptions,
    /// Whether it only previews.
    pub dry_run: bool,
    /// Where it stands.
    pub status: JobStatus,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When a worker first claimed it.
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    pub completed_at: Option<Timestamp>,
    /// Results of finished actions, in order; complete once the job is terminal.
    pub results: Vec<ActionResult>,
    /// Root cause of a failed job.
    pub error: Option<JobError>,
    /// Claims so far, continued slices not counted.
    pub attempt: u32,
    /// Slices so far.
    pub slice: u32,
    /// The token its worker must hold.
    pub fence: Fence,
    /// The worker's claim; absent while pending, yielded or terminal.
    pub lease: Option<Lease>,
    /// How far the running action is.
    pub progress: Option<Progress>,
    /// When its message was last known to be in the queue.
    pub enqueued_at: Option<Timestamp>,
    /// The cause that ended an earlier attempt, if it was reported.
    pub last_fault: Option<String>,
    /// The run of another engine that does the current action; after the job's end, one still to be stopped.
    pub remote_run: Option<RemoteRun>,
    /// What the current action is in the middle of.
    pub note: Option<Note>,
}

impl Job {
    /// Actions that still have to run.
    pub fn remaining_actions(&self) -> &[Action] {
        self.actions.get(self.results.len()..).unwrap_or_default()
    }

    /// Whether the job can never change again.
    pub fn is_terminal(&self) -> bool {
        self.status.is_terminal()
    }
}

/// A table's lock. Never deleted, so that its fence never starts again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The active job; absent when the table is free.
    pub holder: Option<JobId>,
    /// The newest token handed out for the table.
    pub fence: Fence,
    /// What was done last. Kept here because it changes together with the lock, and outlives purged jobs.
    pub upkeep: Upkeep,
}

/// When a table last had its turn, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// When its last job completed, whatever the job's actions.
    pub completed_at: Option<Timestamp>,
    /// When its last job ended, however it ended: completed, failed, given up or cancelled. Absent on locks from before
    /// it was noted.
    pub ended_at: Option<Timestamp>,
    /// When the last job completed that looked for orphan files in all of the table's places.
    pub orphans_removed_at: Option<Timestamp>,
}

impl Upkeep {
    /// When the table last had its turn: since then it waits.
    pub fn last_turn(&self) -> Option<Timestamp> {
        self.ended_at.max(self.completed_at)
    }
}
