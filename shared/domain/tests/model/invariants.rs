//! The invariants by name. Those of `snowpack_domain::check_pair` and `check_step` keep their names; the others
//! can only be seen by somebody who sees everything.

use crate::state::{Entry, State};

/// Every invariant, in protocol.md's order, and what it says.
pub(crate) const INVARIANTS: [(&str, &str); 21] = [
    (
        "LK-1",
        "an active job holds its table's lock, a terminal one does not",
    ),
    (
        "LK-2",
        "a table has at most one active job, and its lock names that one",
    ),
    ("FN-1", "the fence of an active job is the lock's"),
    (
        "FN-2",
        "the lock's fence never shrinks, and grows when lock or worker change hands",
    ),
    (
        "FN-3",
        "progress, notes, results and ends are written only under the newest fence",
    ),
    (
        "FN-4",
        "nobody takes a job whose lease is valid by the taker's clock",
    ),
    (
        "FN-5",
        "whoever ends a job or frees a lock without being its worker makes the fence grow",
    ),
    (
        "TB-1",
        "the live file exists, and nobody deletes a file that it committed",
    ),
    (
        "TB-2",
        "a commit or a delete directly follows a checkpoint under the newest fence",
    ),
    ("TB-3", "a finished action does not run again"),
    (
        "JB-1",
        "a terminal job has an end, no lease, no progress and no note; an active one has no end",
    ),
    ("JB-2", "a terminal job never changes again"),
    ("JB-3", "results are only ever appended to"),
    (
        "JB-4",
        "results name actions in order and once; a completed job has all, a failed one ends with the failure",
    ),
    (
        "JB-5",
        "an end adds the result of its own worker's last action and no other",
    ),
    ("JB-6", "no job gets more attempts than allowed"),
    ("SB-1", "a refused submit leaves nothing behind"),
    ("SB-2", "a submit is accepted only for a table that the cache has"),
    ("DR-1", "drain mode accepts and starts nothing"),
    ("PR-1", "once faults end, every job ends"),
    (
        "PR-2",
        "once every job ended, no lock is held and no message is left",
    ),
];

/// A set of invariants that a step broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broken(u32);

impl Broken {
    pub(crate) fn add(&mut self, name: &str) {
        let position = INVARIANTS.iter().position(|(known, _)| *known == name);
        self.0 |= 1 << position.expect("an invariant has a name from the list");
    }

    pub(crate) fn add_unless(&mut self, holds: bool, name: &str) {
        if !holds {
            self.add(name);
        }
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, name: &str) -> bool {
        let mut one = Self::default();
        one.add(name);
        self.0 & one.0 != 0
    }
}

/// `LK-2`, which takes a look at all jobs of a table at once.
pub(crate) fn check_locks(state: &State) -> bool {
    state.tables.iter().all(|table| {
        let active = table.slots.iter().filter(|slot| slot.entry.is_active()).count();
        let held = table.holder.map(|slot| table.slots[usize::from(slot)].entry);
        match held {
            None => active == 0,
            // A removed job leaves its lock to the sweep; nobody else can get it before.
            Some(Entry::Removed) => active == 0,
            Some(entry) => entry.is_active() && active == 1,
        }
    })
}
