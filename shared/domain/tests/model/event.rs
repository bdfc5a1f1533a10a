//! What can happen, and what of it can happen in a state.

use crate::protocol::Protocol;
use crate::state::{Entry, SLOTS, State, Step, WORKERS, Worker};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A submit, and how far it gets after its write.
    Submit {
        table: usize,
        after: AfterSubmit,
    },
    /// A submit for a table that the cache does not have.
    SubmitUnknown {
        table: usize,
    },
    Cancel {
        table: usize,
        slot: usize,
    },
    Drain {
        on: bool,
    },
    /// A worker without a job receives a message and tries to claim the job.
    Deliver {
        table: usize,
        slot: usize,
        clock: i16,
    },
    /// The queue delivers a message again.
    Duplicate {
        table: usize,
        slot: usize,
    },
    /// The queue loses a message.
    Lose {
        table: usize,
        slot: usize,
    },
    /// The queue gives a message up, and a sweep takes it from the dead letters.
    DeadLetter {
        table: usize,
        slot: usize,
    },
    /// A sweep looks at a job; it may die, or lose a race, before it notes a message it sent.
    Sweep {
        table: usize,
        slot: usize,
        notes: bool,
    },
    /// A sweep looks at a lock.
    FreeLock {
        table: usize,
    },
    /// A hand outside of the protocol removes an active job from the store.
    Remove {
        table: usize,
        slot: usize,
    },
    /// A worker takes its next step.
    Proceed {
        worker: usize,
        clock: i16,
    },
    Heartbeat {
        worker: usize,
        clock: i16,
    },
    /// A worker runs out of time and hands its job to a later slice.
    Yield {
        worker: usize,
    },
    /// A worker meets a fault that may pass by itself.
    TransientFault {
        worker: usize,
    },
    /// A worker meets a fault that will not pass.
    PermanentFault {
        worker: usize,
    },
    /// A worker asks for its commit and gets no answer.
    LoseAnswer {
        worker: usize,
    },
    /// A worker dies; the message it had comes back.
    Crash {
        worker: usize,
    },
    /// A commit whose answer is lost reaches the catalog.
    Land {
        table: usize,
    },
    /// Time passes.
    Tick {
        seconds: i16,
    },
}

/// How far a submit gets after its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterSubmit {
    Nothing,
    Sent,
    SentAndNoted,
}

impl Event {
    /// Whether it need not happen: the jobs end without it.
    pub(crate) fn is_fault(self, state: &State) -> bool {
        match self {
            Self::Submit { after, .. } => after != AfterSubmit::SentAndNoted,
            Self::Sweep { notes, .. } => !notes,
            Self::Drain { on } => on,
            // Workers renew their leases long before; one that does not is asleep.
            Self::Tick { .. } => state.workers.iter().any(|worker| !worker.is_idle()),
            Self::Cancel { .. }
            | Self::Duplicate { .. }
            | Self::Lose { .. }
            | Self::DeadLetter { .. }
            | Self::Remove { .. }
            | Self::Yield { .. }
            | Self::TransientFault { .. }
            | Self::PermanentFault { .. }
            | Self::LoseAnswer { .. }
            | Self::Crash { .. } => true,
            Self::SubmitUnknown { .. }
            | Self::Deliver { .. }
            | Self::FreeLock { .. }
            | Self::Proceed { .. }
            | Self::Heartbeat { .. }
            | Self::Land { .. } => false,
        }
    }
}

impl Protocol {
    /// Everything that can happen, some of which may change nothing.
    pub(crate) fn events(&self, state: &State, events: &mut Vec<Event>) {
        for on in [true, false] {
            events.push(Event::Drain { on });
        }
        for &seconds in self.world.ticks_seconds {
            events.push(Event::Tick { seconds });
        }
        for table in 0..self.world.tables {
            self.events_of_table(state, table, events);
        }
        for worker in WORKERS - self.world.workers..WORKERS {
            let same = worker > 0 && state.workers[worker] == state.workers[worker - 1];
            if !same {
                self.events_of_worker(state, worker, events);
            }
        }
    }

    fn events_of_table(&self, state: &State, table: usize, events: &mut Vec<Event>) {
        if state.free_slot(table, self.world.slots).is_some() {
            let refused = state.draining || state.tables[table].holder.is_some();
            let all = [AfterSubmit::SentAndNoted, AfterSubmit::Sent, AfterSubmit::Nothing];
            // A submit that is refused goes no further.
            let afters = &all[..if refused { 1 } else { all.len() }];
            events.extend(afters.iter().map(|&after| Event::Submit { table, after }));
        }
        events.extend([Event::SubmitUnknown { table }, Event::FreeLock { table }]);
        if state.tables[table].files.under_way.is_some() {
            events.push(Event::Land { table });
        }
        for slot in 0..SLOTS {
            let message = state.slot(table, slot).message;
            match state.slot(table, slot).entry {
                Entry::Unused => continue,
                Entry::Removed => {}
                Entry::Stored(_) => {
                    events.push(Event::Cancel { table, slot });
                    events.push(Event::Sweep {
                        table,
                        slot,
                        notes: true,
                    });
                    events.push(Event::Sweep {
                        table,
                        slot,
                        notes: false,
                    });
                }
            }
            if state.slot(table, slot).entry.is_active() {
                events.push(Event::Remove { table, slot });
            }
            if !message {
                events.push(Event::Duplicate { table, slot });
                continue;
            }
            events.extend([Event::Lose { table, slot }, Event::DeadLetter { table, slot }]);
            if state.workers[WORKERS - self.world.workers..]
                .iter()
                .any(Worker::is_idle)
            {
                let clocks = self.world.clocks.iter();
                events.extend(clocks.map(|&clock| Event::Deliver { table, slot, clock }));
            }
        }
    }

    fn events_of_worker(&self, state: &State, worker: usize, events: &mut Vec<Event>) {
        let step = state.workers[worker].step;
        if step == Step::Idle {
            return;
        }
        for &clock in self.world.clocks {
            events.push(Event::Proceed { worker, clock });
            events.push(Event::Heartbeat { worker, clock });
        }
        events.push(Event::Crash { worker });
        let between_units = matches!(step, Step::Written(_) | Step::Expiring);
        if between_units {
            events.extend([Event::Yield { worker }, Event::PermanentFault { worker }]);
        }
        if between_units || matches!(step, Step::Cleared(_) | Step::ExpiryCleared) {
            events.push(Event::TransientFault { worker });
        }
        if matches!(step, Step::Cleared(_)) {
            events.push(Event::LoseAnswer { worker });
        }
    }
}
