//! Random runs of the protocol's decisions, checked against the invariants after every step.

use proptest::prelude::*;

use super::*;
use crate::{Action, JobOptions, TableId, check_pair, check_step, needs_message};

const START: i64 = 1_000_000_000_000_000;

fn new(number: u128) -> NewJob {
    NewJob {
        id: JobId::from_u128(number),
        table: TableId::new("db", "t").unwrap(),
        actions: vec![Action::RewriteDataFiles, Action::ExpireSnapshots],
        options: JobOptions::default(),
    }
}

fn result(action: Action) -> ActionResult {
    ActionResult {
        predicted: Default::default(),
        preview: None,
        ..dry_run_result(action, None)
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(START) + Duration::from_seconds(seconds)
}

fn off() -> Drain {
    Drain::default()
}

fn submitted() -> Pair {
    submit(new(1), true, &off(), &Lock::default(), at(0)).unwrap()
}

#[test]
fn submit_refuses_in_the_documented_order() {
    let busy = submitted().lock;
    let drain = Drain {
        enabled: true,
        reason: Some("upgrade".into()),
    };
    assert_eq!(
        submit(new(2), false, &drain, &busy, at(0)),
        Err(SubmitRefused::Draining(Some("upgrade".into())))
    );
    assert_eq!(
        submit(new(2), false, &off(), &busy, at(0)),
        Err(SubmitRefused::UnknownTable)
    );
    assert_eq!(
        submit(new(2), true, &off(), &busy, at(0)),
        Err(SubmitRefused::Busy(JobId::from_u128(1)))
    );
}

#[test]
fn a_cancelled_worker_is_fenced_off() {
    let running = claim(submitted(), &off(), "w1", at(1)).unwrap();
    let held = running.job.fence;
    let cancelled = cancel(running.clone(), at(2)).unwrap();
    check_step(&running, &cancelled).unwrap();
    check_pair(&cancelled).unwrap();
    assert_eq!(
        heartbeat(cancelled.job.clone(), held, None, at(3)),
        Err(FenceLost)
    );
    assert_eq!(
        finish(cancelled.clone(), held, Verdict::Completed, at(3)),
        Err(FenceLost)
    );
    assert_eq!(
        cancel(cancelled, at(4)),
        Err(CancelRefused::Terminal(JobStatus::Cancelled))
    );
}

#[test]
fn a_result_that_is_kept_twice_stays_one() {
    let claimed = claim(submitted(), &off(), "w", at(1)).unwrap();
    let held = claimed.job.fence;
    let first = claimed.job.actions[0];
    let once = keep_result(claimed.job, held, result(first), at(2)).unwrap();
    let twice = keep_result(once.clone(), held, result(first), at(3)).unwrap();
    assert_eq!(twice.results, once.results);
    assert_eq!(twice.remaining_actions(), &twice.actions[1..]);
}

#[test]
fn an_expired_lease_costs_an_attempt_and_a_yield_does_not() {
    let first = claim(submitted(), &off(), "w1", at(0)).unwrap();
    assert!(matches!(
        claim(first.clone(), &off(), "w2", at(10)),
        Err(ClaimRefused::Held(_))
    ));
    let second = claim(first.clone(), &off(), "w2", at(LEASE_SECONDS)).unwrap();
    assert_eq!((second.job.attempt, second.job.slice), (2, 2));
    assert_eq!(
        heartbeat(second.job.clone(), first.job.fence, None, at(200)),
        Err(FenceLost)
    );
    let held = second.job.fence;
    let yielded = Pair {
        job: yield_slice(second.job, held).unwrap(),
        lock: second.lock,
    };
    assert!(needs_message(&yielded.job, at(201)));
    let third = claim(yielded, &off(), "w3", at(201)).unwrap();
    assert_eq!((third.job.attempt, third.job.slice), (2, 3));
}

/// What is noted of a table whose job ended so.
fn upkeep_after(end: impl FnOnce(Pair) -> Pair) -> crate::Upkeep {
    let ended = end(claim(submitted(), &off(), "w", at(1)).unwrap());
    check_pair(&ended).unwrap();
    ended.lock.upkeep
}

fn finished(pair: Pair, verdict: Verdict, now: Timestamp) -> Pair {
    let held = pair.job.fence;
    finish(pair, held, verdict, now).unwrap()
}

#[test]
fn every_end_of_a_job_is_a_turn_and_only_success_counts_for_the_cadence() {
    let late = at(LEASE_SECONDS + 1);
    let ends = [
        upkeep_after(|pair| finished(pair, Verdict::Failed("no".into()), late)),
        upkeep_after(|pair| cancel(pair, late).unwrap()),
        upkeep_after(|pair| crate::give_up(pair, late)),
        upkeep_after(|pair| crate::fail_dead_letter(pair, late).unwrap()),
    ];
    for upkeep in ends {
        assert_eq!((upkeep.last_turn(), upkeep.completed_at), (Some(late), None));
    }
    let completed = upkeep_after(|pair| finished(pair, Verdict::Completed, late));
    assert_eq!(
        (completed.last_turn(), completed.completed_at),
        (Some(late), Some(late))
    );
    let from_before = crate::Upkeep {
        ended_at: None,
        ..completed
    };
    assert_eq!(from_before.last_turn(), Some(late));
}

#[test]
fn only_a_search_of_the_whole_table_that_removes_is_a_search_for_orphans() {
    use crate::OptionValue::{Bool, Text};
    let after = |options: &[(&str, crate::OptionValue)]| {
        let mut new = new(1);
        new.actions = vec![Action::RemoveOrphanFiles];
        for (name, value) in options {
            new.options
                .set(Action::RemoveOrphanFiles, name, value.clone())
                .unwrap();
        }
        let submitted = submit(new, true, &off(), &Lock::default(), at(0)).unwrap();
        let claimed = claim(submitted, &off(), "w", at(1)).unwrap();
        finished(claimed, Verdict::Completed, at(2)).lock.upkeep
    };
    let searched = |options| after(options).orphans_removed_at;
    assert_eq!(searched(&[]), Some(at(2)));
    assert_eq!(searched(&[("dry_run", Bool(false))]), Some(at(2)));
    assert_eq!(searched(&[("dry_run", Bool(true))]), None);
    assert_eq!(searched(&[("location", Text("s3://bucket/t/data".into()))]), None);
    assert_eq!(after(&[("dry_run", Bool(true))]).completed_at, Some(at(2)));
}

#[test]
fn retries_wait_longer_each_time_and_not_all_alike() {
    for (attempt, longest) in [(1, 20), (2, 40), (3, 80), (9, 80)] {
        let delays: std::collections::BTreeSet<_> = (0..200)
            .map(|number| {
                let mut job = submit(new(number), true, &off(), &Lock::default(), at(0))
                    .unwrap()
                    .job;
                job.attempt = attempt;
                retry_delay_seconds(&job)
            })
            .collect();
        assert!(
            delays.iter().all(|delay| (longest / 2..=longest).contains(delay)),
            "{delays:?}"
        );
        assert!(delays.len() > 5, "{delays:?}");
    }
}

/// One step of a random history.
#[derive(Clone, Copy, Debug)]
enum Step {
    Claim(u8),
    Beat(u8),
    Keep(u8),
    Yield(u8),
    Finish(u8, bool),
    Cancel,
    Wait(u8),
    Submit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3u8).prop_map(Step::Claim),
        (0..3u8).prop_map(Step::Beat),
        (0..3u8).prop_map(Step::Keep),
        (0..3u8).prop_map(Step::Yield),
        (0..3u8, any::<bool>()).prop_map(|(worker, well)| Step::Finish(worker, well)),
        Just(Step::Cancel),
        (1..250u8).prop_map(Step::Wait),
        Just(Step::Submit),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn invariants_hold_in_every_history(steps in steps()) {
        let mut pair = submitted();
        let mut fences = [Fence::default(); 3];
        let mut clock = 0;
        let mut jobs = 1u128;
        for step in steps {
            let now = at(clock);
            let before = pair.clone();
            let next = match step {
                Step::Claim(worker) => claim(pair.clone(), &off(), &format!("w{worker}"), now).ok().inspect(|claimed| {
                    fences[usize::from(worker)] = claimed.job.fence;
                }),
                Step::Beat(worker) => heartbeat(pair.job.clone(), fences[usize::from(worker)], None, now)
                    .ok()
                    .map(|job| Pair { job, lock: pair.lock.clone() }),
                Step::Keep(worker) => match pair.job.remaining_actions().first() {
                    Some(action) => keep_result(pair.job.clone(), fences[usize::from(worker)], result(*action), now)
                        .ok()
                        .map(|job| Pair { job, lock: pair.lock.clone() }),
                    None => None,
                },
                Step::Yield(worker) => yield_slice(pair.job.clone(), fences[usize::from(worker)])
                    .ok()
                    .map(|job| Pair { job, lock: pair.lock.clone() }),
                Step::Finish(worker, well) => {
                    let verdict = if well { Verdict::Completed } else { Verdict::Failed("cause".into()) };
                    finish(pair.clone(), fences[usize::from(worker)], verdict, now).ok()
                }
                Step::Cancel => cancel(pair.clone(), now).ok(),
                Step::Wait(seconds) => {
                    clock += i64::from(seconds);
                    None
                }
                Step::Submit => submit(new(jobs + 1), true, &off(), &pair.lock, now).ok(),
            };
            if let Some(next) = next {
                check_pair(&next).unwrap();
                if next.job.id == before.job.id {
                    check_step(&before, &next).unwrap();
                } else {
                    prop_assert!(before.job.is_terminal() && next.lock.fence > before.lock.fence);
                    jobs += 1;
                }
                pair = next;
            }
        }
    }
}
