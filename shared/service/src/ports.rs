//! The ports the use cases need. Each exists because it has at least two implementations.
//!
//! A store knows one kind of condition: every item carries a version, and a [`Write`] applies whole or not
//! at all, only if every version it names is still the stored one. The protocol itself lives in
//! `snowpack_domain` and is the same for every store.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;

pub use snowpack_domain::ListedTable;
use snowpack_domain::{
    Action, ActionResult, CacheEntry, CacheState, Drain, Job, JobId, JobOptions, JobStatus, Lock, Preview,
    PreviewSource, Progress, RemoteRun, Run, RunId, TableHealth, TableId, Timestamp,
};

use crate::TimeLimit;

/// A store or queue could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Throttled, timed out or unreachable: trying again later may work.
    #[error("the job store cannot be reached now: {0}")]
    Unavailable(String),
    /// It answered, but not with what was stored: a bug or a foreign writer.
    #[error("the job store holds something unreadable: {0}")]
    Corrupt(String),
    /// It refused: configuration or permissions.
    #[error("the job store refused: {0}")]
    Refused(String),
}

/// The version of a stored item; 0 stands for "not stored".
pub type Version = u64;

/// A value with the version it was read at.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The version it was read at; 0 when it was not stored and `value` is the default.
    pub version: Version,
}

/// What an idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The caller's key.
    pub key: String,
    /// SHA-256 of the request it was first used for, in hex.
    pub request_hash: String,
    /// The job it created.
    pub job: JobId,
    /// When the key may be used anew.
    pub expires_at: Timestamp,
}

/// Everything a submit decides on, read together.
#[derive(Clone, Debug)]
pub struct SubmitContext {
    /// The drain switch.
    pub drain: Versioned<Drain>,
    /// The table's cache entry, if it has one.
    pub entry: Option<Versioned<CacheEntry>>,
    /// The table's lock; free with version 0 when never taken.
    pub lock: Versioned<Lock>,
    /// What the request's idempotency key stands for, if it was used and has not expired.
    pub idempotency: Option<IdempotencyRecord>,
}

/// One atomic write. Applies whole, or not at all. An applied put stores the version read plus one.
#[derive(Clone, Debug, Default)]
pub struct Write {
    /// The job to put, over the version read (0: must not exist yet).
    pub job: Option<Versioned<Job>>,
    /// The lock to put, over the version read (0: must not exist yet).
    pub lock: Option<(TableId, Versioned<Lock>)>,
    /// The drain switch must still have this version.
    pub expect_drain: Option<Version>,
    /// The table's cache entry must still exist.
    pub expect_cached: Option<TableId>,
    /// The key to record, together with the job it created; it must be unused, or expired by the time that job
    /// was submitted.
    pub idempotency: Option<IdempotencyRecord>,
}

/// How a [`Write`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it is stored.
    Applied,
    /// A version had moved on: nothing was stored. Read again and decide again.
    LostRace,
}

/// Which jobs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only jobs in this status.
    pub status: Option<JobStatus>,
    /// Only jobs of this database.
    pub database: Option<String>,
    /// Only jobs of a table of this name.
    pub table: Option<String>,
    /// Only terminal jobs.
    pub finished_only: bool,
}

/// Which page of a list to return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Most items in the page, 1 to 500.
    pub limit: usize,
    /// Where the previous page ended.
    pub cursor: Option<String>,
}

/// A page of a list. It may hold fewer items than asked for, even none, although more follow: a store bounds
/// the work of one page. Only an absent `next` means the end.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts, if there is one. Opaque.
    pub next: Option<String>,
}

/// A cursor that this store never handed out, or another failure of a list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The cursor is not one of this list's.
    #[error("the cursor is not valid for this list")]
    BadCursor,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Jobs of a status that a count takes in at most: a deployment with more in an hour is watched by its metrics.
pub const MOST_JOBS_COUNTED: u64 = 10_000;

