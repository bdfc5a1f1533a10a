//! Decides which file groups can still be committed on top of what other writers did meanwhile.
//!
//! The rules of Java's `BaseRewriteFiles` and `MergingSnapshotProducer.validateNoNewDeletesForDataFiles`.
//! Where Java looks through the snapshots since the start, this looks at the newest snapshot's live delete
//! files above the starting sequence number, which finds the same ones and needs no history.

use std::collections::HashSet;

use iceberg::spec::DataFile;
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
            Self::HistoryChanged => {
                f.write_str("the branch no longer descends from the snapshot planned from")
            }
            Self::FileGone(path) => write!(f, "{path} is no longer part of the table"),
            Self::NewDeletes(path) => write!(f, "rows of {path} were deleted meanwhile"),
        }
    }
}

/// Deletes committed after the snapshot planned from, by what they reach.
#[derive(Debug, Default)]
pub(crate) struct NewDeletes {
    files: HashSet<String>,
    positions: HashSet<ScopeKey>,
    rows: HashSet<ScopeKey>,
    all_rows: bool,
}

impl NewDeletes {
    /// Adds a live delete file above the starting sequence number.
    pub(crate) fn add(&mut self, reach: Reach) {
        match reach {
            Reach::File(path) => drop(self.files.insert(path)),
            Reach::PartitionPositions(scope) => drop(self.positions.insert(scope)),
            Reach::PartitionRows(scope) => drop(self.rows.insert(scope)),
            Reach::AllRows => self.all_rows = true,
        }
    }

    /// Whether one of them may delete positions of a data file, given by normalised path and scope.
    pub(super) fn name_positions_of(&self, path: &str, scope: &ScopeKey) -> bool {
        self.positions.contains(scope) || self.files.contains(path)
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
    /// New files keep the starting sequence number, so that newer equality deletes reach them as they reach
    /// the files replaced.
    pub(crate) keep_sequence_number: bool,
    /// The spec of the new files.
    pub(crate) output_spec_id: i32,
}

impl Facts {
    /// Whether a group that replaces `replaced` by `added` conflicts, and why.
    pub(crate) fn judge<'a>(
        &self,
        replaced: impl IntoIterator<Item = &'a LiveFile>,
        added: &[DataFile],
    ) -> Result<(), Conflict> {
        if !self.history_intact {
            return Err(Conflict::HistoryChanged);
        }
        for file in replaced {
            let path = file.file.file_path();
            if !self.live.contains(path) {
                return Err(Conflict::FileGone(path.to_owned()));
            }
            let scope = ScopeKey::new(file.spec_id, file.file.partition());
            let normal = normalize_location(path);
            if self.new_deletes.name_positions_of(&normal, &scope) || self.rows_lost(file, &scope, added) {
                return Err(Conflict::NewDeletes(path.to_owned()));
            }
        }
        Ok(())
    }

    /// Whether a new equality delete reaches the old file but not its rows' new place, or the other way round.
    /// Java does not look at the second way, nor at files that change their spec.
    fn rows_lost(&self, file: &LiveFile, scope: &ScopeKey, added: &[DataFile]) -> bool {
        let new = &self.new_deletes;
        if !self.keep_sequence_number {
            return new.all_rows || new.rows.contains(scope);
        }
        if file.spec_id == self.output_spec_id || new.rows.is_empty() {
            return false;
        }
        let mut places = added
            .iter()
            .map(|file| ScopeKey::new(self.output_spec_id, file.partition()));
        new.rows.contains(scope) || places.any(|place| new.rows.contains(&place))
    }
}
