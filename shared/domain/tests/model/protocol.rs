//! The model: what follows from each event.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use stateright::{Model, Property};

use crate::event::{AfterSubmit, Event};
use crate::fair::FairRuns;
use crate::rules::Rules;
use crate::state::{Entry, JobState, SLOTS, State, Worker};
use crate::store::{Decision, Holder, Input, Message, Outcome, Written, decide};
use crate::values::age;
use crate::{iceberg, landmarks, properties};

/// How large the explored world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) tables: usize,
    pub(crate) workers: usize,
    /// Jobs of a table that can be in the world at once; after the first, each can be followed by another.
    pub(crate) slots: usize,
    /// Clocks of workers, in seconds from the true time. A worker reads a new one each time, so clocks also jump.
    pub(crate) clocks: &'static [i16],
    /// How much time passes at once.
    pub(crate) ticks_seconds: &'static [i16],
    /// How many faults a run may have; `None` is any number.
    pub(crate) most_faults: Option<u8>,
}

/// The job protocol in a world.
pub(crate) struct Protocol {
    pub(crate) world: World,
    pub(crate) rules: Rules,
    pub(crate) fair_runs: FairRuns,
    /// Decisions are pure, so each is taken and checked once for each input.
    decided: RwLock<HashMap<Input, Outcome>>,
}

impl Protocol {
    pub(crate) fn new(world: World, rules: Rules) -> Self {
        Self {
            world,
            rules,
            fair_runs: FairRuns::default(),
            decided: RwLock::default(),
        }
    }

    fn outcome(&self, input: Input) -> Outcome {
        let known = self.decided.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = known.get(&input) {
            return *outcome;
        }
        drop(known);
        let outcome = decide(&self.rules, &input);
        let mut known = self.decided.write().unwrap_or_else(PoisonError::into_inner);
        *known.entry(input).or_insert(outcome)
    }

    /// The state after an event; the same when the event changes nothing.
    pub(crate) fn after(&self, state: &State, event: Event) -> State {
        let mut next = *state;
        match event {
            Event::Submit { table, after } => self.submit(&mut next, table, after),
            Event::SubmitUnknown { table } => {
                let slot = next.free_slot(table, SLOTS).unwrap_or_default();
                self.serve(&mut next, (table, slot), Decision::Submit { known: false });
            }
            Event::Cancel { table, slot } => {
                self.serve(&mut next, (table, slot), Decision::Cancel);
            }
            Event::Drain { on } => next.draining = on,
            Event::Deliver { table, slot, clock } => self.deliver(&mut next, (table, slot), clock),
            Event::Duplicate { table, slot } => next.slot_mut(table, slot).message = true,
            Event::Lose { table, slot } => next.slot_mut(table, slot).message = false,
            Event::DeadLetter { table, slot } => {
                self.serve(&mut next, (table, slot), Decision::TakeDeadLetter);
            }
            Event::Sweep { table, slot, notes } => {
                self.serve(&mut next, (table, slot), Decision::Sweep { notes });
            }
            Event::FreeLock { table } => {
                if let Some(slot) = next.tables[table].holder {
                    self.serve(&mut next, (table, slot.into()), Decision::FreeLock);
                }
            }
            Event::Remove { table, slot } => next.slot_mut(table, slot).entry = Entry::Removed,
            Event::Proceed { worker, clock } => self.proceed(&mut next, worker, clock),
            Event::Heartbeat { worker, clock } => {
                self.write_as(&mut next, worker, Decision::Heartbeat, clock);
            }
            Event::Yield { worker } => self.stop(&mut next, worker, Decision::Yield),
            Event::TransientFault { worker } => self.transient_fault(&mut next, worker),
            Event::PermanentFault { worker } => self.stop(&mut next, worker, Decision::Fail),
            Event::LoseAnswer { worker } => iceberg::ask_without_answer(&mut next, worker),
            Event::Crash { worker } => {
                let Worker { table, slot, .. } = next.workers[worker];
                next.slot_mut(table.into(), slot.into()).message = true;
                next.workers[worker] = Worker::default();
            }
            Event::Land { table } => iceberg::land(&mut next, table),
            Event::Tick { seconds } => tick(&mut next, seconds),
        }
        next.sort();
        next
    }

