//! Notes: what a running action leaves for the next slice or attempt of itself, which the engine alone can read.

use crate::decide::{FenceLost, check_holder};
use crate::{Action, Fence, Job};

/// What an action is in the middle of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The action.
    pub action: Action,
    /// The engine's words to itself.
    pub text: String,
}

/// Keeps a note with the job, in the place of an earlier one. It goes with the action's result or the job's end.
///
/// # Errors
/// [`FenceLost`] when the job is no longer the caller's.
pub fn keep_note(mut job: Job, held: Fence, note: Option<Note>) -> Result<Job, FenceLost> {
    check_holder(&job, held)?;
    job.note = note.or(job.note);
    Ok(job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{
        Pair, cancel, claim, finish, heartbeat, keep_result, retry_later, submit, yield_slice,
    };
    use crate::{
        ActionResult, Drain, Duration, JobId, JobOptions, Lock, NewJob, TableId, Timestamp, Verdict,
        check_pair,
    };

    const ACTION: Action = Action::ExpireSnapshots;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(0) + Duration::from_seconds(seconds)
    }

    fn note() -> Note {
        Note {
            action: ACTION,
            text: "half way".to_owned(),
        }
    }

    /// A claimed job with a note.
    fn noted() -> Pair {
        let new = NewJob {
            id: JobId::from_u128(1),
            table: TableId::new("db", "t").unwrap(),
            actions: vec![Action::RewriteDataFiles, ACTION],
            options: JobOptions::default(),
        };
        let submitted = submit(new, true, &Drain::default(), &Lock::default(), at(0)).unwrap();
        let mut pair = claim(submitted, &Drain::default(), "w", at(1)).unwrap();
        pair.job = keep_note(pair.job.clone(), pair.job.fence, Some(note())).unwrap();
        pair
    }

    fn result_of(action: Action) -> ActionResult {
        ActionResult {
            action,
            outcome: Ok("done".to_owned()),
            elapsed_seconds: 1.0,
            metrics: Default::default(),
            predicted: Default::default(),
            preview: None,
        }
    }

    #[test]
    fn a_note_outlives_slices_attempts_and_leases() {
        let Pair { job, lock } = noted();
        let held = job.fence;
        let beaten = heartbeat(job, held, None, at(5)).unwrap();
        let not_replaced = keep_note(beaten, held, None).unwrap();
        for handed_back in [
            yield_slice(not_replaced.clone(), held).unwrap(),
            retry_later(not_replaced.clone(), held, "throttled").unwrap(),
            not_replaced,
        ] {
            let pair = Pair {
                job: handed_back,
                lock: lock.clone(),
            };
            let again = claim(pair, &Drain::default(), "w2", at(1000)).unwrap();
            assert_eq!(again.job.note, Some(note()));
            let stale = keep_note(again.job, held, None);
            assert_eq!(stale, Err(FenceLost), "the first worker notes nothing more");
        }
    }

    #[test]
    fn a_note_goes_with_the_result_of_its_action_and_with_the_job() {
        let noted = noted();
        let held = noted.job.fence;
        let keep = |action| keep_result(noted.job.clone(), held, result_of(action), at(5)).unwrap();
        assert_eq!(keep(Action::RewriteDataFiles).note, Some(note()));
        assert_eq!(keep(ACTION).note, None);
        let finished = finish(noted.clone(), held, Verdict::Completed, at(6)).unwrap();
        for ended in [finished, cancel(noted.clone(), at(6)).unwrap()] {
            check_pair(&ended).unwrap();
            assert_eq!(ended.job.note, None);
            let mut kept = ended;
            kept.job.note = Some(note());
            assert_eq!(check_pair(&kept).unwrap_err().invariant, "JB-1");
        }
    }
}
