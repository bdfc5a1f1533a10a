//! What the model remembers between two steps: small, finite, relative to now and to each table's newest fence.
//!
//! Nothing here counts what happened. A fence is either its table's newest or an older one, instants are seconds
//! from now, and a slot whose job has ended is used again. So the states are finite although no fault has a budget.

use snowpack_domain::JobStatus;

use crate::invariants::Broken;

pub(crate) const MOST_TABLES: usize = 2;
/// Jobs of a table that the world still knows about: the active one, and one before it with workers or messages
/// left.
pub(crate) const SLOTS: usize = 2;
pub(crate) const WORKERS: usize = 3;

/// Everything there is at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Sorted, used ones first.
    pub(crate) tables: [Table; MOST_TABLES],
    /// Sorted, idle ones first: workers differ by nothing but what they do.
    pub(crate) workers: [Worker; WORKERS],
    pub(crate) draining: bool,
    /// Faults so far; counted only where they are limited.
    pub(crate) faults: u8,
    /// Invariants that the last step broke. Nothing follows on such a state.
    pub(crate) broken: Broken,
}

/// A table's lock, its jobs with their messages, and the Iceberg table itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Table {
    /// The slot that has the lock.
    pub(crate) holder: Option<u8>,
    /// Sorted: slots differ by nothing but what is in them.
    pub(crate) slots: [Slot; SLOTS],
    pub(crate) files: Files,
}

/// A job and its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) entry: Entry,
    /// A message that a worker can receive. One stands for any number, as messages are duplicated freely.
    pub(crate) message: bool,
}

/// What the store has of a slot's job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Entry {
    #[default]
    Unused,
    Stored(JobState),
    /// Accepted and then removed from the store by a hand outside of the protocol.
    Removed,
}

/// A job, as far as decisions depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct JobState {
    pub(crate) status: JobStatus,
    /// Seconds until its lease ends.
    pub(crate) lease: Option<i16>,
    /// When its message was noted as sent, in seconds from now.
    pub(crate) sent: Option<i16>,
    pub(crate) attempt: u8,
    /// Actions that succeeded.
    pub(crate) results: u8,
    pub(crate) failure: Option<Failure>,
}

/// What failed a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Failure {
    Action,
    AttemptsSpent,
    DeadLetter,
}

/// A worker process and where it is in its program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Worker {
    pub(crate) step: Step,
    pub(crate) table: u8,
    pub(crate) slot: u8,
    /// Whether its fence still is the table's newest.
    pub(crate) current: bool,
    /// Whether the last thing it did was a checkpoint that succeeded.
    pub(crate) confirmed: bool,
}

/// What a worker did last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Nothing: it has no job.
    #[default]
    Idle,
    /// Rewrite: read its base and wrote its file.
    Written(Base),
    /// Rewrite: passed the checkpoint before its commit.
    Cleared(Base),
    /// Rewrite: asked for its commit and never heard of it.
    Unanswered(Request),
    /// Rewrite: committed.
    Committed,
    /// Expiry: about to begin.
    Expiring,
    /// Expiry: passed the checkpoint before its deletes.
    ExpiryCleared,
    /// Expiry: deleted.
    Expired,
}

/// The live file that a rewrite read, as of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Base {
    Live,
    Replaced,
}

/// A commit whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Request {
    UnderWay,
    Succeeded,
    Failed,
}

/// The Iceberg table: one live file, those it replaced, and what is about to happen to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Files {
    /// Files that a commit replaced and no expiry has deleted.
    pub(crate) replaced: bool,
    /// A commit on the live file that is still on its way; whoever asked for it may be dead.
    pub(crate) under_way: Option<UnderWay>,
}

/// A commit on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct UnderWay {
    /// Whether the file that it would make live exists.
    pub(crate) file_exists: bool,
}

impl JobState {
    /// A job that ended before the table's newest one was accepted. How it ended makes no difference any more.
    pub(crate) const PAST: Self = Self {
        status: JobStatus::Cancelled,
        lease: None,
        sent: None,
        attempt: 0,
        results: 0,
        failure: None,
    };
}

impl Entry {
    pub(crate) fn job(&self) -> Option<&JobState> {
        match self {
            Self::Stored(job) => Some(job),
            Self::Unused | Self::Removed => None,
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.job().is_some_and(|job| !job.status.is_terminal())
    }
}

impl Worker {
    pub(crate) fn is_idle(&self) -> bool {
        self.step == Step::Idle
    }

    pub(crate) fn works_on(&self, table: usize, slot: usize) -> bool {
        !self.is_idle() && usize::from(self.table) == table && usize::from(self.slot) == slot
    }
}

impl State {
    pub(crate) fn slot(&self, table: usize, slot: usize) -> &Slot {
        &self.tables[table].slots[slot]
    }

    pub(crate) fn slot_mut(&mut self, table: usize, slot: usize) -> &mut Slot {
        &mut self.tables[table].slots[slot]
    }

    /// A slot for a new job of the table, of which at most so many may be known: a slot whose job has ended is free
    /// once no lock, message or worker knows of it.
    pub(crate) fn free_slot(&self, table: usize, most_known: usize) -> Option<usize> {
        let is_free = |slot: &usize| {
            let Slot { entry, message } = self.slot(table, *slot);
            let known = self.workers.iter().any(|worker| worker.works_on(table, *slot));
            let holds = self.tables[table].holder.map(usize::from) == Some(*slot);
            !entry.is_active() && !message && !known && !holds
        };
        let known = SLOTS - (0..SLOTS).filter(is_free).count();
        (0..SLOTS).find(is_free).filter(|_| known < most_known)
    }

    /// Puts everything in order that the world does not order.
    pub(crate) fn sort(&mut self) {
        for (number, table) in self.tables.iter_mut().enumerate() {
            if table.slots[0] > table.slots[1] {
                table.slots.swap(0, 1);
                table.holder = table.holder.map(|slot| 1 - slot);
                let of_table =
                    |worker: &&mut Worker| !worker.is_idle() && usize::from(worker.table) == number;
                self.workers
                    .iter_mut()
                    .filter(of_table)
                    .for_each(|worker| worker.slot = 1 - worker.slot);
            }
        }
        if self.tables[0] < self.tables[1] {
            self.tables.swap(0, 1);
            let busy = self.workers.iter_mut().filter(|worker| !worker.is_idle());
            busy.for_each(|worker| worker.table = 1 - worker.table);
        }
        self.workers.sort_unstable();
    }
}