    fn submit(&self, next: &mut State, table: usize, after: AfterSubmit) {
        let Some(slot) = next.free_slot(table, self.world.slots) else {
            return;
        };
        let at = (table, slot);
        let accepted = self.serve(next, at, Decision::Submit { known: true });
        if accepted.is_none() {
            return;
        }
        for earlier in &mut next.tables[table].slots {
            if !earlier.entry.is_active() && earlier.entry != Entry::Unused {
                earlier.entry = Entry::Stored(JobState::PAST);
            }
        }
        next.slot_mut(table, slot).message = after != AfterSubmit::Nothing;
        if after == AfterSubmit::SentAndNoted {
            self.serve(next, at, Decision::NoteSent);
        }
    }

    /// A write of the API or the sweeper, which have no fence and whose clocks are true.
    fn serve(&self, next: &mut State, at: (usize, usize), decision: Decision) -> Option<Written> {
        let caller = Caller {
            current: false,
            clock: 0,
        };
        self.write(next, at, decision, caller)
    }

    /// Decides on a slot's job and applies what was decided; `None` when it was refused.
    pub(crate) fn write(
        &self,
        next: &mut State,
        (table, slot): (usize, usize),
        decision: Decision,
        caller: Caller,
    ) -> Option<Written> {
        let holder = next.tables[table].holder.map(usize::from);
        let outcome = self.outcome(Input {
            decision,
            job: next.slot(table, slot).entry.job().copied(),
            holder: match holder {
                None => Holder::Nobody,
                Some(holder) if holder == slot => Holder::This,
                Some(_) => Holder::Other,
            },
            current: caller.current,
            clock: caller.clock,
            draining: next.draining,
        });
        next.broken.join(outcome.broken);
        match outcome.message {
            Message::Unchanged => {}
            Message::Sent => next.slot_mut(table, slot).message = true,
            Message::Removed => next.slot_mut(table, slot).message = false,
        }
        let written = outcome.written?;
        if let Some(job) = written.job {
            next.slot_mut(table, slot).entry = Entry::Stored(job);
        }
        match written.holder {
            Holder::Other => {}
            Holder::This => next.tables[table].holder = u8::try_from(slot).ok(),
            Holder::Nobody => next.tables[table].holder = None,
        }
        if written.fence_grew {
            let of_table = |worker: &&mut Worker| usize::from(worker.table) == table;
            next.workers
                .iter_mut()
                .filter(of_table)
                .for_each(|worker| worker.current = false);
        }
        Some(written)
    }
}

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// Whether it has the newest fence.
    pub(crate) current: bool,
    pub(crate) clock: i16,
}

fn tick(next: &mut State, seconds: i16) {
    for slot in next.tables.iter_mut().flat_map(|table| &mut table.slots) {
        if let Entry::Stored(job) = &mut slot.entry {
            *job = age(job, seconds);
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Event;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, events: &mut Vec<Event>) {
        if !state.broken.is_empty() {
            return;
        }
        self.events(state, events);
        if self.world.most_faults.is_some_and(|most| state.faults >= most) {
            events.retain(|event| !event.is_fault(state));
        }
    }

    fn next_state(&self, state: &State, event: Event) -> Option<State> {
        let mut next = self.after(state, event);
        if next == *state {
            return None;
        }
        if self.world.most_faults.is_some() && event.is_fault(state) {
            next.faults += 1;
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let landmarks = landmarks::landmarks(&self.world);
        properties::invariants().into_iter().chain(landmarks).collect()
    }
}
