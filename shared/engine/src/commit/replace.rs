//! A replace snapshot on `main`: rewritten files take the place of the files they were made from.
//!
//! Data files and position-delete files alike, though one rewrite replaces only one kind. Follows Java's
//! `BaseRewriteFiles` on `MergingSnapshotProducer`, with two differences. A conflict drops the file groups it
//! concerns and commits the rest. And the lowest data sequence number, below which delete files are dropped,
//! counts the new files too: they keep an old number, and an equality delete committed meanwhile still applies
//! to them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;
use iceberg::spec::{DataFile, FormatVersion, ManifestFile, PartitionSpecRef, Snapshot, TableMetadata};
use snowpack_catalog::{LoadedTable, normalize_location};
use snowpack_domain::{Timestamp, Verification};
use snowpack_manifest::read_manifest_list;
use snowpack_plan::LiveFile;
use uuid::Uuid;

use super::conflicts::{Conflict, Facts, NewDeletes};
use super::dangling::Sequence;
use super::done::Done;
use super::manifests::{ManifestCache, SnapshotManifests, has_live_files, with_live_files};
use super::scope::Reach;
use super::snapshot::Assembly;
use super::vectors::{Placed, VectorFacts, named};
use super::{Proposal, Proposed};
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::verify::Content;

/// A rewritten file group, ready to be committed.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    /// Its position in the plan.
    pub(crate) group: usize,
    /// The files read.
    pub(crate) replaced: Vec<Arc<LiveFile>>,
    /// The files written instead.
    pub(crate) added: Vec<DataFile>,
    /// Of deletion vectors: where each of `added` belongs, in the same order.
    pub(crate) placed: Vec<Placed>,
    /// Rows that deletes removed on the way; of delete files, positions that apply to nothing or are repeated.
    pub(crate) rows_deleted: u64,
    /// Delete files among those read that apply to no live data file.
    pub(crate) dangling: u64,
    /// Its rows summed up, if that is wanted.
    pub(crate) content: Option<Content>,
}

impl Replacement {
    /// Rows of the files read, by their manifests.
    pub(crate) fn rows_in(&self) -> u64 {
        self.replaced.iter().map(|file| file.file.record_count()).sum()
    }

    /// Rows of the files written.
    pub(crate) fn rows_out(&self) -> u64 {
        self.added.iter().map(DataFile::record_count).sum()
    }

    /// New delete files, each with its partition spec and data sequence number.
    pub(super) fn placed_deletes(&self) -> Vec<(Placed, &DataFile)> {
        if !self.placed.is_empty() {
            return self.placed.iter().copied().zip(&self.added).collect();
        }
        let highest = self.replaced.iter().map(|file| file.sequence_number).max();
        let place = self.replaced.first().zip(highest).map(|(first, highest)| Placed {
            spec_id: first.spec_id,
            sequence_number: highest,
        });
        let added = place
            .into_iter()
            .flat_map(|place| self.added.iter().map(move |file| (place, file)));
        added.collect()
    }

