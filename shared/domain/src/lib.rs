//! Snowpack's rules as pure values and functions: no I/O, no clock, no serialisation, no AWS, no Iceberg.
//!
//! Everything a request or a worker may change is decided here and written by the stores in one
//! compare-and-set, so that every adapter, the tests and the model checker share one protocol.

mod action;
mod decide;
mod engine_choice;
mod enrolment;
mod health;
mod invariants;
mod job;
mod names;
mod options;
mod orchestration;
mod policy;
mod recommendation;
mod remote;
mod sweep;
mod table;
mod thresholds;
mod time;

pub use action::{Action, UnknownAction};
pub use decide::{
    CancelRefused, ClaimRefused, FenceLost, LEASE_SECONDS, Pair, SubmitRefused, cancel, claim, dry_run,
    dry_run_result, enqueued, finish, heartbeat, keep_result, retry_delay_seconds, retry_later, submit,
    yield_slice,
};
pub use engine_choice::{EngineCase, EngineChoice, EngineDecision, HandOver, UnknownEngine, choose_engine};
pub use enrolment::{Enrolment, SkipCause, Standing, skip_cause};
pub use health::{FileStats, HEALTH_MAX_AGE, TableHealth, UNCHANGED_HEALTH_MAX_AGE};
pub use invariants::{Violation, check_pair, check_step};
pub use job::{
    ActionResult, Fence, Job, JobError, JobId, JobIdError, JobStatus, Lease, Lock, Metric, NewJob, Preview,
    PreviewSource, Progress, Upkeep, Verdict,
};
pub use names::{DatabaseName, NameError, TableId, TableName};
pub use options::{
    Compaction, DeleteGranularity, Deployment, Expiry, FileSizes, JobOptions, ManifestRewrite, OptionError,
    OptionKind, OptionSpec, OptionValue, OrphanRemoval, PositionDeleteCompaction, PrefixMismatch, Properties,
    RewriteJobOrder, Strategy, UnknownVerification, Verification, option_specs,
};
pub use orchestration::{Candidate, Run, RunId, RunLimits, RunStatus, Shortlist, SkipCounts, benefit};
pub use policy::{Advice, Policy, Situation};
pub use recommendation::{Evidence, Issue, Recommendation, Severity, issues, recommend};
pub use remote::{RemoteRun, forget_run, run_left_behind, yield_to_run};
pub use sweep::{
    DeadLetterKept, MAX_ATTEMPTS, Sweep, abandon_lease, fail_dead_letter, free_lock, give_up, is_exhausted,
    message_due, needs_message, sweep,
};
pub use table::{CacheEntry, CacheState, Drain, ListedTable, SyncGeneration};
pub use thresholds::Thresholds;
pub use time::{Duration, Timestamp};
