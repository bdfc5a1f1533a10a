//! The job protocol's decisions (protocol.md, Steps): each takes the state read and returns the state to
//! write. A store writes it in one compare-and-set on the versions it read; on a lost race the caller
//! reads again and decides again. Nothing here knows a clock or a store.

use std::fmt;

use crate::{
    Action, ActionResult, Drain, Duration, Fence, Job, JobId, JobStatus, Lease, Lock, MAX_ATTEMPTS, NewJob,
    OrphanRemoval, Progress, Timestamp, Verdict,
};

/// How long a claim lasts without a heartbeat. Three missed heartbeats of 60 s (protocol.md).
pub const LEASE_SECONDS: i64 = 180;

/// A job and its table's lock, written together.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The job.
    pub job: Job,
    /// Its table's lock.
    pub lock: Lock,
}

/// The longest wait before the second attempt.
const FIRST_RETRY_SECONDS: u32 = 20;

/// Why a submit was refused. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitRefused {
    /// Drain mode is on.
    Draining(Option<String>),
    /// The table cache does not have the table.
    UnknownTable,
    /// Another job holds the table.
    Busy(JobId),
}

/// Why a claim was refused. The message can be acknowledged except where said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimRefused {
    /// The job is terminal.
    Terminal(JobStatus),
    /// Another worker's lease is still valid until then.
    Held(Timestamp),
    /// The lock is not the job's.
    LockLost,
    /// Drain mode is on: keep the message for later.
    Draining,
}

/// Why a cancel was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelRefused {
    /// The job is terminal already.
    Terminal(JobStatus),
}

/// The worker no longer holds the job: it must stop and write nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceLost;

impl fmt::Display for FenceLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the job was cancelled or taken over by another worker")
    }
}

impl std::error::Error for FenceLost {}

/// Accepts a job and takes its table's lock.
///
/// # Errors
/// [`SubmitRefused`], checked in the order drain, table, lock (api.md, Jobs).
pub fn submit(
    new: NewJob,
    known: bool,
    drain: &Drain,
    lock: &Lock,
    now: Timestamp,
) -> Result<Pair, SubmitRefused> {
    if drain.enabled {
        return Err(SubmitRefused::Draining(drain.reason.clone()));
    }
    if !known {
        return Err(SubmitRefused::UnknownTable);
    }
    if let Some(active) = &lock.holder {
        return Err(SubmitRefused::Busy(active.clone()));
    }
    let fence = lock.fence.next();
    let lock = Lock {
        holder: Some(new.id.clone()),
        fence,
        upkeep: lock.upkeep,
    };
    Ok(Pair {
        job: new_job(new, fence, now),
        lock,
    })
}

fn new_job(new: NewJob, fence: Fence, now: Timestamp) -> Job {
    Job {
        id: new.id,
        table: new.table,
        actions: new.actions,
        options: new.options,
        dry_run: false,
        status: JobStatus::Pending,
        submitted_at: now,
        started_at: None,
        completed_at: None,
        results: Vec::new(),
        error: None,
        attempt: 0,
        slice: 0,
        fence,
        lease: None,
        progress: None,
        enqueued_at: None,
        last_fault: None,
        remote_run: None,
        note: None,
    }
}

/// A dry run: complete from the start, without a lock.
///
/// # Errors
/// [`SubmitRefused`], checked in the order drain, table; never busy.
pub fn dry_run(
    new: NewJob,
    known: bool,
    drain: &Drain,
    results: Vec<ActionResult>,
    now: Timestamp,
) -> Result<Job, SubmitRefused> {
    if drain.enabled {
        return Err(SubmitRefused::Draining(drain.reason.clone()));
    }
    if !known {
        return Err(SubmitRefused::UnknownTable);
    }
    let mut job = new_job(new, Fence::default(), now);
    job.dry_run = true;
    job.status = JobStatus::Completed;
    job.started_at = Some(now);
    job.completed_at = Some(now);
    job.results = results;
    Ok(job)
}

/// Notes that the job's message is in the queue.
pub fn enqueued(mut job: Job, now: Timestamp) -> Job {
    job.enqueued_at = Some(now);
    job
}

/// Gives the job to a worker under a new fence. An attempt is spent unless this continues a yielded slice.
///
/// # Errors
/// [`ClaimRefused`] when the job is terminal or held, the lock is not its own, or drain mode is on.
pub fn claim(mut pair: Pair, drain: &Drain, worker: &str, now: Timestamp) -> Result<Pair, ClaimRefused> {
    let Pair { job, lock } = &mut pair;
    if job.is_terminal() {
        return Err(ClaimRefused::Terminal(job.status));
    }
    if let Some(lease) = &job.lease
        && lease.expires_at > now
    {
        return Err(ClaimRefused::Held(lease.expires_at));
    }
    if lock.holder.as_ref() != Some(&job.id) {
        return Err(ClaimRefused::LockLost);
    }
    if drain.enabled {
        return Err(ClaimRefused::Draining);
    }
    let continues_a_slice = job.status == JobStatus::Running && job.lease.is_none();
    if !continues_a_slice {
        job.attempt += 1;
    }
    job.slice += 1;
    job.status = JobStatus::Running;
    job.started_at = job.started_at.or(Some(now));
    job.lease = Some(Lease {
        worker: worker.to_owned(),
        expires_at: now + Duration::from_seconds(LEASE_SECONDS),
    });
    lock.fence = lock.fence.next();
    job.fence = lock.fence;
    Ok(pair)
}

