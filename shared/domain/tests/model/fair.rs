//! Progress: from any state on, nothing goes wrong any more and everybody gets their turn.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::Event;
use crate::protocol::Protocol;
use crate::state::{SLOTS, State, WORKERS, Worker};
use crate::values::LONG_TICK_SECONDS;

/// Steps within which all jobs must have ended.
const MOST_STEPS: u16 = 100;
/// Parts of the memory of ends, so that threads seldom wait for each other.
const SHARDS: u64 = 16;

/// How a run without faults ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FairEnd {
    /// Every job ended and nothing is left behind, after that many steps.
    Clean(u16),
    /// Every job ended, but a lock or a message is left.
    LeftBehind,
    /// A job does not end.
    Stuck,
}

/// The ends known already, by the state's fingerprint: most runs soon meet another one.
#[derive(Default)]
pub(crate) struct FairRuns {
    shards: [Mutex<HashMap<u64, FairEnd>>; SHARDS as usize],
}

impl FairRuns {
    fn shard(&self, fingerprint: u64) -> MutexGuard<'_, HashMap<u64, FairEnd>> {
        let shard = usize::try_from(fingerprint % SHARDS).expect("few shards");
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, fingerprint: u64) -> Option<FairEnd> {
        self.shard(fingerprint).get(&fingerprint).copied()
    }

    /// The longest run.
    pub(crate) fn most_steps(&self) -> u16 {
        let steps = |end: &FairEnd| match end {
            FairEnd::Clean(steps) => *steps,
            FairEnd::LeftBehind | FairEnd::Stuck => 0,
        };
        let shards = (0..SHARDS).map(|shard| self.shard(shard).values().map(steps).max());
        shards.flatten().max().unwrap_or_default()
    }
}

impl Protocol {
    /// How the run without faults from this state ends. Its steps are steps of the model, so an invariant that one
    /// of them breaks is found without its help.
    pub(crate) fn fair_end(&self, state: &State) -> FairEnd {
        let mut passed = Vec::new();
        let mut state = *state;
        let mut end = loop {
            let fingerprint = BuildHasherDefault::<DefaultHasher>::default().hash_one(state);
            if let Some(known) = self.fair_runs.known(fingerprint) {
                break known;
            }
            if passed.len() > MOST_STEPS.into() {
                break FairEnd::Stuck;
            }
            passed.push(fingerprint);
            match self.fair_step(&state) {
                Some(next) if next.broken.is_empty() => state = next,
                Some(_) => break FairEnd::Clean(0),
                None => break last_end(&state),
            }
        };
        for fingerprint in passed.into_iter().rev() {
            end = match end {
                FairEnd::Clean(steps) if steps < MOST_STEPS => FairEnd::Clean(steps + 1),
                FairEnd::Clean(_) => FairEnd::Stuck,
                other => other,
            };
            self.fair_runs.shard(fingerprint).insert(fingerprint, end);
        }
        end
    }

    /// The next thing to happen when nothing goes wrong: whoever has something to do does it, and time passes when
    /// nobody has and a job has not ended.
    fn fair_step(&self, state: &State) -> Option<State> {
        let clock = self.world.clocks[0];
        let tables = 0..self.world.tables;
        let slots = tables
            .clone()
            .flat_map(|table| (0..SLOTS).map(move |slot| (table, slot)));
        let busy = (0..WORKERS).filter(|worker| !state.workers[*worker].is_idle());
        let receivable = slots.clone().filter(|(table, slot)| {
            state.slot(*table, *slot).message && state.workers.iter().any(Worker::is_idle)
        });
        let active = slots
            .clone()
            .any(|(table, slot)| state.slot(table, slot).entry.is_active());
        let tick = active.then_some(Event::Tick {
            seconds: LONG_TICK_SECONDS,
        });
        std::iter::once(Event::Drain { on: false })
            .chain(tables.clone().map(|table| Event::Land { table }))
            .chain(busy.map(|worker| Event::Proceed { worker, clock }))
            .chain(receivable.map(|(table, slot)| Event::Deliver { table, slot, clock }))
            .chain(slots.map(|(table, slot)| Event::Sweep {
                table,
                slot,
                notes: true,
            }))
            .chain(tables.map(|table| Event::FreeLock { table }))
            .chain(tick)
            .map(|event| self.after(state, event))
            .find(|next| next != state)
    }
}

fn last_end(state: &State) -> FairEnd {
    let slots = || state.tables.iter().flat_map(|table| table.slots);
    if slots().any(|slot| slot.entry.is_active()) {
        return FairEnd::Stuck;
    }
    let held = state.tables.iter().any(|table| table.holder.is_some());
    let working = state.workers.iter().any(|worker| !worker.is_idle());
    if held || working || slots().any(|slot| slot.message) {
        FairEnd::LeftBehind
    } else {
        FairEnd::Clean(0)
    }
}
