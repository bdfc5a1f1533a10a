//! Decides which deletion vectors of a rewrite can still be committed on top of what other writers did meanwhile.
//!
//! A data file has at most one vector in a snapshot, and it must hold every position delete of the file (spec,
//! Deletion Vectors). Java fails the whole commit when another one was added meanwhile
//! (`MergingSnapshotProducer.validateAddedDVs`). Here the vectors stand alone:
//! * another writer's vector stays, since its writer merged all it saw, and ours is left out;
//! * a data file that is gone needs no vector;
//! * a vector of ours whose source was taken away is left out: somebody may have brought rows back;
//! * a position-delete file added meanwhile, which version 3 forbids, would be hidden by a vector that does not
//!   hold it. Its group is dropped, since the files it replaces are still needed.
//!
//! What is left out leaves its position-delete files superseded, by a newer vector or by the data file's end, so
//! they go with the others of the group.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use iceberg::spec::{DataFile, DataFileFormat};
use snowpack_catalog::normalize_location;

use super::conflicts::{Conflict, NewDeletes};
use super::replace::{DeleteKey, LiveDelete, Replacement, delete_key};
use super::scope::{Reach, ScopeKey};

/// Where a new vector belongs: that of the data file it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its partition spec.
    pub(crate) spec_id: i32,
    /// Its data sequence number, the highest of the deletes it was made from. Those applied to the data file, so
    /// it is no lower than the data file's, and the vector applies.
    pub(crate) sequence_number: i64,
}

/// What the newest snapshot says about the vectors of every group.
#[derive(Debug, Default)]
pub(super) struct VectorFacts {
    /// Whether the snapshot planned from is an ancestor of the newest one.
    history_intact: bool,
    /// Delete files and vectors that are live.
    live: HashSet<DeleteKey>,
    /// The vector of each data file that has one, by normalised path.
    vectors: HashMap<String, DeleteKey>,
    /// Position-delete files added since.
    new_deletes: NewDeletes,
    /// Data sequence numbers of the live data files that new vectors are about, by normalised path.
    targets: HashMap<String, i64>,
}

impl VectorFacts {
    /// The facts but for the live data files. `start` is the sequence number of the snapshot planned from.
    pub(super) fn of(history_intact: bool, start: i64, deletes: &[LiveDelete]) -> Self {
        let mut facts = Self {
            history_intact,
            ..Self::default()
        };
        for delete in deletes {
            facts.live.insert(delete.key.clone());
            let is_vector = delete.key.1.is_some();
            let added = delete.sequence.file.unwrap_or(delete.sequence.data);
            match &delete.reach {
                Reach::File(path) if is_vector => {
                    facts.vectors.insert(path.clone(), delete.key.clone());
                }
                reach if added > start => facts.new_deletes.add(reach.clone()),
                _ => {}
            }
        }
        facts
    }

    /// Adds a live data file that a new vector is about.
    pub(super) fn add_target(&mut self, path: String, sequence_number: i64) {
        self.targets.insert(path, sequence_number);
    }

    /// The group, or the part of it that can still be committed.
    pub(super) fn narrow<'a>(&self, group: &'a Replacement) -> Result<Cow<'a, Replacement>, Conflict> {
        if !self.history_intact {
            return Err(Conflict::HistoryChanged);
        }
        let replaced: HashSet<_> = group.replaced.iter().map(|file| delete_key(&file.file)).collect();
        let mut kept = HashSet::new();
        for (file, placed) in group.added.iter().zip(&group.placed) {
            if self.is_wanted(file, *placed, &replaced)? {
                kept.insert(named(file));
            }
        }
        for file in group.replaced.iter().filter(|file| !self.is_live(&file.file)) {
            self.check_gone(&file.file, &kept)?;
        }
        if kept.len() == group.added.len() && group.replaced.iter().all(|file| self.is_live(&file.file)) {
            return Ok(Cow::Borrowed(group));
        }
        self.without_others(group, &kept).map(Cow::Owned)
    }

    fn is_live(&self, file: &DataFile) -> bool {
        self.live.contains(&delete_key(file))
    }

    /// Whether a data file still wants the vector made for it.
    fn is_wanted(
        &self,
        vector: &DataFile,
        placed: Placed,
        replaced: &HashSet<DeleteKey>,
    ) -> Result<bool, Conflict> {
        let path = named(vector);
        let target = self.targets.get(&path);
        if target.is_none_or(|sequence_number| *sequence_number > placed.sequence_number) {
            return Ok(false);
        }
        if let Some(now) = self.vectors.get(&path) {
            return Ok(replaced.contains(now));
        }
        let scope = ScopeKey::new(placed.spec_id, vector.partition());
        match self.new_deletes.name_positions_of(&path, &scope) {
            true => Err(Conflict::NewDeletes(path)),
            false => Ok(true),
        }
    }

    /// A source that is gone must not have been needed.
    fn check_gone(&self, source: &DataFile, kept: &HashSet<String>) -> Result<(), Conflict> {
        let is_vector = source.file_format() == DataFileFormat::Puffin;
        let is_needed = match super::scope::referenced_file(source) {
            // The vector of a data file that now has none: it is left out below.
            Some(_) if is_vector => false,
            Some(path) => kept.contains(normalize_location(&path).as_ref()),
            None => !kept.is_empty(),
        };
        match is_needed {
            true => Err(Conflict::FileGone(source.file_path().to_owned())),
            false => Ok(()),
        }
    }

    fn without_others(&self, group: &Replacement, kept: &HashSet<String>) -> Result<Replacement, Conflict> {
        let lost: HashSet<String> = group
            .replaced
            .iter()
            .filter(|file| file.file.file_format() == DataFileFormat::Puffin && !self.is_live(&file.file))
            .map(|file| named(&file.file))
            .collect();
        let added = group.added.iter().zip(&group.placed);
        let (added, placed) = added
            .filter(|(file, _)| kept.contains(&named(file)) && !lost.contains(&named(file)))
            .map(|(file, placed)| (file.clone(), *placed))
            .unzip();
        let replaced = group.replaced.iter().filter(|file| self.is_live(&file.file));
        let mut narrowed = Replacement {
            group: group.group,
            replaced: replaced.cloned().collect(),
            added,
            placed,
            rows_deleted: 0,
            dangling: group.dangling,
        };
        if narrowed.replaced.is_empty() {
            let path = group.replaced.first().map_or("", |file| file.file.file_path());
            return Err(Conflict::FileGone(path.to_owned()));
        }
        narrowed.rows_deleted = narrowed.rows_in().saturating_sub(narrowed.rows_out());
        Ok(narrowed)
    }
}

/// The data file that a vector is about, normalised.
pub(super) fn named(vector: &DataFile) -> String {
    let path = vector.referenced_data_file().unwrap_or_default();
    normalize_location(&path).into_owned()
}