/// Renews the lease and notes progress.
///
/// # Errors
/// [`FenceLost`] when the job is no longer the caller's.
pub fn heartbeat(
    mut job: Job,
    held: Fence,
    progress: Option<Progress>,
    now: Timestamp,
) -> Result<Job, FenceLost> {
    check_holder(&job, held)?;
    if let Some(lease) = &mut job.lease {
        lease.expires_at = now + Duration::from_seconds(LEASE_SECONDS);
    }
    job.progress = progress.or(job.progress);
    Ok(job)
}

/// Keeps the result of an action that succeeded, so that no later slice or attempt repeats it. Kept again, because
/// the store's answer was lost, it stays one result: a second one would pass for that of the next action. A run
/// elsewhere that did the action is over.
///
/// # Errors
/// [`FenceLost`] when the job is no longer the caller's.
pub fn keep_result(
    mut job: Job,
    held: Fence,
    result: ActionResult,
    now: Timestamp,
) -> Result<Job, FenceLost> {
    check_holder(&job, held)?;
    if result.outcome.is_ok()
        && job
            .remote_run
            .as_ref()
            .is_some_and(|run| run.action == result.action)
    {
        job.remote_run = None;
    }
    job.note.take_if(|note| note.action == result.action);
    if job.results.iter().all(|kept| kept.action != result.action) {
        job.results.push(result);
    }
    heartbeat(job, held, None, now)
}

/// Hands the job back for a later slice: still running, held by nobody.
///
/// # Errors
/// [`FenceLost`] when the job is no longer the caller's.
pub fn yield_slice(mut job: Job, held: Fence) -> Result<Job, FenceLost> {
    check_holder(&job, held)?;
    job.lease = None;
    job.enqueued_at = None;
    Ok(job)
}

/// Hands the job back after a fault that may pass by itself, and keeps its cause. Costs an attempt.
///
/// # Errors
/// [`FenceLost`] when the job is no longer the caller's.
pub fn retry_later(job: Job, held: Fence, cause: &str) -> Result<Job, FenceLost> {
    let mut job = yield_slice(job, held)?;
    job.attempt += 1;
    job.last_fault = Some(cause.to_owned());
    Ok(job)
}

/// How long to wait before a job handed back by [`retry_later`] is tried again: twice as long after each attempt,
/// and up to half of it less, by the job's id, so that jobs that failed together do not come back together.
pub fn retry_delay_seconds(job: &Job) -> u32 {
    let longest = FIRST_RETRY_SECONDS << (job.attempt.clamp(1, MAX_ATTEMPTS) - 1);
    let spread = job.id.as_str().bytes().fold(job.attempt, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    longest - spread % (longest / 2)
}

/// Ends the job and frees its table.
///
/// # Errors
/// [`FenceLost`] when the job is no longer the caller's.
pub fn finish(mut pair: Pair, held: Fence, verdict: Verdict, now: Timestamp) -> Result<Pair, FenceLost> {
    check_holder(&pair.job, held)?;
    if pair.lock.holder.as_ref() != Some(&pair.job.id) || pair.lock.fence != held {
        return Err(FenceLost);
    }
    let (status, error) = match verdict {
        Verdict::Completed => (JobStatus::Completed, None),
        Verdict::Failed(cause) => (JobStatus::Failed, Some(cause)),
    };
    end(&mut pair.job, status, error, now);
    free(&mut pair.lock, now);
    if status == JobStatus::Completed {
        note_success(&mut pair, now);
    }
    Ok(pair)
}

/// Frees the lock of a job that ends, and notes that its table had its turn.
fn free(lock: &mut Lock, now: Timestamp) {
    lock.holder = None;
    lock.upkeep.ended_at = Some(now);
}

fn note_success(pair: &mut Pair, now: Timestamp) {
    let upkeep = &mut pair.lock.upkeep;
    upkeep.completed_at = Some(now);
    let looked_for_orphans = pair.job.actions.contains(&Action::RemoveOrphanFiles);
    if looked_for_orphans && OrphanRemoval::is_of_the_whole_table(&pair.job.options) {
        upkeep.orphans_removed_at = Some(now);
    }
}

/// Cancels a pending or running job: revokes its fence and frees its table in the same write.
///
/// # Errors
/// [`CancelRefused`] when the job is terminal already.
pub fn cancel(mut pair: Pair, now: Timestamp) -> Result<Pair, CancelRefused> {
    if pair.job.is_terminal() {
        return Err(CancelRefused::Terminal(pair.job.status));
    }
    revoke(&mut pair, JobStatus::Cancelled, None, now);
    Ok(pair)
}

pub(crate) fn check_holder(job: &Job, held: Fence) -> Result<(), FenceLost> {
    let holds = job.status == JobStatus::Running && job.lease.is_some() && job.fence == held;
    if holds { Ok(()) } else { Err(FenceLost) }
}

/// Ends a job without its worker: revokes the worker's fence and frees the table.
pub(crate) fn revoke(pair: &mut Pair, status: JobStatus, error: Option<String>, now: Timestamp) {
    if pair.lock.holder.as_ref() == Some(&pair.job.id) {
        pair.lock.fence = pair.lock.fence.next();
        free(&mut pair.lock, now);
        pair.job.fence = pair.lock.fence;
    }
    end(&mut pair.job, status, error, now);
}

fn end(job: &mut Job, status: JobStatus, error: Option<String>, now: Timestamp) {
    job.status = status;
    job.error = error;
    job.completed_at = Some(now);
    job.lease = None;
    job.progress = None;
    job.note = None;
}

/// The result a dry run reports for an action.
pub fn dry_run_result(action: Action, preview: Option<crate::Preview>) -> ActionResult {
    ActionResult {
        action,
        outcome: Ok("dry run".to_owned()),
        elapsed_seconds: 0.0,
        metrics: std::collections::BTreeMap::new(),
        predicted: std::collections::BTreeMap::new(),
        preview,
    }
}

#[cfg(test)]
mod tests;