    /// Checks that no row was lost, invented or changed, as far as that is wanted.
    ///
    /// # Errors
    /// [`EngineError::RowCount`], [`EngineError::Content`].
    pub(crate) fn check(&self, verify: Verification, table: &str) -> Result<(), EngineError> {
        if verify != Verification::Off {
            self.check_rows(table)?;
        }
        match self.content {
            Some(Content { read, written }) if read != written => Err(EngineError::Content {
                table: table.to_owned(),
                what: format!("file group {}", self.group),
                read,
                written,
            }),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// [`EngineError::RowCount`].
    fn check_rows(&self, table: &str) -> Result<(), EngineError> {
        let (rows_in, rows_out) = (self.rows_in(), self.rows_out());
        if rows_in.checked_sub(self.rows_deleted) == Some(rows_out) {
            return Ok(());
        }
        Err(EngineError::RowCount {
            table: table.to_owned(),
            what: format!("file group {}", self.group),
            rows_in,
            rows_deleted: self.rows_deleted,
            rows_out,
        })
    }
}

/// What a rewrite replaces, and what its new files are like.
#[derive(Debug)]
pub(crate) enum Rewritten {
    /// Data files.
    Data {
        /// The spec of new files.
        output_spec: PartitionSpecRef,
        /// New files carry the sequence number of the snapshot planned from, so that newer equality deletes
        /// still apply to them.
        keep_sequence_number: bool,
    },
    /// Position-delete files, each group's all of one partition, where the new ones stay.
    ///
    /// New files carry the highest data sequence number of the files they replace (Java's
    /// `RewritePositionDeletesGroup`). A lower one would lose deletes of younger data files. This one makes
    /// older deletes apply to data files committed up to then, which changes nothing: a position delete
    /// applies only to the file it names, and only those positions are kept whose file is live and was
    /// reached by the delete file they come from.
    PositionDeletes,
    /// Position deletes of any kind, in format version 3: new ones are deletion vectors, each with the place of
    /// its data file.
    Vectors,
}

/// What all commits of one rewrite have in common.
#[derive(Debug)]
pub(crate) struct RewriteBase {
    /// The table's identity; a table created anew under its name is another one.
    pub(crate) uuid: Uuid,
    /// The snapshot planned from.
    pub(crate) snapshot_id: i64,
    /// Its sequence number.
    pub(crate) sequence_number: i64,
    /// What is replaced.
    pub(crate) files: Rewritten,
    /// Remove every dangling delete file, not only those the rewrite touched.
    pub(crate) remove_dangling: bool,
    /// How far the groups' rows are checked.
    pub(crate) verify: Verification,
    /// What the summary says besides its counters.
    pub(crate) summary: BTreeMap<String, String>,
    /// Manifests read so far.
    pub(crate) cache: ManifestCache,
}

/// One commit of a rewrite.
pub(crate) struct Replace<'a, N> {
    /// What is common to all commits.
    pub(crate) rewrite: &'a RewriteBase,
    /// The groups to commit together.
    pub(crate) groups: &'a [Replacement],
    /// Puffin files that earlier commits of the rewrite have counted.
    pub(crate) counted: &'a HashSet<String>,
    /// The time now.
    pub(crate) now: N,
}

/// What a commit did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replaced {
    /// Groups committed.
    pub(crate) committed: Vec<usize>,
    /// Groups that conflict with other writers' commits, and how. Their files are to be discarded.
    pub(crate) dropped: Vec<(usize, Conflict)>,
    /// What was committed of groups of which other writers' commits left only a part.
    pub(crate) narrowed: Vec<Replacement>,
    /// What was committed, in numbers.
    pub(crate) done: Done,
}

/// A live delete file of the newest snapshot.
#[derive(Debug)]
pub(super) struct LiveDelete {
    pub(super) key: DeleteKey,
    pub(super) reach: Reach,
    pub(super) sequence: Sequence,
}

/// What tells delete files apart: deletion vectors share Puffin files.
pub(super) type DeleteKey = (String, Option<i64>);

/// The key of a delete file.
pub(super) fn delete_key(file: &DataFile) -> DeleteKey {
    (file.file_path().to_owned(), file.content_offset())
}

