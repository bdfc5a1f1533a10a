//! From the model's small values to the real ones and back, and how time passes.

use std::collections::BTreeMap;

use snowpack_domain::{
    Action, ActionResult, Duration, Fence, Job, JobId, JobOptions, JobStatus, Lease, MAX_ATTEMPTS, NewJob,
    Note, Progress, TableId, Timestamp,
};

use crate::state::{Failure, JobState};

/// Clocks of workers differ from the true time by at most this; those of API and sweeper are true.
pub(crate) const MOST_SKEW_SECONDS: i16 = 30;
/// The lease of a worker that died is then nearly over: some clocks see it expired and some do not.
pub(crate) const SHORT_TICK_SECONDS: i16 = 170;
/// Everything that waits for a time is then due.
pub(crate) const LONG_TICK_SECONDS: i16 = 1000;
/// When a lease ended that is over by every clock. Messages sent since are younger.
const LEASE_OVER_SECONDS: i16 = -3000;
/// When a message was sent that is older than the job's lease.
const SENT_BEFORE_LEASE_SECONDS: i16 = -4000;

/// The newest fence of a table. Only whether a fence is this one matters, so it always has the same number.
pub(crate) const NEWEST: Fence = Fence::new(1000);
/// Stands for every fence before it.
pub(crate) const OLDER: Fence = Fence::new(999);

pub(crate) const ACTIONS: [Action; 2] = [Action::RewriteDataFiles, Action::ExpireSnapshots];

/// The true time.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(1_000_000_000_000_000)
}

/// The time that many seconds from now.
pub(crate) fn at(seconds: i16) -> Timestamp {
    now() + Duration::from_seconds(seconds.into())
}

/// The job that a decision is about.
pub(crate) fn this_job() -> JobId {
    JobId::from_u128(1)
}

/// Any other job of the table.
pub(crate) fn other_job() -> JobId {
    JobId::from_u128(2)
}

pub(crate) fn new_job() -> NewJob {
    NewJob {
        id: this_job(),
        table: TableId::new("db", "t").expect("a valid name"),
        actions: ACTIONS.to_vec(),
        options: JobOptions::default(),
    }
}

pub(crate) fn result(action: Action, outcome: Result<String, String>) -> ActionResult {
    ActionResult {
        action,
        outcome,
        elapsed_seconds: 1.0,
        metrics: BTreeMap::new(),
        predicted: Default::default(),
        preview: None,
    }
}

pub(crate) fn progress() -> Progress {
    Progress {
        action: ACTIONS[0],
        done: 1,
        total: 2,
        unit: "file_groups".to_owned(),
    }
}

fn note() -> Note {
    Note {
        action: ACTIONS[0],
        text: "half way".to_owned(),
    }
}

/// The real job. A running one always has progress and a note, the harder case for `JB-1`.
pub(crate) fn real(state: &JobState) -> Job {
    let NewJob {
        id,
        table,
        actions,
        options,
    } = new_job();
    let ended = state.status.is_terminal();
    let mut results: Vec<_> = ACTIONS[..state.results.into()]
        .iter()
        .map(|action| result(*action, Ok("done".to_owned())))
        .collect();
    if state.failure == Some(Failure::Action) {
        results.push(result(ACTIONS[results.len()], Err(error_of(Failure::Action))));
    }
    Job {
        id,
        table,
        actions,
        options,
        dry_run: false,
        status: state.status,
        submitted_at: now(),
        started_at: (state.attempt > 0).then(now),
        completed_at: ended.then(now),
        results,
        error: state.failure.map(error_of),
        attempt: state.attempt.into(),
        slice: state.attempt.into(),
        fence: if ended { OLDER } else { NEWEST },
        lease: state.lease.map(|seconds| Lease {
            worker: "before".to_owned(),
            expires_at: at(seconds),
        }),
        progress: (state.status == JobStatus::Running).then(progress),
        enqueued_at: state.sent.map(at),
        last_fault: None,
        remote_run: None,
        note: (state.status == JobStatus::Running).then(note),
    }
}

/// The failure's error, as far as the model tells errors apart.
fn error_of(failure: Failure) -> String {
    let text = match failure {
        Failure::Action => "the action failed",
        Failure::AttemptsSpent => "gave up after",
        Failure::DeadLetter => "gave up: its message",
    };
    text.to_owned()
}

