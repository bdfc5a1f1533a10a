//! The protocol's invariants by name (protocol.md, Invariants), as plain functions that production code,
//! contract suites and the model checker all call.

use crate::{Job, JobStatus, Pair};

/// A broken invariant: its name and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's name, for example `LK-1`.
    pub invariant: &'static str,
    /// What was seen.
    pub seen: String,
}

/// Checks a job against its table's lock at one instant.
///
/// - `LK-1`: an active job holds its table's lock, a terminal one does not.
/// - `FN-1`: the fence of an active job is the lock's.
/// - `JB-1`: a terminal job has an end, no lease, no progress and no note; an active one has no end.
/// - `RN-1`: only a job that was claimed has a run elsewhere, and none that completed.
///
/// # Errors
/// The first [`Violation`] found.
pub fn check_pair(pair: &Pair) -> Result<(), Violation> {
    let Pair { job, lock } = pair;
    let holds = lock.holder.as_ref() == Some(&job.id);
    let active = !job.is_terminal();
    ensure(holds == (active && !job.dry_run), "LK-1", || {
        format!("{} {:?}, lock {:?}", job.id, job.status, lock)
    })?;
    ensure(!active || job.fence == lock.fence, "FN-1", || {
        format!("job {} lock {}", job.fence, lock.fence)
    })?;
    let at_rest = job.lease.is_none() && job.progress.is_none() && job.note.is_none();
    let ended = job.completed_at.is_some() && at_rest;
    ensure(
        if active { job.completed_at.is_none() } else { ended },
        "JB-1",
        || format!("{job:?}"),
    )?;
    let no_run = matches!(job.status, JobStatus::Pending | JobStatus::Completed);
    ensure(!no_run || job.remote_run.is_none(), "RN-1", || format!("{job:?}"))
}

/// Checks one write: what it found and what it left.
///
/// - `FN-2`: the lock's fence never shrinks, and grows whenever the lock or the worker changes hands.
/// - `JB-2`: a terminal job never changes again, but to forget the run it left behind elsewhere.
/// - `JB-3`: results are only ever appended to.
///
/// # Errors
/// The first [`Violation`] found.
pub fn check_step(before: &Pair, after: &Pair) -> Result<(), Violation> {
    ensure(after.lock.fence >= before.lock.fence, "FN-2", || {
        format!("{:?} -> {:?}", before.lock, after.lock)
    })?;
    let worker = |pair: &Pair| pair.job.lease.as_ref().map(|lease| lease.worker.clone());
    let taken = after.lock.holder.is_some() && after.lock.holder != before.lock.holder;
    let claimed = worker(after).is_some() && worker(after) != worker(before);
    let revoked = after.job.status == JobStatus::Cancelled && before.job.status != JobStatus::Cancelled;
    let must_grow = taken || claimed || revoked;
    ensure(!must_grow || after.lock.fence > before.lock.fence, "FN-2", || {
        format!("{:?} -> {:?}", before.lock, after.lock)
    })?;
    ensure(
        !before.job.is_terminal() || before.job == after.job || only_sees_to_its_run(&before.job, &after.job),
        "JB-2",
        || format!("{:?}", after.job),
    )?;
    ensure(after.job.results.starts_with(&before.job.results), "JB-3", || {
        format!("{:?}", after.job.results)
    })
}

/// Whether an ended job changed in nothing but that its run was forgotten, or a message sent to see to that.
fn only_sees_to_its_run(before: &Job, after: &Job) -> bool {
    let kept = after.remote_run.is_none() || after.remote_run == before.remote_run;
    let expected = Job {
        remote_run: after.remote_run.clone(),
        enqueued_at: after.enqueued_at,
        ..before.clone()
    };
    before.remote_run.is_some() && kept && *after == expected
}

fn ensure(holds: bool, invariant: &'static str, seen: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            invariant,
            seen: seen(),
        })
    }
}