/// Where jobs, locks, the table cache and switches are kept.
pub trait JobStore: Send + Sync + 'static {
    /// Reads what a submit on `table` decides on; `key` is the request's idempotency key.
    fn submit_context(
        &self,
        table: &TableId,
        key: Option<&str>,
        now: Timestamp,
    ) -> impl Future<Output = Result<SubmitContext, StoreError>> + Send;

    /// A job, strongly consistent.
    fn job(&self, id: &JobId) -> impl Future<Output = Result<Option<Versioned<Job>>, StoreError>> + Send;

    /// A table's lock, strongly consistent; free with version 0 when never taken.
    fn lock(&self, table: &TableId) -> impl Future<Output = Result<Versioned<Lock>, StoreError>> + Send;

    /// The locks of these tables, in no order and not strongly consistent; tables never locked are left out. A snapshot
    /// for choosing tables: whatever is then done with one goes through the protocol.
    fn locks(
        &self,
        tables: &[TableId],
    ) -> impl Future<Output = Result<HashMap<TableId, Lock>, StoreError>> + Send;

    /// The drain switch; off with version 0 when never set.
    fn drain(&self) -> impl Future<Output = Result<Versioned<Drain>, StoreError>> + Send;

    /// Sets the drain switch.
    fn set_drain(&self, drain: &Drain) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Applies one atomic write.
    fn write(&self, write: &Write) -> impl Future<Output = Result<Written, StoreError>> + Send;

    /// Lists jobs, newest submission first; with `finished_only`, newest completion first.
    fn jobs(
        &self,
        filter: &JobFilter,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<Job>, ListError>> + Send;

    /// Jobs that a sweep has to look at as of `now` (`snowpack_domain::needs_message`), at most `limit`.
    fn jobs_needing_message(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<JobId>, StoreError>> + Send;

    /// How many jobs are active, by status, and how many ended at `since` or later. A store bounds the work of one
    /// answer: it may stop counting jobs of a status at [`MOST_JOBS_COUNTED`].
    fn job_counts(
        &self,
        since: Timestamp,
    ) -> impl Future<Output = Result<BTreeMap<JobStatus, u64>, StoreError>> + Send;

    /// Tables whose lock is held, by name.
    fn held_locks(&self, page: &PageRequest)
    -> impl Future<Output = Result<Page<TableId>, ListError>> + Send;

    /// Deletes terminal jobs that ended before `before`, and health snapshots collected before, the newest of a table
    /// too; returns how many. Once `limit` is reached it ends early, but not before it has deleted something: what
    /// says 0 has left nothing.
    fn purge(
        &self,
        before: Timestamp,
        limit: TimeLimit,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// A table's cache entry.
    fn cache_entry(
        &self,
        table: &TableId,
    ) -> impl Future<Output = Result<Option<CacheEntry>, StoreError>> + Send;

    /// Cached tables by name, optionally of one database.
    fn cache_entries(
        &self,
        database: Option<&str>,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<CacheEntry>, ListError>> + Send;

    /// Puts entries, replacing older ones. Each write costs money on AWS: put only what has changed.
    fn put_cache_entries(
        &self,
        entries: &[CacheEntry],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes those of these tables' entries that were written by generations before `generation`: a newer one was
    /// put because the catalog has the table after all. Returns how many.
    fn remove_cache_entries(
        &self,
        tables: &[TableId],
        generation: u64,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Removes one entry: the catalog said the table is gone.
    fn remove_cache_entry(&self, table: &TableId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How fresh the table cache is.
    fn cache_state(&self) -> impl Future<Output = Result<CacheState, StoreError>> + Send;

    /// Notes the end of a sync.
    fn set_cache_state(&self, state: &CacheState) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Where health reports are kept: the newest of each table, and a history.
pub trait HealthStore: Send + Sync + 'static {
    /// Keeps a report: in the history, and as the newest unless a newer one is stored.
    fn put_health(&self, health: &TableHealth) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The newest reports of these tables, in no order; tables without one, or with one that cannot be read, are left
    /// out.
    fn latest_health(
        &self,
        tables: &[TableId],
    ) -> impl Future<Output = Result<HashMap<TableId, TableHealth>, StoreError>> + Send;

    /// A table's reports, newest first.
    fn health_history(
        &self,
        table: &TableId,
        page: &PageRequest,
    ) -> impl Future<Output = Result<Page<TableHealth>, ListError>> + Send;

    /// The table that the sync of health came to; absent before the first.
    fn health_position(&self) -> impl Future<Output = Result<Option<TableId>, StoreError>> + Send;

    /// Keeps that table.
    fn set_health_position(&self, table: &TableId) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Where the records of orchestrator runs are kept.
pub trait RunStore: Send + Sync + 'static {
    /// Puts a record, replacing one of the same id and start.
    fn put_run(&self, run: &Run) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The record of that id.
    fn run(&self, id: &RunId) -> impl Future<Output = Result<Option<Run>, StoreError>> + Send;

    /// Records, newest start first.
    fn runs(&self, page: &PageRequest) -> impl Future<Output = Result<Page<Run>, ListError>> + Send;
}

/// Where job ids wait for a worker. Delivery is at least once, in any order.
pub trait JobQueue: Send + Sync + 'static {
    /// Sends a job's message, to be delivered after `delay_seconds` at the earliest.
    fn send(&self, job: &JobId, delay_seconds: u32) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How many messages there are, about now.
    fn depth(&self) -> impl Future<Output = Result<QueueDepth, StoreError>> + Send;
}

/// Messages of a queue, dead letters not counted. Approximate, as the queue's own counts are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Those that wait for a worker, delayed ones included.
    pub waiting: u64,
    /// Those that a worker has taken and not acknowledged yet.
    pub in_flight: u64,
}

/// A message that was delivered as often as its queue allows and never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The job it names; `None` when it is not one of our messages.
    pub job: Option<JobId>,
    /// What removes it. Void once it is received again.
    pub receipt: String,
}

/// Where messages end that no worker could handle.
pub trait DeadLetters: Send + Sync + 'static {
    /// Takes some, and hides them from further calls for `hidden_seconds`; empty when there are none.
    fn receive(
        &self,
        hidden_seconds: u32,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, StoreError>> + Send;

    /// Removes one that was received.
    fn remove(&self, receipt: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A catalog could not answer.
#[derive(Debug, thiserror::Error)]
#[error("the catalog cannot be read: {0}")]
pub struct CatalogUnavailable(pub String);

/// Why a table's health could not be read.
#[derive(Debug, thiserror::Error)]
pub enum HealthUnreadable {
    /// The catalog or its storage could not answer now.
    #[error(transparent)]
    Unavailable(#[from] CatalogUnavailable),
    /// The table's metadata cannot be used; the reason names table and file.
    #[error("{0}")]
    Broken(String),
}

/// Why there is no live preview of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPreview {
    /// The action would be refused, for this reason.
    Refused(String),
    /// The table's metadata could not be read now, or not in the time a preview may take.
    Unread(String),
}

impl From<NoPreview> for Preview {
    /// A preview without numbers that says why.
    fn from(none: NoPreview) -> Self {
        let (NoPreview::Refused(note) | NoPreview::Unread(note)) = none;
        Self {
            source: PreviewSource::None,
            numbers: BTreeMap::new(),
            note: Some(note),
        }
    }
}

/// What the catalog knows of tables.
pub trait Tables: Send + Sync + 'static {
    /// The table as the catalog has it now, or `None` when it has none of that name.
    fn find(
        &self,
        table: &TableId,
    ) -> impl Future<Output = Result<Option<CacheEntry>, CatalogUnavailable>> + Send;

    /// Every table of the catalog, one database at a time.
    fn databases(&self) -> impl Future<Output = Result<Vec<String>, CatalogUnavailable>> + Send;

    /// The tables of one database, by name. Names that are not valid table names are left out.
    fn list(
        &self,
        database: &str,
    ) -> impl Future<Output = Result<Vec<ListedTable>, CatalogUnavailable>> + Send;

    /// Reads the table's health now, or `None` when the catalog has no such table.
    fn health(
        &self,
        table: &TableId,
    ) -> impl Future<Output = Result<Option<TableHealth>, HealthUnreadable>> + Send;

    /// What each of `actions` would do to the table now.
    fn preview(
        &self,
        table: &TableId,
        actions: &[Action],
        options: &JobOptions,
    ) -> impl Future<Output = Vec<Result<Preview, NoPreview>>> + Send;
}

/// Why an action stopped.
#[derive(Debug)]
pub enum ActionStop {
    /// It failed for this cause; `retry` says whether another attempt may help.
    Failed {
        /// For the person who reads the job.
        cause: String,
        /// Whether the cause may pass by itself.
        retry: bool,
    },
    /// The deadline came: what was finished is committed, the rest is for another slice.
    OutOfTime,
    /// The fence was lost: nothing was committed since.
    Revoked,
    /// Another engine does it, and the worker need not wait: the run is to be remembered, and the action run again
    /// after a while, which then looks at it.
    Elsewhere {
        /// The run.
        run: RemoteRun,
        /// When to look again.
        resume_after_seconds: u32,
    },
}

/// Another engine could not be reached or used.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Throttled, timed out or unreachable: trying again later may work.
    #[error("{0}")]
    Unavailable(String),
    /// It refused: configuration, permissions, or something it does not know.
    #[error("{0}")]
    Refused(String),
}

/// What a running action asks of whoever runs it. Cheap to call often.
pub trait Supervisor: Send + Sync + 'static {
    /// Confirms with the store, now, that the caller still holds the job. Called before every commit and
    /// every batch of deletes. Deadlines are [`Supervisor::poll`]'s matter: finished work may still be
    /// committed after the deadline came.
    fn checkpoint(&self) -> impl Future<Output = Result<(), ActionStop>> + Send;

    /// What is known without asking anyone: `Err` once the fence was lost or the deadline came.
    fn poll(&self) -> Result<(), ActionStop>;

    /// Notes how far the action is.
    fn progress(&self, progress: Progress);

    /// Seconds until new work should no longer be started; `None` when there is no limit.
    fn seconds_left(&self) -> Option<f64>;

    /// The run elsewhere that the job remembers for this action, if it was handed over.
    fn remote_run(&self, _action: Action) -> Option<RemoteRun> {
        None
    }

    /// Keeps, with the next checkpoint or heartbeat and when the job is handed back, what a later slice or attempt of
    /// this action has to know; in the place of what was noted before. A run without a job keeps nothing.
    fn note(&self, _action: Action, _text: String) {}

    /// What an earlier slice or attempt of this action of the job noted last.
    fn noted(&self, _action: Action) -> Option<String> {
        None
    }

    /// Called at named points of the engine (its `points` module), so that a fault test can stop the
    /// process there. Does nothing unless implemented.
    fn reached(&self, _point: &'static str) {}
}

/// What a job's commits carry in their snapshot summaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The job, absent on direct runs.
    pub job: Option<JobId>,
    /// The fence the worker held.
    pub fence: u64,
}

/// Runs actions on tables.
pub trait Engine: Send + Sync + 'static {
    /// Refuses, before anything is touched, what this engine cannot do.
    ///
    /// # Errors
    /// [`ActionStop::Failed`] naming the action, table or option and the reason.
    fn preflight(
        &self,
        table: &TableId,
        actions: &[Action],
        options: &JobOptions,
    ) -> impl Future<Output = Result<(), ActionStop>> + Send;

    /// Runs one action to its end.
    fn run<S: Supervisor>(
        &self,
        table: &TableId,
        action: Action,
        options: &JobOptions,
        provenance: &Provenance,
        supervisor: std::sync::Arc<S>,
    ) -> impl Future<Output = Result<ActionResult, ActionStop>> + Send;

    /// Tells a run to stop whose job has ended ([`ActionStop::Elsewhere`]). One that is over or unknown is left
    /// alone. Nothing to do for an engine that hands nothing over.
    ///
    /// # Errors
    /// [`RemoteError`] when the run may still go on.
    fn abandon(&self, _run: &RemoteRun) -> impl Future<Output = Result<(), RemoteError>> + Send {
        std::future::ready(Ok(()))
    }
}

/// What a run of Spark is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOrder {
    /// Names the run, in up to 64 letters, digits, `_` and `-`. Started again under the same name, it is the same run.
    pub token: String,
    /// What the script is to read.
    pub document: String,
    /// The script, in Python.
    pub script: &'static str,
}