impl<N: Fn() -> Timestamp + Send + Sync> Proposal for Replace<'_, N> {
    type Outcome = Replaced;

    async fn propose(
        &self,
        base: &LoadedTable,
        written: &mut Vec<String>,
    ) -> Result<Proposed<Replaced>, EngineError> {
        if base.metadata.uuid() != self.rewrite.uuid {
            return Err(EngineError::TableReplaced(base.id.to_string()));
        }
        let Some(head) = base.metadata.current_snapshot() else {
            return Ok(Proposed::Nothing(self.all_dropped()));
        };
        let mut manifests = read_manifest_list(&base.io, &base.metadata, head).await?;
        self.rewrite
            .cache
            .fill_in_counts(&base.io, &mut manifests)
            .await?;
        let manifests = SnapshotManifests::split(manifests);
        let deletes = self.live_deletes(base, &manifests.deletes).await?;
        let (kept, dropped) = self.judge(base, head, &manifests.data, &deletes).await?;
        let narrowed = kept.iter().filter_map(|group| match group {
            Cow::Owned(part) => Some(part.clone()),
            Cow::Borrowed(_) => None,
        });
        let mut outcome = Replaced {
            committed: kept.iter().map(|group| group.group).collect(),
            narrowed: narrowed.collect(),
            dropped,
            done: Done::default(),
        };
        let groups: Vec<&Replacement> = kept.iter().map(AsRef::as_ref).collect();
        if groups.is_empty() {
            return Ok(Proposed::Nothing(outcome));
        }
        let assembly = Assembly::new(self.rewrite, self.counted, base, head, &groups, written);
        let assembled = assembly.build(manifests, &deletes, (self.now)()).await?;
        outcome.done = assembled.done;
        Ok(Proposed::Change {
            change: assembled.change,
            mark: assembled.mark,
            outcome,
        })
    }
}

