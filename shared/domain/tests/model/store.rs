//! One write to a job and its table's lock: decided by the real functions on real values, checked, and made small.
//!
//! A write is one step of the model. The stores make it so: they apply it only if every version it was decided on
//! is still the stored one, so a write takes effect as if reading, deciding and writing had happened at once.
//! What is read without its version being compared cannot change the decision: a heartbeat reads the job alone;
//! a sweep frees a lock it read before the job, and a job that has ended or is gone stays so.

use snowpack_domain::{
    ClaimRefused, DeadLetterKept, Drain, Job, JobStatus, Lock, MAX_ATTEMPTS, Pair, Sweep, Verdict,
    check_pair, check_step,
};

use crate::invariants::Broken;
use crate::rules::Rules;
use crate::state::JobState;
use crate::values::{self, ACTIONS, NEWEST, OLDER, at, compact, lease_is_valid, real};

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    Submit { known: bool },
    NoteSent,
    Claim,
    Heartbeat,
    KeepResult,
    Yield,
    RetryLater,
    Complete,
    Fail,
    Cancel,
    Sweep { notes: bool },
    TakeDeadLetter,
    FreeLock,
}

/// Whose a table's lock is, seen from one of its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    This,
    Other,
    Nobody,
}

/// Everything a decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Input {
    pub(crate) decision: Decision,
    /// `None` when the store does not have it.
    pub(crate) job: Option<JobState>,
    pub(crate) holder: Holder,
    /// Whether the caller's fence is the newest.
    pub(crate) current: bool,
    /// The caller's clock, in seconds from the true time.
    pub(crate) clock: i16,
    pub(crate) draining: bool,
}

/// What came of a decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// `None` when it was refused.
    pub(crate) written: Option<Written>,
    pub(crate) message: Message,
    pub(crate) broken: Broken,
}

/// What a write left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) job: Option<JobState>,
    pub(crate) holder: Holder,
    pub(crate) fence_grew: bool,
    /// The position of the action that a worker has to run next.
    pub(crate) next_action: Option<usize>,
}

/// What becomes of the job's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Unchanged,
    Sent,
    Removed,
}

/// Decides and checks.
pub(crate) fn decide(rules: &Rules, input: &Input) -> Outcome {
    let lock = Lock {
        holder: match input.holder {
            Holder::This => Some(values::this_job()),
            Holder::Other => Some(values::other_job()),
            Holder::Nobody => None,
        },
        fence: NEWEST,
        ..Lock::default()
    };
    match (input.decision, input.job.as_ref().map(real)) {
        (Decision::Submit { known }, _) => submit(rules, input, known, &lock),
        (Decision::FreeLock, holder) => free_lock(rules, &lock, holder.as_ref()),
        // Whoever finds no job stops, and removes a message about it.
        (decision, None) => Outcome {
            written: None,
            message: match decision {
                Decision::Claim | Decision::TakeDeadLetter => Message::Removed,
                _ => Message::Unchanged,
            },
            broken: Broken::default(),
        },
        (_, Some(job)) => change(rules, input, &Pair { job, lock }),
    }
}

fn submit(rules: &Rules, input: &Input, known: bool, lock: &Lock) -> Outcome {
    let mut broken = Broken::default();
    let drain = drain(input.draining);
    let accepted = (rules.submit)(values::new_job(), known, &drain, lock, at(input.clock)).ok();
    match &accepted {
        None => broken.add_unless((rules.refuse)(lock.clone()) == *lock, "SB-1"),
        Some(after) => {
            broken.add_unless(!input.draining, "DR-1");
            broken.add_unless(known, "SB-2");
            let before = Pair {
                job: after.job.clone(),
                lock: lock.clone(),
            };
            check_write(&before, after, &mut broken);
        }
    }
    outcome(rules, accepted, Message::Unchanged, broken)
}

