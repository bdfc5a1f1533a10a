//! What an expiry has done and is in the middle of, noted so that the next slice or attempt goes on there.
//!
//! A commit that removes snapshots leaves nothing in the table that names them. So the metadata file from before it is
//! noted first, in the write that confirms the fence: compared with the newest metadata it tells what was removed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use snowpack_domain::Action;
use snowpack_service::ports::Supervisor;
use uuid::Uuid;

use super::garbage::{Garbage, Kind, Mark, Outside};
use crate::delete::{Deletion, Unreferenced};
use crate::notes::{note, noted};

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Snapshots removed from the metadata.
    pub(crate) snapshots: u64,
    /// Files deleted, by what they are.
    pub(crate) deleted: Deletions,
    /// Files that stay because they are not in the table's own places.
    pub(crate) outside: Outside,
    /// Why files stay that nothing references, in words.
    pub(crate) left: Vec<String>,
}

/// Deletions by what was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deletions {
    pub(crate) data: Deletion,
    pub(crate) deletes: Deletion,
    pub(crate) manifests: Deletion,
    pub(crate) manifest_lists: Deletion,
    pub(crate) statistics: Deletion,
}

impl Deletions {
    fn of(&mut self, kind: Kind) -> &mut Deletion {
        match kind {
            Kind::Data => &mut self.data,
            Kind::Delete => &mut self.deletes,
            Kind::Manifest => &mut self.manifests,
            Kind::ManifestList => &mut self.manifest_lists,
            Kind::Statistics => &mut self.statistics,
        }
    }

    /// All of them in one.
    pub(crate) fn sum(&self) -> Deletion {
        let mut sum = Deletion::default();
        for one in [
            self.data,
            self.deletes,
            self.manifests,
            self.manifest_lists,
            self.statistics,
        ] {
            sum.add(one);
        }
        sum
    }
}

/// An expiry whose files are not all deleted, and that may not even be committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    /// The metadata file from before it.
    pub(crate) before: String,
    /// Its snapshots are counted: it was committed.
    pub(crate) is_counted: bool,
    /// How far the deletion came.
    pub(crate) mark: Option<Mark>,
    outside: Outside,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entries {
    done: Done,
    unfinished: Option<Unfinished>,
}

/// The journal of one action of a job.
pub(crate) struct Journal<'a, S> {
    supervisor: &'a S,
    table: Uuid,
    entries: Mutex<Entries>,
}

impl<'a, S: Supervisor> Journal<'a, S> {
    /// The journal as an earlier slice or attempt left it, else an empty one.
    pub(crate) fn open(supervisor: &'a S, table: Uuid) -> Self {
        let entries = noted(supervisor, Action::ExpireSnapshots, table);
        Self {
            supervisor,
            table,
            entries: Mutex::new(entries.unwrap_or_default()),
        }
    }

    /// Who keeps it.
    pub(crate) fn supervisor(&self) -> &'a S {
        self.supervisor
    }

    /// What was done so far.
    pub(crate) fn done(&self) -> Done {
        self.lock().done.clone()
    }

    /// What is in progress.
    pub(crate) fn unfinished(&self) -> Option<Unfinished> {
        self.lock().unfinished.clone()
    }

    /// An expiry is about to be committed on top of a metadata file.
    pub(crate) fn begin(&self, before: &str) {
        self.change(|entries| {
            entries.unfinished = Some(Unfinished {
                before: before.to_owned(),
                ..Unfinished::default()
            });
        });
    }

    /// It was committed and removed so many snapshots.
    pub(crate) fn committed(&self, snapshots: u64) {
        self.change(|entries| {
            let counted = entries.unfinished.as_mut().map(|expiry| &mut expiry.is_counted);
            if counted.is_some_and(|counted| !std::mem::replace(counted, true)) {
                entries.done.snapshots += snapshots;
            }
        });
    }

    /// These files are to be deleted, others to stay.
    pub(crate) fn found(&self, garbage: &Garbage) {
        self.change(|entries| {
            if let Some(expiry) = &mut entries.unfinished
                && expiry.outside.files < garbage.outside.files
            {
                expiry.outside = garbage.outside.clone();
            }
        });
    }

    /// A batch of deletes is done that ended with `last`.
    pub(crate) fn deleted(&self, kind: Kind, deletion: Deletion, last: &Unreferenced) {
        self.change(|entries| {
            entries.done.deleted.of(kind).add(deletion);
            if let Some(expiry) = &mut entries.unfinished {
                expiry.mark = Some(Mark::of(kind, last));
            }
        });
    }

    /// Files are left, for this reason.
    pub(crate) fn left(&self, reason: String) {
        self.change(|entries| {
            if !entries.done.left.contains(&reason) {
                entries.done.left.push(reason);
            }
        });
    }

    /// Nothing of it is left to do.
    pub(crate) fn end(&self) {
        self.change(|entries| {
            if let Some(expiry) = entries.unfinished.take() {
                let outside = &mut entries.done.outside;
                outside.files += expiry.outside.files;
                outside.example = outside.example.take().or(expiry.outside.example);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Entries)) {
        let mut entries = self.lock();
        change(&mut entries);
        note(self.supervisor, Action::ExpireSnapshots, self.table, &*entries);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