fn failure_of(error: &str) -> Failure {
    [Failure::AttemptsSpent, Failure::DeadLetter]
        .into_iter()
        .find(|failure| error.starts_with(&error_of(*failure)))
        .unwrap_or(Failure::Action)
}

pub(crate) fn lease_is_valid(job: &Job, now: Timestamp) -> bool {
    job.lease.as_ref().is_some_and(|lease| lease.expires_at > now)
}

/// What the model keeps of a real job.
pub(crate) fn compact(job: &Job) -> JobState {
    let small = |number: u32| u8::try_from(number).expect("few attempts");
    let succeeded = job.results.iter().filter(|result| result.outcome.is_ok()).count();
    let exact = JobState {
        status: job.status,
        lease: job.lease.as_ref().map(|lease| seconds_from_now(lease.expires_at)),
        sent: job.enqueued_at.map(seconds_from_now),
        attempt: small(job.attempt),
        results: u8::try_from(succeeded).expect("few results"),
        failure: job.error.as_deref().map(failure_of),
    };
    forget(exact)
}

fn seconds_from_now(instant: Timestamp) -> i16 {
    let seconds = (instant - now()).as_micros() / 1_000_000;
    i16::try_from(seconds).expect("an instant of this model")
}

/// The job after that many seconds in which nobody touched it.
pub(crate) fn age(job: &JobState, seconds: i16) -> JobState {
    let mut aged = *job;
    aged.lease = job.lease.map(|lease| lease - seconds);
    aged.sent = job.sent.map(|sent| sent - seconds);
    forget(aged)
}

/// Forgets what no decision depends on any more: how long exactly a lease has been over or a message under way.
///
/// Short ticks do not add up to an overdue message; a long tick makes it overdue at once. That leaves out no order
/// of events, as a worker that renews its lease just after a long tick may as well have done so all along.
fn forget(job: JobState) -> JobState {
    if job.status.is_terminal() {
        let completed = job.status == JobStatus::Completed;
        let last_attempt = completed && u32::from(job.attempt) == MAX_ATTEMPTS;
        return JobState {
            attempt: if last_attempt { job.attempt } else { 0 },
            results: if completed { job.results } else { 0 },
            lease: None,
            sent: None,
            ..job
        };
    }
    let sent = job.sent.map(|sent| match job.lease {
        Some(lease) if sent < lease => SENT_BEFORE_LEASE_SECONDS,
        _ if sent <= -LONG_TICK_SECONDS => -LONG_TICK_SECONDS,
        _ => 0,
    });
    let over = |lease: i16| lease <= -MOST_SKEW_SECONDS;
    let lease = job
        .lease
        .map(|lease| if over(lease) { LEASE_OVER_SECONDS } else { lease });
    JobState { lease, sent, ..job }
}

#[test]
fn what_is_forgotten_changes_no_decision() {
    use snowpack_domain::{is_exhausted, needs_message};
    let leases = [-3000, -1170, -500, -190, -30, -29, -20, 0, 10, 40, 150, 210].map(Some);
    let sent = [-3000, -1170, -1000, -340, -170, 0].map(Some);
    let pending = |lease: Option<i16>| {
        if lease.is_some() {
            JobStatus::Running
        } else {
            JobStatus::Pending
        }
    };
    for (lease, sent) in leases
        .iter()
        .chain(&[None])
        .flat_map(|l| sent.iter().chain(&[None]).map(|s| (*l, *s)))
    {
        let state = JobState {
            status: pending(lease),
            lease,
            sent,
            attempt: 3,
            results: 0,
            failure: None,
        };
        let exact = real(&state);
        let kept = real(&compact(&exact));
        for clock in [-MOST_SKEW_SECONDS, 0, MOST_SKEW_SECONDS] {
            let told_apart = |job: &Job| (lease_is_valid(job, at(clock)), is_exhausted(job, at(clock)));
            assert_eq!(
                told_apart(&exact),
                told_apart(&kept),
                "{lease:?} {sent:?} at {clock}"
            );
        }
        assert_eq!(
            needs_message(&exact, now()),
            needs_message(&kept, now()),
            "{lease:?} {sent:?}"
        );
    }
}