impl<N> Replace<'_, N> {
    fn all_dropped(&self) -> Replaced {
        Replaced {
            dropped: self
                .groups
                .iter()
                .map(|group| (group.group, Conflict::HistoryChanged))
                .collect(),
            ..Replaced::default()
        }
    }

    /// The groups, or parts of them, that can be committed, and those that cannot.
    async fn judge(
        &self,
        base: &LoadedTable,
        head: &Snapshot,
        data: &[ManifestFile],
        deletes: &[LiveDelete],
    ) -> Result<(Vec<Cow<'_, Replacement>>, Vec<(usize, Conflict)>), FileError> {
        let judged: Vec<_> = if matches!(self.rewrite.files, Rewritten::Vectors) {
            let facts = self.vector_facts(base, head, data, deletes).await?;
            self.groups.iter().map(|group| facts.narrow(group)).collect()
        } else {
            let facts = self.facts(base, head, data, deletes).await?;
            let judge =
                |group: &Replacement| facts.judge(group.replaced.iter().map(AsRef::as_ref), &group.added);
            self.groups
                .iter()
                .map(|group| judge(group).map(|()| Cow::Borrowed(group)))
                .collect()
        };
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for (group, judged) in self.groups.iter().zip(judged) {
            match judged {
                Ok(part) => kept.push(part),
                Err(conflict) => dropped.push((group.group, conflict)),
            }
        }
        Ok((kept, dropped))
    }

    async fn vector_facts(
        &self,
        base: &LoadedTable,
        head: &Snapshot,
        data: &[ManifestFile],
        deletes: &[LiveDelete],
    ) -> Result<VectorFacts, FileError> {
        let history_intact = descends(&base.metadata, head, self.rewrite.snapshot_id);
        let mut facts = VectorFacts::of(history_intact, self.rewrite.sequence_number, deletes);
        let wanted: HashSet<_> = self
            .groups
            .iter()
            .flat_map(|group| &group.added)
            .map(named)
            .collect();
        let places = || self.groups.iter().flat_map(|group| &group.placed);
        let specs = places().map(|placed| placed.spec_id).collect();
        let newest = places().map(|placed| placed.sequence_number).max().unwrap_or(0);
        let candidates = data
            .iter()
            .filter(|manifest| may_hold(manifest, &specs, newest))
            .cloned();
        let mut stream = std::pin::pin!(self.rewrite.cache.stream(&base.io, candidates.collect()));
        while let Some((_, manifest)) = stream.try_next().await? {
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let path = normalize_location(entry.file_path());
                if wanted.contains(path.as_ref()) {
                    facts.add_target(path.into_owned(), entry.sequence_number().unwrap_or(0));
                }
            }
        }
        Ok(facts)
    }

    async fn live_deletes(
        &self,
        base: &LoadedTable,
        manifests: &[ManifestFile],
    ) -> Result<Vec<LiveDelete>, FileError> {
        let mut deletes = Vec::new();
        let mut stream = std::pin::pin!(self.rewrite.cache.stream(&base.io, with_live_files(manifests)));
        while let Some((file, manifest)) = stream.try_next().await? {
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                deletes.push(LiveDelete {
                    key: delete_key(entry.data_file()),
                    reach: Reach::of(entry.data_file(), file.partition_spec_id, &base.metadata),
                    sequence: Sequence {
                        data: entry.sequence_number().unwrap_or(0),
                        file: entry.file_sequence_number,
                    },
                });
            }
        }
        Ok(deletes)
    }

    async fn facts(
        &self,
        base: &LoadedTable,
        head: &Snapshot,
        data: &[ManifestFile],
        deletes: &[LiveDelete],
    ) -> Result<Facts, FileError> {
        let history_intact = descends(&base.metadata, head, self.rewrite.snapshot_id);
        match &self.rewrite.files {
            Rewritten::Data {
                output_spec,
                keep_sequence_number,
            } => Ok(Facts {
                history_intact,
                live: self.live_data(base, data).await?,
                new_deletes: self.new_deletes(deletes),
                keep_sequence_number: *keep_sequence_number,
                output_spec_id: output_spec.spec_id(),
            }),
            // Nothing another writer adds changes what a live delete file says.
            Rewritten::PositionDeletes | Rewritten::Vectors => Ok(Facts {
                history_intact,
                live: deletes.iter().map(|delete| delete.key.0.clone()).collect(),
                ..Facts::default()
            }),
        }
    }

    fn new_deletes(&self, deletes: &[LiveDelete]) -> NewDeletes {
        let mut new_deletes = NewDeletes::default();
        for delete in deletes
            .iter()
            .filter(|delete| delete.sequence.data > self.rewrite.sequence_number)
        {
            new_deletes.add(delete.reach.clone());
        }
        new_deletes
    }

    /// Paths among the replaced data files that are live.
    async fn live_data(
        &self,
        base: &LoadedTable,
        data: &[ManifestFile],
    ) -> Result<HashSet<String>, FileError> {
        let replaced: Vec<_> = self.groups.iter().flat_map(|group| &group.replaced).collect();
        let paths: HashSet<_> = replaced.iter().map(|file| file.file.file_path()).collect();
        let specs: HashSet<_> = replaced.iter().map(|file| file.spec_id).collect();
        let newest = replaced
            .iter()
            .map(|file| file.sequence_number)
            .max()
            .unwrap_or(0);
        let candidates = data
            .iter()
            .filter(|manifest| may_hold(manifest, &specs, newest))
            .cloned()
            .collect();
        let mut live = HashSet::new();
        let mut stream = std::pin::pin!(self.rewrite.cache.stream(&base.io, candidates));
        while let Some((_, manifest)) = stream.try_next().await? {
            let entries = manifest.entries().iter().filter(|entry| entry.is_alive());
            let found = entries
                .map(|entry| entry.file_path())
                .filter(|path| paths.contains(path));
            live.extend(found.map(str::to_owned));
        }
        Ok(live)
    }
}

/// Whether a data manifest may list live files of these specs with a data sequence number up to `newest`.
pub(super) fn may_hold(manifest: &ManifestFile, specs: &HashSet<i32>, newest: i64) -> bool {
    has_live_files(manifest)
        && specs.contains(&manifest.partition_spec_id)
        && manifest.min_sequence_number <= newest
}

/// Whether `ancestor` is `head` or one of its ancestors. Always so in v1 tables: they have no deletes that a
/// roll-back could bring back to life, and live files are compared by path.
fn descends(metadata: &TableMetadata, head: &Snapshot, ancestor: i64) -> bool {
    if metadata.format_version() == FormatVersion::V1 {
        return true;
    }
    let mut next = Some(head.snapshot_id());
    // A chain cannot be longer than the list of snapshots; damaged metadata could hold a cycle.
    for _ in 0..metadata.snapshots().len() {
        match next {
            Some(id) if id == ancestor => return true,
            Some(id) => {
                next = metadata
                    .snapshot_by_id(id)
                    .and_then(|found| found.parent_snapshot_id())
            }
            None => return false,
        }
    }
    false
}
