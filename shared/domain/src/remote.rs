//! Runs elsewhere: actions handed to another engine, which a job remembers so that they are followed and stopped.

use std::collections::BTreeMap;

use crate::decide::{FenceLost, yield_slice};
use crate::{Action, Fence, Job, Timestamp};

/// A run of another engine that does an action of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRun {
    /// The action.
    pub action: Action,
    /// Its id there.
    pub id: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// What was expected then of the numbers of the action's result.
    pub predicted: BTreeMap<String, u64>,
}

/// Hands the job back while a run elsewhere does its action: still running, held by nobody, the run remembered.
///
/// # Errors
/// [`FenceLost`] when the job is no longer the caller's.
pub fn yield_to_run(job: Job, held: Fence, run: RemoteRun) -> Result<Job, FenceLost> {
    let mut job = yield_slice(job, held)?;
    job.remote_run = Some(run);
    Ok(job)
}

/// The run elsewhere that a job left behind when it ended: it has to be told to stop. A job that goes on still
/// needs its run.
pub fn run_left_behind(job: &Job) -> Option<&RemoteRun> {
    job.remote_run.as_ref().filter(|_| job.is_terminal())
}

/// Forgets the run that an ended job left behind, once it is over or told to stop.
pub fn forget_run(mut job: Job) -> Job {
    if run_left_behind(&job).is_some() {
        job.remote_run = None;
    }
    job
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Pair, cancel, claim, finish, heartbeat, keep_result, retry_later, submit};
    use crate::{
        ActionResult, Drain, Duration, JobId, JobOptions, JobStatus, Lock, NewJob, TableId, Verdict,
        check_pair, check_step, message_due,
    };

    const ACTION: Action = Action::RewriteDataFiles;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(0) + Duration::from_seconds(seconds)
    }

    fn run() -> RemoteRun {
        RemoteRun {
            action: ACTION,
            id: "00f1".to_owned(),
            started_at: at(2),
            predicted: BTreeMap::from([("files_in".to_owned(), 6)]),
        }
    }

    fn result(outcome: Result<String, String>) -> ActionResult {
        ActionResult {
            action: ACTION,
            outcome,
            elapsed_seconds: 1.0,
            metrics: Default::default(),
            predicted: Default::default(),
            preview: None,
        }
    }

    fn claimed() -> Pair {
        let new = NewJob {
            id: JobId::from_u128(1),
            table: TableId::new("db", "t").unwrap(),
            actions: vec![ACTION],
            options: JobOptions::default(),
        };
        let submitted = submit(new, true, &Drain::default(), &Lock::default(), at(0)).unwrap();
        claim(submitted, &Drain::default(), "w", at(1)).unwrap()
    }

    /// The job while its run goes on, checked.
    fn elsewhere() -> Pair {
        let before = claimed();
        let held = before.job.fence;
        let after = Pair {
            job: yield_to_run(before.job.clone(), held, run()).unwrap(),
            lock: before.lock.clone(),
        };
        check_pair(&after).unwrap();
        check_step(&before, &after).unwrap();
        after
    }

    #[test]
    fn the_run_is_remembered_until_its_action_has_succeeded() {
        let waiting = elsewhere();
        assert_eq!(
            (waiting.job.status, &waiting.job.lease),
            (JobStatus::Running, &None)
        );
        assert_eq!(waiting.job.remote_run, Some(run()));
        let again = claim(waiting, &Drain::default(), "w2", at(60)).unwrap();
        assert_eq!(
            (again.job.attempt, again.job.slice),
            (1, 2),
            "looking costs no attempt"
        );
        assert_eq!(again.job.remote_run, Some(run()));
        let held = again.job.fence;
        let kept = keep_result(again.job.clone(), held, result(Ok("done".into())), at(61)).unwrap();
        assert_eq!(kept.remote_run, None);
        let retried = retry_later(again.job.clone(), held, "throttled").unwrap();
        assert_eq!(
            retried.remote_run,
            Some(run()),
            "the next attempt looks at the same run"
        );
        assert_eq!(yield_to_run(again.job, held.next(), run()), Err(FenceLost));
    }

    #[test]
    fn a_job_that_ends_without_its_run_leaves_it_behind_to_be_stopped() {
        let waiting = elsewhere();
        let cancelled = cancel(waiting.clone(), at(9)).unwrap();
        let again = claim(waiting.clone(), &Drain::default(), "w", at(60)).unwrap();
        let held = again.job.fence;
        let cause = Verdict::Failed("no".into());
        let with_result = Pair {
            job: keep_result(again.job, held, result(Err("no".into())), at(61)).unwrap(),
            lock: again.lock,
        };
        let failed = finish(with_result, held, cause, at(61)).unwrap();
        for ended in [cancelled, failed] {
            check_pair(&ended).unwrap();
            assert_eq!(run_left_behind(&ended.job), Some(&run()));
            assert!(message_due(&ended.job).is_some(), "a sweep sees to it");
            let forgotten = Pair {
                job: forget_run(ended.job.clone()),
                lock: ended.lock.clone(),
            };
            check_step(&ended, &forgotten).unwrap();
            assert_eq!(
                (run_left_behind(&forgotten.job), message_due(&forgotten.job)),
                (None, None)
            );
            let back = check_step(&forgotten, &ended).unwrap_err();
            assert_eq!(back.invariant, "JB-2", "what is forgotten does not come back");
        }
        assert_eq!(
            forget_run(waiting.job.clone()),
            waiting.job,
            "a job that goes on needs its run"
        );
    }

    #[test]
    fn an_ended_job_changes_in_nothing_but_its_run() {
        let ended = cancel(elsewhere(), at(9)).unwrap();
        let mut changed = ended.clone();
        changed.job.error = Some("no".into());
        assert_eq!(check_step(&ended, &changed).unwrap_err().invariant, "JB-2");
        let mut other_run = ended.clone();
        other_run.job.remote_run.as_mut().unwrap().id = "other".into();
        assert_eq!(check_step(&ended, &other_run).unwrap_err().invariant, "JB-2");
    }

    #[test]
    fn a_completed_job_has_no_run() {
        let again = claim(elsewhere(), &Drain::default(), "w", at(60)).unwrap();
        let held = again.job.fence;
        let finished = finish(again, held, Verdict::Completed, at(61)).unwrap();
        assert_eq!(check_pair(&finished).unwrap_err().invariant, "RN-1");
    }

    #[test]
    fn renewing_the_lease_keeps_the_run() {
        let again = claim(elsewhere(), &Drain::default(), "w", at(60)).unwrap();
        let held: Fence = again.job.fence;
        let beaten = heartbeat(again.job, held, None, at(65)).unwrap();
        assert_eq!(beaten.remote_run, Some(run()));
    }
}