fn free_lock(rules: &Rules, lock: &Lock, holder: Option<&Job>) -> Outcome {
    let mut broken = Broken::default();
    let freed = (rules.free_lock)(lock, holder);
    if let Some(freed) = &freed {
        broken.add_unless(freed.fence > lock.fence, "FN-5");
        if let Some(job) = holder {
            let after = Pair {
                job: job.clone(),
                lock: freed.clone(),
            };
            check_write(
                &Pair {
                    lock: lock.clone(),
                    ..after.clone()
                },
                &after,
                &mut broken,
            );
        }
    }
    let written = freed.map(|_| Written {
        job: holder.map(compact),
        holder: Holder::Nobody,
        fence_grew: true,
        next_action: None,
    });
    Outcome {
        written,
        message: Message::Unchanged,
        broken,
    }
}

fn change(rules: &Rules, input: &Input, before: &Pair) -> Outcome {
    let (after, message) = next(rules, input, before.clone());
    let mut broken = Broken::default();
    if let Some(after) = &after {
        check_write(before, after, &mut broken);
        check_authority(input, before, after, &mut broken);
        check_results(input, before, after, &mut broken);
    }
    outcome(rules, after, message, broken)
}

/// The pair to write, if any, and what becomes of the job's message.
fn next(rules: &Rules, input: &Input, pair: Pair) -> (Option<Pair>, Message) {
    let now = at(input.clock);
    let drain = drain(input.draining);
    let held = if input.current { NEWEST } else { OLDER };
    let lock = pair.lock.clone();
    let with_lock = |job: Job| Pair { job, lock };
    let sent = |job: Option<Job>, lock: Lock| match job {
        Some(job) => (Some(Pair { job, lock }), Message::Sent),
        None => (None, Message::Unchanged),
    };
    match input.decision {
        Decision::Submit { .. } | Decision::FreeLock => unreachable!("decided without a pair"),
        Decision::NoteSent => (
            Some(with_lock((rules.enqueued)(pair.job, now))),
            Message::Unchanged,
        ),
        Decision::Claim if (rules.is_exhausted)(&pair.job, now) => {
            (Some((rules.give_up)(pair, now)), Message::Removed)
        }
        Decision::Claim => match (rules.claim)(pair, &drain, "claimant", now) {
            Ok(claimed) => (Some(claimed), Message::Removed),
            Err(ClaimRefused::Draining) => (None, Message::Unchanged),
            Err(_) => (None, Message::Removed),
        },
        Decision::Heartbeat => {
            let renewed = (rules.heartbeat)(pair.job, held, Some(values::progress()), now);
            (renewed.ok().map(with_lock), Message::Unchanged)
        }
        Decision::KeepResult => {
            let kept = keep_result(rules, pair.job, held, true, input.clock);
            (kept.map(with_lock), Message::Unchanged)
        }
        Decision::Yield => sent((rules.yield_slice)(pair.job, held).ok(), pair.lock),
        Decision::RetryLater => sent((rules.retry_later)(pair.job, held, "throttled").ok(), pair.lock),
        Decision::Complete | Decision::Fail => {
            let succeeded = input.decision == Decision::Complete;
            let verdict = if succeeded {
                Verdict::Completed
            } else {
                Verdict::Failed("the action failed".to_owned())
            };
            let kept = keep_result(rules, pair.job, held, succeeded, input.clock).map(with_lock);
            let ended = kept.and_then(|kept| (rules.finish)(kept, held, verdict, now).ok());
            (ended, Message::Unchanged)
        }
        Decision::Cancel => ((rules.cancel)(pair, now).ok(), Message::Unchanged),
        Decision::Sweep { notes } => match (rules.sweep)(&pair.job, &drain, now) {
            Sweep::Leave => (None, Message::Unchanged),
            Sweep::GiveUp => (Some((rules.give_up)(pair, now)), Message::Unchanged),
            Sweep::Send if notes => sent(Some((rules.enqueued)(pair.job, now)), pair.lock),
            Sweep::Send => (None, Message::Sent),
        },
        Decision::TakeDeadLetter => match (rules.fail_dead_letter)(pair, now) {
            Ok(failed) => (Some(failed), Message::Removed),
            Err(DeadLetterKept::Terminal(_)) => (None, Message::Removed),
            Err(DeadLetterKept::Held(_)) => (None, Message::Unchanged),
        },
    }
}

