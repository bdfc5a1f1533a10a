//! A worker's program: one step of it at a time, so that everything else can happen between any two.
//!
//! Receiving a message and claiming its job are one step, as nobody sees a message received and not yet claimed:
//! a crash in between only brings the message back. So are planning a rewrite and writing its file, which nobody
//! sees before the commit. A worker that sleeps is one that takes no step for a while.

use snowpack_domain::MAX_ATTEMPTS;

use crate::iceberg;
use crate::protocol::{Caller, Protocol};
use crate::state::{Base, Request, State, Step, Worker};
use crate::store::{Decision, Written};

impl Protocol {
    /// An idle worker receives the message and claims the job.
    pub(crate) fn deliver(&self, next: &mut State, (table, slot): (usize, usize), clock: i16) {
        let caller = Caller {
            current: false,
            clock,
        };
        let claimed = self.write(next, (table, slot), Decision::Claim, caller);
        let starts = claimed.filter(|claimed| claimed.job.is_some_and(|job| !job.status.is_terminal()));
        if let Some(starts) = starts {
            let idle = next.workers.iter_mut().rfind(|worker| worker.is_idle());
            let small = |number: usize| u8::try_from(number).expect("few tables and slots");
            *idle.expect("a message goes to an idle worker") = Worker {
                step: if starts.next_action == Some(0) {
                    Step::Written(Base::Live)
                } else {
                    Step::Expiring
                },
                table: small(table),
                slot: small(slot),
                current: true,
                confirmed: false,
            };
        }
    }

    /// What a worker does next when nothing is in its way.
    pub(crate) fn proceed(&self, next: &mut State, worker: usize, clock: i16) {
        match next.workers[worker].step {
            Step::Idle => {}
            Step::Written(base) => self.checkpoint(next, worker, clock, Step::Cleared(base)),
            Step::Cleared(base) => {
                check_confirmed(next, worker);
                let step = match base {
                    Base::Live => {
                        iceberg::commit(next, next.workers[worker].table.into());
                        Step::Committed
                    }
                    // The commit lost its race: the file goes, and the rewrite begins again.
                    Base::Replaced => Step::Written(Base::Live),
                };
                advance(next, worker, step);
            }
            Step::Unanswered(Request::Succeeded) if self.rules.worker.keeps_unanswered_file => {
                advance(next, worker, Step::Committed);
            }
            Step::Unanswered(request) => {
                if !self.rules.worker.keeps_unanswered_file {
                    iceberg::delete_unanswered(next, worker, request);
                }
                self.transient_fault(next, worker);
            }
            Step::Committed => match self.write_as(next, worker, Decision::KeepResult, clock) {
                Some(_) => advance(next, worker, Step::Expiring),
                None => next.workers[worker] = Worker::default(),
            },
            Step::Expiring => self.checkpoint(next, worker, clock, Step::ExpiryCleared),
            Step::ExpiryCleared => {
                check_confirmed(next, worker);
                let table = next.workers[worker].table.into();
                iceberg::expire(next, table, self.rules.worker.spares_live_file);
                advance(next, worker, Step::Expired);
            }
            Step::Expired => self.stop(next, worker, Decision::Complete),
        }
    }

    fn checkpoint(&self, next: &mut State, worker: usize, clock: i16, passed: Step) {
        if !self.rules.worker.checkpoints {
            return advance(next, worker, passed);
        }
        if self.write_as(next, worker, Decision::Heartbeat, clock).is_some() {
            advance(next, worker, passed);
            next.workers[worker].confirmed = true;
        } else {
            // Its file was never committed, and goes with it.
            next.workers[worker] = Worker::default();
        }
    }

    /// Writes a last time, or fails to as the job is no longer its own, and takes no further step.
    pub(crate) fn stop(&self, next: &mut State, worker: usize, decision: Decision) {
        self.write_as(next, worker, decision, 0);
        next.workers[worker] = Worker::default();
    }

    /// A fault that may pass by itself is final in the last attempt.
    pub(crate) fn transient_fault(&self, next: &mut State, worker: usize) {
        let Worker { table, slot, .. } = next.workers[worker];
        let job = next.slot(table.into(), slot.into()).entry.job().copied();
        let is_last = job.is_some_and(|job| u32::from(job.attempt) >= MAX_ATTEMPTS);
        self.stop(
            next,
            worker,
            if is_last {
                Decision::Fail
            } else {
                Decision::RetryLater
            },
        );
    }

    pub(crate) fn write_as(
        &self,
        next: &mut State,
        worker: usize,
        decision: Decision,
        clock: i16,
    ) -> Option<Written> {
        let Worker {
            table, slot, current, ..
        } = next.workers[worker];
        self.write(
            next,
            (table.into(), slot.into()),
            decision,
            Caller { current, clock },
        )
    }
}

fn advance(next: &mut State, worker: usize, step: Step) {
    next.workers[worker].step = step;
    next.workers[worker].confirmed = false;
}

/// `TB-2`, by the worker's own account.
pub(crate) fn check_confirmed(next: &mut State, worker: usize) {
    next.broken.add_unless(next.workers[worker].confirmed, "TB-2");
}
