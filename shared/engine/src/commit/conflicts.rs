//! Decides which file groups can still be committed on top of what other writers did meanwhile.
//!
//! The rules of Java's `BaseRewriteFiles` and `MergingSnapshotProducer.validateNoNewDeletesForDataFiles`.
//! Where Java looks through the snapshots since the start, this looks at the newest snapshot's live delete
//! files above the starting sequence number, which finds the same ones and needs no history.

use std::collections::HashSet;

use snowpack_catalog::normalize_location;
use snowpack_plan::LiveFile;

use super::scope::{Reach, ScopeKey};

/// Why a file group cannot be committed any more. Other writers' work stands; the next run plans anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The snapshot planned from is no ancestor of the newest one: the branch was rolled back or replaced.
    HistoryChanged,
    /// Another writer removed or replaced this file.
    FileGone(String),
    /// Another writer deleted rows of this file.
    NewDeletes(String),
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HistoryChanged => f.write_str("the branch no longer descends from the snapshot planned from"),
            Self::FileGone(path) => write!(f, "{path} is no longer part of the table"),
            Self::NewDeletes(path) => write!(f, "rows of {path} were deleted meanwhile"),
        }
    }
}

/// Deletes committed after the snapshot planned from.
#[derive(Debug, Default)]
pub(crate) struct NewDeletes {
    files: HashSet<String>,
    partitions: HashSet<ScopeKey>,
    everything: bool,
}

impl NewDeletes {
    /// Adds a live delete file above the starting sequence number. `equality_deletes_count` is false when
    /// the rewritten files keep that number: equality deletes then still apply to them.
    pub(crate) fn add(&mut self, reach: Reach, equality_deletes_count: bool) {
        match reach {
            Reach::File(path) => {
                self.files.insert(path);
            }
            Reach::PartitionPositions(scope) => {
                self.partitions.insert(scope);
            }
            Reach::PartitionRows(scope) if equality_deletes_count => {
                self.partitions.insert(scope);
            }
            Reach::AllRows if equality_deletes_count => self.everything = true,
            Reach::PartitionRows(_) | Reach::AllRows => {}
        }
    }

    fn touch(&self, file: &LiveFile) -> bool {
        self.everything
            || self.files.contains(normalize_location(file.file.file_path()).as_ref())
            || (!self.partitions.is_empty()
                && self.partitions.contains(&ScopeKey::new(file.spec_id, file.file.partition())))
    }
}

/// What the newest snapshot says about the files of every group.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Whether the snapshot planned from is an ancestor of the newest one, or does not matter.
    pub(crate) history_intact: bool,
    /// Paths among the replaced files that are live.
    pub(crate) live: HashSet<String>,
    /// Deletes committed since.
    pub(crate) new_deletes: NewDeletes,
}

impl Facts {
    /// Whether a group that replaces `files` conflicts, and why.
    pub(crate) fn judge<'a>(&self, files: impl IntoIterator<Item = &'a LiveFile>) -> Result<(), Conflict> {
        if !self.history_intact {
            return Err(Conflict::HistoryChanged);
        }
        for file in files {
            let path = file.file.file_path();
            if !self.live.contains(path) {
                return Err(Conflict::FileGone(path.to_owned()));
            }
            if self.new_deletes.touch(file) {
                return Err(Conflict::NewDeletes(path.to_owned()));
            }
        }
        Ok(())
    }
}
