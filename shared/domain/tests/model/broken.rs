//! The test of the test: decisions broken on purpose, each of which must break the invariant it is listed under.

use std::collections::BTreeSet;

use snowpack_domain as domain;
use snowpack_domain::{Action, Drain, Fence, JobStatus, Lock, Pair, Sweep, Timestamp, Verdict};
use stateright::{Checker, HasDiscoveries, Model};

use crate::invariants::INVARIANTS;
use crate::protocol::{Protocol, World};
use crate::rules::{Rules, WorkerHabits};
use crate::values::{ACTIONS, LONG_TICK_SECONDS, result};

/// Small, and enough for a worker that lost its fence next to another one, and for a job after a job.
const SMALL_WORLD: World = World {
    tables: 1,
    workers: 2,
    slots: 2,
    clocks: &[0],
    ticks_seconds: &[LONG_TICK_SECONDS],
    most_faults: None,
};

/// An invariant, what is broken, and the rules that are.
type Variant = (&'static str, &'static str, Rules);

#[test]
fn every_broken_variant_is_caught_by_name() {
    let variants: Vec<_> = [locks(), fences(), workers(), jobs(), results(), progress()].concat();
    for (invariant, variant, rules) in &variants {
        let checker = Protocol::new(SMALL_WORLD, *rules)
            .checker()
            .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([*invariant])))
            .spawn_bfs()
            .join();
        let trace = checker.discovery(invariant);
        let others: BTreeSet<_> = checker.discoveries().into_keys().collect();
        let (_, meaning) = INVARIANTS
            .iter()
            .find(|(name, _)| name == invariant)
            .expect("it is on the list");
        assert!(
            trace.is_some(),
            "{invariant} ({meaning}) does not notice that {variant}, found only {others:?}"
        );
    }
    let covered: BTreeSet<_> = variants.iter().map(|(invariant, ..)| *invariant).collect();
    assert_eq!(covered, BTreeSet::from(INVARIANTS.map(|(name, _)| name)));
}

const REAL: Rules = Rules::REAL;

fn locks() -> Vec<Variant> {
    const KEEP_LOCK: fn(Pair) -> Pair = |mut pair| {
        pair.lock.holder = Some(pair.job.id.clone());
        pair
    };
    vec![
        (
            "LK-1",
            "a cancel keeps the lock",
            Rules {
                cancel: |pair, now| domain::cancel(pair, now).map(KEEP_LOCK),
                ..REAL
            },
        ),
        (
            "LK-1",
            "giving up keeps the lock",
            Rules {
                give_up: |pair, now| KEEP_LOCK(domain::give_up(pair, now)),
                ..REAL
            },
        ),
        (
            "LK-1",
            "a dead letter keeps the lock",
            Rules {
                fail_dead_letter: |pair, now| domain::fail_dead_letter(pair, now).map(KEEP_LOCK),
                ..REAL
            },
        ),
        (
            "LK-1",
            "a worker's end keeps the lock",
            Rules {
                finish: |pair, held, verdict, now| domain::finish(pair, held, verdict, now).map(KEEP_LOCK),
                ..REAL
            },
        ),
        (
            "LK-1",
            "a sweep frees the lock of a living job",
            Rules {
                free_lock: |lock, _| domain::free_lock(lock, None),
                ..REAL
            },
        ),
        (
            "LK-2",
            "a submit does not look who holds the lock",
            Rules {
                submit: |new, known, drain, lock, now| {
                    let free = Lock {
                        holder: None,
                        ..lock.clone()
                    };
                    domain::submit(new, known, drain, &free, now)
                },
                ..REAL
            },
        ),
        (
            "SB-1",
            "a refused submit makes the fence grow",
            Rules {
                refuse: |lock| Lock {
                    fence: lock.fence.next(),
                    ..lock
                },
                ..REAL
            },
        ),
        (
            "SB-2",
            "a submit does not ask whether the table is known",
            Rules {
                submit: |new, _, drain, lock, now| domain::submit(new, true, drain, lock, now),
                ..REAL
            },
        ),
        (
            "DR-1",
            "a submit does not look at drain mode",
            Rules {
                submit: |new, known, _, lock, now| domain::submit(new, known, &Drain::default(), lock, now),
                ..REAL
            },
        ),
        (
            "DR-1",
            "a claim does not look at drain mode",
            Rules {
                claim: |pair, _, worker, now| domain::claim(pair, &Drain::default(), worker, now),
                ..REAL
            },
        ),
    ]
}

/// The pair as decided, under the fence it had before.
fn under_old_fence(before: Fence, mut pair: Pair) -> Pair {
    pair.lock.fence = before;
    pair.job.fence = before;
    pair
}

