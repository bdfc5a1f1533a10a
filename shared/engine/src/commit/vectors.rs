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
use snowpack_plan::LiveFile;

use super::conflicts::{Conflict, NewDeletes};
use super::replace::{DeleteKey, LiveDelete, Replacement, delete_key};
use super::scope::{Reach, ScopeKey, referenced_file};

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
        let copied = group.replaced.iter().filter(|file| is_vector(&file.file));
        let copied = copied
            .map(|file| (named(&file.file), delete_key(&file.file)))
            .collect();
        let mut kept = Kept::default();
        for (file, placed) in group.added.iter().zip(&group.placed) {
            if self.is_wanted(file, *placed, &copied)? {
                kept.files.insert(named(file));
                kept.scopes
                    .insert(ScopeKey::new(placed.spec_id, file.partition()));
            }
        }
        let gone = || group.replaced.iter().filter(|file| !self.is_live(&file.file));
        gone().try_for_each(|file| kept.can_do_without(file))?;
        if kept.files.len() == group.added.len() && gone().next().is_none() {
            return Ok(Cow::Borrowed(group));
        }
        self.without_others(group, &kept.files).map(Cow::Owned)
    }

    fn is_live(&self, file: &DataFile) -> bool {
        self.live.contains(&delete_key(file))
    }

    /// Whether a data file still wants the vector made for it, or copied from one of `copied`.
    fn is_wanted(
        &self,
        vector: &DataFile,
        placed: Placed,
        copied: &HashMap<String, DeleteKey>,
    ) -> Result<bool, Conflict> {
        let path = named(vector);
        let target = self.targets.get(&path);
        if target.is_none_or(|sequence_number| *sequence_number > placed.sequence_number) {
            return Ok(false);
        }
        match (self.vectors.get(&path), copied.get(&path)) {
            (Some(now), Some(copied)) => Ok(now == copied),
            (Some(_), None) | (None, Some(_)) => Ok(false),
            (None, None) => {
                let scope = ScopeKey::new(placed.spec_id, vector.partition());
                match self.new_deletes.name_positions_of(&path, &scope) {
                    true => Err(Conflict::NewDeletes(path)),
                    false => Ok(true),
                }
            }
        }
    }

    fn without_others(&self, group: &Replacement, kept: &HashSet<String>) -> Result<Replacement, Conflict> {
        let added = group.added.iter().zip(&group.placed);
        let (added, placed) = added
            .filter(|(file, _)| kept.contains(&named(file)))
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
            // What was compared is not what is left.
            content: None,
        };
        if narrowed.replaced.is_empty() {
            let path = group.replaced.first().map_or("", |file| file.file.file_path());
            return Err(Conflict::FileGone(path.to_owned()));
        }
        narrowed.rows_deleted = narrowed.rows_in().saturating_sub(narrowed.rows_out());
        Ok(narrowed)
    }
}

/// The vectors that are committed: what they are about, and where that is.
#[derive(Debug, Default)]
struct Kept {
    files: HashSet<String>,
    scopes: HashSet<ScopeKey>,
}

impl Kept {
    /// Checks that none of the vectors was made from a delete file that is gone.
    fn can_do_without(&self, source: &LiveFile) -> Result<(), Conflict> {
        let was_needed = match referenced_file(&source.file) {
            // A vector has no other use than its copy, which is left out with it.
            _ if is_vector(&source.file) => false,
            Some(path) => self.files.contains(normalize_location(&path).as_ref()),
            None => self
                .scopes
                .contains(&ScopeKey::new(source.spec_id, source.file.partition())),
        };
        match was_needed {
            true => Err(Conflict::FileGone(source.file.file_path().to_owned())),
            false => Ok(()),
        }
    }
}

fn is_vector(file: &DataFile) -> bool {
    file.file_format() == DataFileFormat::Puffin
}

/// The data file that a vector is about, normalised.
pub(super) fn named(vector: &DataFile) -> String {
    let path = vector.referenced_data_file().unwrap_or_default();
    normalize_location(&path).into_owned()
}
