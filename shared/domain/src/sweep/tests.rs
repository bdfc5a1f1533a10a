//! What a sweep wakes, gives up and frees, and what it leaves alone.

use super::*;
use crate::{
    Action, Fence, JobOptions, LEASE_SECONDS, NewJob, TableId, cancel, check_pair, check_step, claim,
    enqueued, heartbeat, retry_later, submit,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_000_000_000_000_000) + Duration::from_seconds(seconds)
}

fn off() -> Drain {
    Drain::default()
}

fn on() -> Drain {
    Drain {
        enabled: true,
        reason: None,
    }
}

fn submitted() -> Pair {
    let new = NewJob {
        id: JobId::from_u128(1),
        table: TableId::new("db", "t").unwrap(),
        actions: vec![Action::RewriteDataFiles, Action::ExpireSnapshots],
        options: JobOptions::default(),
    };
    submit(new, true, &off(), &Lock::default(), at(0)).unwrap()
}

/// Claimed, and its worker dead, as often as said; the last lease ends at the time returned.
fn died(times: u32) -> (Pair, i64) {
    let mut pair = submitted();
    let mut time = 0;
    for attempt in 1..=times {
        pair = claim(pair, &off(), &format!("w{attempt}"), at(time)).unwrap();
        time += LEASE_SECONDS;
    }
    (pair, time)
}

#[test]
fn a_message_is_sent_when_it_is_missing_or_seems_lost() {
    let fresh = submitted().job;
    assert_eq!(sweep(&fresh, &off(), at(0)), Sweep::Send);
    assert_eq!(sweep(&fresh, &on(), at(0)), Sweep::Leave);
    let sent = enqueued(fresh, at(10));
    assert_eq!(sweep(&sent, &off(), at(10 + RESEND_SECONDS - 1)), Sweep::Leave);
    assert_eq!(sweep(&sent, &off(), at(10 + RESEND_SECONDS)), Sweep::Send);
    assert_eq!(message_due(&sent), Some(at(10 + RESEND_SECONDS)));
}

#[test]
fn a_dead_worker_costs_an_attempt_and_the_last_one_ends_the_job() {
    for times in 1..MAX_ATTEMPTS {
        let (pair, end) = died(times);
        assert_eq!(sweep(&pair.job, &off(), at(end - 1)), Sweep::Leave);
        assert_eq!(sweep(&pair.job, &off(), at(end)), Sweep::Send);
    }
    let (pair, end) = died(MAX_ATTEMPTS);
    assert_eq!(sweep(&pair.job, &off(), at(end - 1)), Sweep::Leave);
    for drain in [off(), on()] {
        assert_eq!(sweep(&pair.job, &drain, at(end)), Sweep::GiveUp);
    }
    let ended = give_up(pair.clone(), at(end));
    check_step(&pair, &ended).unwrap();
    check_pair(&ended).unwrap();
    assert!(ended.lock.fence > pair.lock.fence, "the dead worker may wake");
    assert_eq!(
        ended.job.error.as_deref(),
        Some("gave up after 3 attempts: the worker stopped without reporting a cause")
    );
    assert_eq!(sweep(&ended.job, &off(), at(end + 10_000)), Sweep::Leave);
}

#[test]
fn the_last_known_cause_is_what_the_job_failed_of() {
    let first = claim(submitted(), &off(), "w1", at(0)).unwrap();
    let job = retry_later(first.job.clone(), first.job.fence, "S3 is throttling").unwrap();
    let pair = Pair { job, ..first };
    let second = claim(pair, &off(), "w2", at(1)).unwrap();
    let third = claim(second, &off(), "w3", at(1 + LEASE_SECONDS)).unwrap();
    let end = at(1 + 2 * LEASE_SECONDS);
    let error = give_up(third.clone(), end).job.error;
    assert_eq!(
        error.as_deref(),
        Some("gave up after 3 attempts: S3 is throttling")
    );
    let error = fail_dead_letter(third, end).unwrap().job.error.unwrap();
    assert!(
        error.starts_with("gave up: ") && error.ends_with(": S3 is throttling"),
        "{error}"
    );
}

#[test]
fn a_dead_letter_fails_a_job_that_nobody_holds() {
    let pending = submitted();
    let failed = fail_dead_letter(pending.clone(), at(1)).unwrap();
    check_step(&pending, &failed).unwrap();
    check_pair(&failed).unwrap();
    assert_eq!(failed.job.status, JobStatus::Failed);
    assert_eq!(
        fail_dead_letter(failed, at(2)),
        Err(DeadLetterKept::Terminal(JobStatus::Failed))
    );
    let held = claim(pending, &off(), "w1", at(0)).unwrap();
    assert_eq!(
        fail_dead_letter(held.clone(), at(LEASE_SECONDS - 1)),
        Err(DeadLetterKept::Held(at(LEASE_SECONDS)))
    );
    let fence = held.job.fence;
    let failed = fail_dead_letter(held, at(LEASE_SECONDS)).unwrap();
    assert!(heartbeat(failed.job, fence, None, at(LEASE_SECONDS)).is_err());
}

#[test]
fn only_a_lock_whose_job_is_gone_is_freed() {
    let Pair { job, lock } = submitted();
    assert_eq!(free_lock(&lock, Some(&job)), None);
    let free = Lock {
        holder: None,
        fence: Fence::new(7),
        ..Lock::default()
    };
    assert_eq!(free_lock(&free, None), None);
    let ended = cancel(
        Pair {
            job: job.clone(),
            lock: lock.clone(),
        },
        at(1),
    )
    .unwrap()
    .job;
    let other = Job {
        id: JobId::from_u128(2),
        ..job
    };
    for holder in [None, Some(&ended), Some(&other)] {
        let freed = free_lock(&lock, holder).unwrap();
        assert_eq!(
            freed,
            Lock {
                holder: None,
                fence: lock.fence.next(),
                upkeep: lock.upkeep,
            }
        );
    }
}