fn keep_result(
    rules: &Rules,
    job: Job,
    held: snowpack_domain::Fence,
    succeeded: bool,
    clock: i16,
) -> Option<Job> {
    let action = *job.actions.get(job.results.len())?;
    let outcome = if succeeded {
        Ok("done".to_owned())
    } else {
        Err("the action failed".to_owned())
    };
    (rules.keep_result)(job, held, values::result(action, outcome), at(clock)).ok()
}

fn check_write(before: &Pair, after: &Pair, broken: &mut Broken) {
    for violation in [check_pair(after), check_step(before, after)]
        .into_iter()
        .filter_map(Result::err)
    {
        broken.add(violation.invariant);
    }
    broken.add_unless(after.job.attempt <= MAX_ATTEMPTS, "JB-6");
}

/// Whether the caller was entitled to this write.
fn check_authority(input: &Input, before: &Pair, after: &Pair, broken: &mut Broken) {
    let writes_as_worker = matches!(
        input.decision,
        Decision::Heartbeat
            | Decision::KeepResult
            | Decision::Yield
            | Decision::RetryLater
            | Decision::Complete
            | Decision::Fail
    );
    let holds = input.current && input.holder == Holder::This && before.job.lease.is_some();
    broken.add_unless(!writes_as_worker || holds, "FN-3");
    let claims = input.decision == Decision::Claim && after.job.status == JobStatus::Running;
    broken.add_unless(!(claims && lease_is_valid(&before.job, at(input.clock))), "FN-4");
    broken.add_unless(!(claims && input.draining), "DR-1");
    let ends = after.job.is_terminal() && !before.job.is_terminal();
    let revokes = after.lock.fence > before.lock.fence;
    broken.add_unless(!ends || writes_as_worker || revokes, "FN-5");
}

fn check_results(input: &Input, before: &Pair, after: &Pair, broken: &mut Broken) {
    let results = &after.job.results;
    let in_order = results
        .iter()
        .map(|result| &result.action)
        .eq(ACTIONS.iter().take(results.len()));
    let failures = results.iter().filter(|result| result.outcome.is_err()).count();
    let complete = match after.job.status {
        JobStatus::Completed => failures == 0 && results.len() == ACTIONS.len(),
        JobStatus::Failed => {
            failures == 0 || (failures == 1 && results.last().is_some_and(|last| last.outcome.is_err()))
        }
        JobStatus::Pending | JobStatus::Running | JobStatus::Cancelled => failures == 0,
    };
    // A job that ended has forgotten its results in the model; `JB-2` compares it as a whole.
    broken.add_unless(before.job.is_terminal() || (in_order && complete), "JB-4");
    let added = matches!(
        input.decision,
        Decision::KeepResult | Decision::Complete | Decision::Fail
    );
    broken.add_unless(
        results.len() == before.job.results.len() + usize::from(added),
        "JB-5",
    );
}

fn outcome(rules: &Rules, after: Option<Pair>, message: Message, mut broken: Broken) -> Outcome {
    let next_action = after
        .as_ref()
        .and_then(|after| (rules.remaining_actions)(&after.job).first().copied());
    if let (Some(after), Some(next)) = (&after, next_action)
        && !after.job.is_terminal()
    {
        broken.add_unless(
            after.job.results.iter().all(|result| result.action != next),
            "TB-3",
        );
    }
    // The model ends where an invariant is broken, so what was written need not make sense.
    let after = after.filter(|_| broken.is_empty());
    let written = after.map(|after| Written {
        job: Some(compact(&after.job)),
        holder: match &after.lock.holder {
            None => Holder::Nobody,
            Some(id) if *id == after.job.id => Holder::This,
            Some(_) => Holder::Other,
        },
        fence_grew: after.lock.fence > NEWEST,
        next_action: next_action.and_then(|next| ACTIONS.iter().position(|action| *action == next)),
    });
    Outcome {
        written,
        message,
        broken,
    }
}

fn drain(enabled: bool) -> Drain {
    Drain {
        enabled,
        reason: None,
    }
}
