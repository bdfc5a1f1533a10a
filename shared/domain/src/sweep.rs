//! Decisions about what nobody else will wake or free (protocol.md, Sweep): jobs without a message or a living
//! worker, messages nobody could handle, locks without a job.

use crate::decide::revoke;
use crate::remote::run_left_behind;
use crate::{Drain, Duration, Job, JobId, JobStatus, Lock, Pair, Timestamp};

/// Attempts a job gets before it is given up (protocol.md, Sweep).
pub const MAX_ATTEMPTS: u32 = 3;

/// How long a sent message may stay unclaimed before it is sent again; above SQS's usual delays, so that
/// duplicates stay rare.
const RESEND_SECONDS: i64 = 900;

/// What a sweep does about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Nothing: it has ended, somebody works on it, or its message is in the queue.
    Leave,
    /// Send its message (again).
    Send,
    /// End it: its last worker died ([`give_up`]).
    GiveUp,
}

/// What a sweep does about a job. Drain mode holds back messages, but keeps no table locked by a dead job.
pub fn sweep(job: &Job, drain: &Drain, now: Timestamp) -> Sweep {
    if is_exhausted(job, now) {
        Sweep::GiveUp
    } else if needs_message(job, now) && !drain.enabled {
        Sweep::Send
    } else {
        Sweep::Leave
    }
}

/// When the job's message has to be sent (again) unless the job changes before: at once when it was never
/// sent, later when it seems lost or its worker's lease ran out. `None` when the job is terminal and left no run
/// behind elsewhere: the worker that gets the message stops it.
pub fn message_due(job: &Job) -> Option<Timestamp> {
    if job.is_terminal() && run_left_behind(job).is_none() {
        return None;
    }
    let lost = |sent: Timestamp| sent + Duration::from_seconds(RESEND_SECONDS);
    Some(match (&job.lease, job.enqueued_at) {
        (Some(lease), Some(sent)) if sent >= lease.expires_at => lost(sent),
        (Some(lease), _) => lease.expires_at,
        (None, Some(sent)) => lost(sent),
        (None, None) => job.submitted_at,
    })
}

/// Whether the job has to be put in the queue (again) as of `now`.
pub fn needs_message(job: &Job, now: Timestamp) -> bool {
    message_due(job).is_some_and(|due| due <= now)
}

/// Whether the job's worker is dead and was its last one.
pub fn is_exhausted(job: &Job, now: Timestamp) -> bool {
    let worker_died = job.lease.as_ref().is_some_and(|lease| lease.expires_at <= now);
    job.status == JobStatus::Running && worker_died && job.attempt >= MAX_ATTEMPTS
}

/// Fails a job whose attempts are spent ([`is_exhausted`]), revoking the dead worker's fence and freeing the table.
pub fn give_up(mut pair: Pair, now: Timestamp) -> Pair {
    let last = pair.job.last_fault.as_deref();
    let cause = last.unwrap_or("the worker stopped without reporting a cause");
    let error = format!("gave up after {} attempts: {cause}", pair.job.attempt);
    revoke(&mut pair, JobStatus::Failed, Some(error), now);
    pair
}

/// Why a job is not failed although its message could not be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterKept {
    /// It has ended: the message means nothing any more.
    Terminal(JobStatus),
    /// A worker holds it until then, by another message: look again later.
    Held(Timestamp),
}

/// Fails a job whose message was delivered as often as the queue allows and never acknowledged.
///
/// # Errors
/// [`DeadLetterKept`] when the job has ended or is being worked on.
pub fn fail_dead_letter(mut pair: Pair, now: Timestamp) -> Result<Pair, DeadLetterKept> {
    if pair.job.is_terminal() {
        return Err(DeadLetterKept::Terminal(pair.job.status));
    }
    if let Some(lease) = &pair.job.lease
        && lease.expires_at > now
    {
        return Err(DeadLetterKept::Held(lease.expires_at));
    }
    let last = pair.job.last_fault.as_deref();
    let cause = last.unwrap_or("its worker failed each time; the worker's log has the reason");
    let error = format!("gave up: its message was delivered too often without success: {cause}");
    revoke(&mut pair, JobStatus::Failed, Some(error), now);
    Ok(pair)
}

/// A lock whose holder `holder` has ended or is not stored any more, freed under a new fence; `None` when there
/// is nothing to free. `holder` is what the store has of the lock's holder, read after the lock.
pub fn free_lock(lock: &Lock, holder: Option<&Job>) -> Option<Lock> {
    let held: &JobId = lock.holder.as_ref()?;
    let lives = holder.is_some_and(|job| job.id == *held && !job.is_terminal());
    (!lives).then(|| Lock {
        holder: None,
        fence: lock.fence.next(),
        upkeep: lock.upkeep,
    })
}

/// Ends the lease of a worker known to be dead, so that the job need not wait for it to expire.
pub fn abandon_lease(mut job: Job, now: Timestamp) -> Job {
    if let Some(lease) = &mut job.lease {
        lease.expires_at = lease.expires_at.min(now);
    }
    job
}

#[cfg(test)]
mod tests;
