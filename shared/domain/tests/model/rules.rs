//! The decisions under test. They are values, so that a test can put a broken one in place of a real one.

use snowpack_domain as domain;
use snowpack_domain::{
    Action, ActionResult, CancelRefused, ClaimRefused, DeadLetterKept, Drain, Fence, FenceLost, Job, Lock,
    NewJob, Pair, Progress, SubmitRefused, Sweep, Timestamp, Verdict,
};

type Submit = fn(NewJob, bool, &Drain, &Lock, Timestamp) -> Result<Pair, SubmitRefused>;
type Claim = fn(Pair, &Drain, &str, Timestamp) -> Result<Pair, ClaimRefused>;
type Heartbeat = fn(Job, Fence, Option<Progress>, Timestamp) -> Result<Job, FenceLost>;
type KeepResult = fn(Job, Fence, ActionResult, Timestamp) -> Result<Job, FenceLost>;
type Finish = fn(Pair, Fence, Verdict, Timestamp) -> Result<Pair, FenceLost>;

/// The decisions of `snowpack_domain`, and what the code around them does where that matters.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) submit: Submit,
    /// What a refused submit leaves of the lock.
    pub(crate) refuse: fn(Lock) -> Lock,
    pub(crate) enqueued: fn(Job, Timestamp) -> Job,
    pub(crate) claim: Claim,
    pub(crate) remaining_actions: fn(&Job) -> &[Action],
    pub(crate) heartbeat: Heartbeat,
    pub(crate) keep_result: KeepResult,
    pub(crate) yield_slice: fn(Job, Fence) -> Result<Job, FenceLost>,
    pub(crate) retry_later: fn(Job, Fence, &str) -> Result<Job, FenceLost>,
    pub(crate) finish: Finish,
    pub(crate) cancel: fn(Pair, Timestamp) -> Result<Pair, CancelRefused>,
    pub(crate) sweep: fn(&Job, &Drain, Timestamp) -> Sweep,
    pub(crate) is_exhausted: fn(&Job, Timestamp) -> bool,
    pub(crate) give_up: fn(Pair, Timestamp) -> Pair,
    pub(crate) fail_dead_letter: fn(Pair, Timestamp) -> Result<Pair, DeadLetterKept>,
    pub(crate) free_lock: fn(&Lock, Option<&Job>) -> Option<Lock>,
    pub(crate) worker: WorkerHabits,
}

/// What a worker does between decisions.
#[derive(Clone, Copy)]
pub(crate) struct WorkerHabits {
    /// It confirms its fence before it commits or deletes.
    pub(crate) checkpoints: bool,
    /// It keeps its file when it does not know whether its commit succeeded.
    pub(crate) keeps_unanswered_file: bool,
    /// Its expiry deletes replaced files only.
    pub(crate) spares_live_file: bool,
}

impl Rules {
    pub(crate) const REAL: Self = Self {
        submit: domain::submit,
        refuse: |lock| lock,
        enqueued: domain::enqueued,
        claim: domain::claim,
        remaining_actions: Job::remaining_actions,
        heartbeat: domain::heartbeat,
        keep_result: domain::keep_result,
        yield_slice: domain::yield_slice,
        retry_later: domain::retry_later,
        finish: domain::finish,
        cancel: domain::cancel,
        sweep: domain::sweep,
        is_exhausted: domain::is_exhausted,
        give_up: domain::give_up,
        fail_dead_letter: domain::fail_dead_letter,
        free_lock: domain::free_lock,
        worker: WorkerHabits {
            checkpoints: true,
            keeps_unanswered_file: true,
            spares_live_file: true,
        },
    };
}