/// Where a run of Spark stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// It waits or runs.
    Going,
    /// It ended well.
    Succeeded,
    /// It failed or was stopped; for a person.
    Failed(String),
    /// There is no such run.
    Unknown,
}

/// Runs Spark somewhere else, where large rewrites fit.
pub trait SparkRuns: Send + Sync + 'static {
    /// Starts a run, or finds the one that was started under the same token; returns its id.
    fn start(&self, order: &RunOrder) -> impl Future<Output = Result<String, RemoteError>> + Send;

    /// Where a run stands.
    fn status(&self, run: &str) -> impl Future<Output = Result<RunStatus, RemoteError>> + Send;

    /// What the script of the run of that token wrote; `None` when it wrote nothing.
    fn output(&self, token: &str) -> impl Future<Output = Result<Option<String>, RemoteError>> + Send;

    /// Tells a run to stop. One that is over or unknown is left alone.
    fn cancel(&self, run: &str) -> impl Future<Output = Result<(), RemoteError>> + Send;
}

/// The wall clock.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Where new ids come from, of jobs and of what is numbered like them.
pub trait Ids: Send + Sync + 'static {
    /// A fresh id; ids sort by time.
    fn job_id(&self, now: Timestamp) -> JobId;
}

impl<I: Ids> Ids for std::sync::Arc<I> {
    fn job_id(&self, now: Timestamp) -> JobId {
        (**self).job_id(now)
    }
}