fn fences() -> Vec<Variant> {
    vec![
        (
            "FN-1",
            "a claim writes its fence to the lock only",
            Rules {
                claim: |pair, drain, worker, now| {
                    let before = pair.job.fence;
                    let mut claimed = domain::claim(pair, drain, worker, now)?;
                    claimed.job.fence = before;
                    Ok(claimed)
                },
                ..REAL
            },
        ),
        (
            "FN-2",
            "a claim keeps the fence",
            Rules {
                claim: |pair, drain, worker, now| {
                    let before = pair.lock.fence;
                    domain::claim(pair, drain, worker, now).map(|pair| under_old_fence(before, pair))
                },
                ..REAL
            },
        ),
        (
            "FN-2",
            "a cancel keeps the fence",
            Rules {
                cancel: |pair, now| {
                    let before = pair.lock.fence;
                    domain::cancel(pair, now).map(|pair| under_old_fence(before, pair))
                },
                ..REAL
            },
        ),
        (
            "FN-2",
            "a submit starts the fences again",
            Rules {
                submit: |new, known, drain, lock, now| {
                    let pair = domain::submit(new, known, drain, lock, now)?;
                    Ok(under_old_fence(Fence::new(1), pair))
                },
                ..REAL
            },
        ),
        (
            "FN-3",
            "a heartbeat does not look at the fence",
            Rules {
                heartbeat: |job, _, progress, now| {
                    let newest = job.fence;
                    domain::heartbeat(job, newest, progress, now)
                },
                ..REAL
            },
        ),
        (
            "FN-3",
            "a result is kept without a look at the fence",
            Rules {
                keep_result: |job, _, result, now| {
                    let newest = job.fence;
                    domain::keep_result(job, newest, result, now)
                },
                ..REAL
            },
        ),
        (
            "FN-3",
            "a slice is handed back without a look at the fence",
            Rules {
                yield_slice: |job, _| {
                    let newest = job.fence;
                    domain::yield_slice(job, newest)
                },
                ..REAL
            },
        ),
        (
            "FN-3",
            "a fault hands the job back without a look at the fence",
            Rules {
                retry_later: |job, _, cause| {
                    let newest = job.fence;
                    domain::retry_later(job, newest, cause)
                },
                ..REAL
            },
        ),
        (
            "FN-3",
            "a job is ended without a look at the fence",
            Rules {
                keep_result: |mut job, _, result, _| {
                    job.results.push(result);
                    Ok(job)
                },
                finish: |pair, _, verdict, now| {
                    let newest = pair.lock.fence;
                    domain::finish(pair, newest, verdict, now)
                },
                ..REAL
            },
        ),
        (
            "FN-4",
            "a claim does not look at the lease",
            Rules {
                claim: |mut pair, drain, worker, now| {
                    pair.job = domain::abandon_lease(pair.job, now);
                    domain::claim(pair, drain, worker, now)
                },
                ..REAL
            },
        ),
        (
            "FN-5",
            "giving up keeps the fence",
            Rules {
                give_up: |pair, now| {
                    let before = pair.lock.fence;
                    under_old_fence(before, domain::give_up(pair, now))
                },
                ..REAL
            },
        ),
        (
            "FN-5",
            "a dead letter keeps the fence",
            Rules {
                fail_dead_letter: |pair, now| {
                    let before = pair.lock.fence;
                    domain::fail_dead_letter(pair, now).map(|pair| under_old_fence(before, pair))
                },
                ..REAL
            },
        ),
        (
            "FN-5",
            "a lock is freed under its old fence",
            Rules {
                free_lock: |lock, job| {
                    domain::free_lock(lock, job).map(|free| Lock {
                        fence: lock.fence,
                        ..free
                    })
                },
                ..REAL
            },
        ),
    ]
}

fn workers() -> Vec<Variant> {
    const HABITS: WorkerHabits = REAL.worker;
    let habit = |worker| Rules { worker, ..REAL };
    vec![
        (
            "TB-1",
            "a worker deletes its file although its commit may succeed",
            habit(WorkerHabits {
                keeps_unanswered_file: false,
                ..HABITS
            }),
        ),
        (
            "TB-1",
            "an expiry deletes the live file",
            habit(WorkerHabits {
                spares_live_file: false,
                ..HABITS
            }),
        ),
        (
            "TB-2",
            "a worker commits without a checkpoint",
            habit(WorkerHabits {
                checkpoints: false,
                ..HABITS
            }),
        ),
        (
            "TB-3",
            "a later attempt runs every action again",
            Rules {
                remaining_actions: |job| &job.actions,
                ..REAL
            },
        ),
    ]
}

fn jobs() -> Vec<Variant> {
    vec![
        (
            "JB-1",
            "a cancelled job keeps its lease",
            Rules {
                cancel: |pair, now| {
                    let lease = pair.job.lease.clone();
                    let mut cancelled = domain::cancel(pair, now)?;
                    cancelled.job.lease = lease;
                    Ok(cancelled)
                },
                ..REAL
            },
        ),
        (
            "JB-1",
            "a finished job has no end",
            Rules {
                finish: |pair, held, verdict, now| {
                    let mut finished = domain::finish(pair, held, verdict, now)?;
                    finished.job.completed_at = None;
                    Ok(finished)
                },
                ..REAL
            },
        ),
        (
            "JB-2",
            "a job that has ended is claimed again",
            Rules {
                claim: |mut pair, drain, worker, now| {
                    if pair.job.is_terminal() {
                        pair.job.status = JobStatus::Pending;
                        pair.lock.holder = Some(pair.job.id.clone());
                    }
                    domain::claim(pair, drain, worker, now)
                },
                ..REAL
            },
        ),
        (
            "JB-2",
            "a cancel that comes too late leaves its mark",
            Rules {
                cancel: |mut pair, now| {
                    if pair.job.is_terminal() {
                        pair.job.error = Some("cancelled".to_owned());
                        return Ok(pair);
                    }
                    domain::cancel(pair, now)
                },
                ..REAL
            },
        ),
        (
            "JB-2",
            "a dead letter fails a job that has ended",
            Rules {
                fail_dead_letter: |mut pair, now| {
                    if pair.job.is_terminal() {
                        pair.job.status = JobStatus::Running;
                    }
                    domain::fail_dead_letter(pair, now)
                },
                ..REAL
            },
        ),
        (
            "JB-6",
            "attempts are not counted up",
            Rules {
                is_exhausted: |_, _| false,
                ..REAL
            },
        ),
    ]
}

fn results() -> Vec<Variant> {
    vec![
        (
            "JB-3",
            "a new attempt forgets what was finished",
            Rules {
                claim: |mut pair, drain, worker, now| {
                    pair.job.results.clear();
                    domain::claim(pair, drain, worker, now)
                },
                ..REAL
            },
        ),
        (
            "JB-4",
            "a result is kept twice",
            Rules {
                keep_result: |mut job, held, result, now| {
                    job = domain::keep_result(job, held, result.clone(), now)?;
                    job.results.push(result);
                    Ok(job)
                },
                ..REAL
            },
        ),
        (
            "JB-4",
            "a job completes whose action failed",
            Rules {
                finish: |pair, held, _, now| domain::finish(pair, held, Verdict::Completed, now),
                ..REAL
            },
        ),
        (
            "JB-5",
            "a cancel adds a result",
            Rules {
                cancel: |mut pair, now| {
                    let skipped = ACTIONS
                        .get(pair.job.results.len())
                        .copied()
                        .unwrap_or(Action::RemoveOrphanFiles);
                    if !pair.job.is_terminal() {
                        pair.job.results.push(result(skipped, Ok("skipped".to_owned())));
                    }
                    domain::cancel(pair, now)
                },
                ..REAL
            },
        ),
    ]
}

fn progress() -> Vec<Variant> {
    vec![
        (
            "PR-1",
            "a sweep sends nothing",
            Rules {
                sweep: |job, drain, now| match domain::sweep(job, drain, now) {
                    Sweep::Send => Sweep::Leave,
                    other => other,
                },
                ..REAL
            },
        ),
        (
            "PR-1",
            "a sweep forgets the jobs of dead workers",
            Rules {
                sweep: |job, drain, now| match &job.lease {
                    Some(_) => Sweep::Leave,
                    None => domain::sweep(job, drain, now),
                },
                ..REAL
            },
        ),
        (
            "PR-1",
            "a sweep forgets the jobs whose message was sent once",
            Rules {
                sweep: |job, drain, now| match job.enqueued_at {
                    Some(_) => Sweep::Leave,
                    None => domain::sweep(job, drain, now),
                },
                ..REAL
            },
        ),
        (
            "PR-1",
            "a claim does not continue a slice",
            Rules {
                claim: |pair, drain, worker, now| {
                    if pair.job.status == JobStatus::Running && pair.job.lease.is_none() {
                        return Err(domain::ClaimRefused::Held(Timestamp::from_micros(i64::MAX)));
                    }
                    domain::claim(pair, drain, worker, now)
                },
                ..REAL
            },
        ),
        (
            "PR-2",
            "a sweep frees no lock",
            Rules {
                free_lock: |_, _| None,
                ..REAL
            },
        ),
    ]
}
