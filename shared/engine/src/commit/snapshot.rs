//! Puts a replace snapshot together: new, filtered and merged manifests, manifest list, summary, change.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;
use iceberg::spec::{
    DataFile, Manifest, ManifestContentType, ManifestFile, NestedFieldRef, PartitionSpec, Snapshot, Type,
};
use snowpack_catalog::{LoadedTable, TableChange};
use snowpack_domain::{Timestamp, Verification};

use super::Mark;
use super::change::{change, snapshot};
use super::done::Done;
use super::manifests::{SnapshotManifests, has_live_files};
use super::merge::MergePolicy;
use super::replace::{DeleteKey, LiveDelete, Replacement, RewriteBase, Rewritten, delete_key, may_hold};
use super::summary::{ManifestCounts, SummaryBuilder};
use super::survey::{Survey, replaced_paths};
use super::workshop::Workshop;
use crate::delete::discard_uncommitted;
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::verify::{CHECKSUM_SUMMARY_KEY, Checksum, VERIFY_SUMMARY_KEY};

/// A snapshot under construction.
pub(super) struct Assembly<'a> {
    rewrite: &'a RewriteBase,
    counted: &'a HashSet<String>,
    base: &'a LoadedTable,
    head: &'a Snapshot,
    groups: &'a [&'a Replacement],
    workshop: Workshop<'a>,
    summary: SummaryBuilder,
    replaced_manifests: u64,
}

/// A snapshot whose files are written.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) change: TableChange,
    pub(super) mark: Mark,
    pub(super) done: Done,
}

impl<'a> Assembly<'a> {
    /// Replaces the files of `groups` on top of `head`, the newest snapshot of `base`. `counted` are Puffin files
    /// that earlier commits of the rewrite have counted.
    pub(super) fn new(
        rewrite: &'a RewriteBase,
        counted: &'a HashSet<String>,
        base: &'a LoadedTable,
        head: &'a Snapshot,
        groups: &'a [&'a Replacement],
        written: &'a mut Vec<String>,
    ) -> Self {
        Self {
            rewrite,
            counted,
            base,
            head,
            groups,
            workshop: Workshop::new(base, written),
            summary: SummaryBuilder::default(),
            replaced_manifests: 0,
        }
    }

    /// Writes all manifests and the manifest list.
    pub(super) async fn build(
        mut self,
        manifests: SnapshotManifests,
        deletes: &[LiveDelete],
        now: Timestamp,
    ) -> Result<Assembled, EngineError> {
        let (data, deletes) = match &self.rewrite.files {
            Rewritten::Data {
                output_spec,
                keep_sequence_number,
            } => {
                let keeps = keep_sequence_number.then_some(self.rewrite.sequence_number);
                self.replace_data(manifests, deletes, (output_spec, keeps))
                    .await?
            }
            Rewritten::PositionDeletes | Rewritten::Vectors => {
                self.replace_position_deletes(manifests).await?
            }
        };
        self.check_rows()?;
        let mut all = self.merge(ManifestContentType::Data, data).await?;
        all.extend(self.merge(ManifestContentType::Deletes, deletes).await?);
        let counts = self.count(&all);
        let list = self.workshop.list(all, self.head).await?;
        let done = Done::of(self.groups, self.summary.removed_delete_files(), self.counted);
        let stated = self.stated(done);
        let summary = self.summary.replace(self.head.summary(), counts, &stated);
        let snapshot = snapshot(self.base, self.workshop.snapshot_id, list, summary, now);
        Ok(Assembled {
            mark: Mark::SnapshotAdded(self.workshop.snapshot_id),
            change: change(self.base, self.head, snapshot),
            done,
        })
    }

    /// Puts the groups' new data files in the place of the old ones, and takes out the deletes that apply to
    /// nothing then. `output` is the new files' spec and sequence number.
    async fn replace_data(
        &mut self,
        manifests: SnapshotManifests,
        deletes: &[LiveDelete],
        (spec, sequence_number): (&PartitionSpec, Option<i64>),
    ) -> Result<(Vec<ManifestFile>, Vec<ManifestFile>), FileError> {
        let survey = Survey {
            rewrite: self.rewrite,
            base: self.base,
            groups: self.groups,
        };
        let doomed = survey.dangling(&manifests.data, deletes).await?;
        let added = self.groups.iter().flat_map(|group| &group.added);
        let added = added.map(|file| (file.clone(), sequence_number)).collect();
        let mut data = self.add_files(ManifestContentType::Data, spec, added).await?;
        data.extend(self.remove_files(manifests.data).await?);
        Ok((data, self.remove_deletes(manifests.deletes, &doomed).await?))
    }

    /// Puts the groups' new position-delete files in the place of the old ones. Data manifests stay as they
    /// are.
    async fn replace_position_deletes(
        &mut self,
        manifests: SnapshotManifests,
    ) -> Result<(Vec<ManifestFile>, Vec<ManifestFile>), FileError> {
        let mut added: BTreeMap<i32, Vec<(DataFile, Option<i64>)>> = BTreeMap::new();
        for (placed, file) in self.groups.iter().flat_map(|group| group.placed_deletes()) {
            let files = added.entry(placed.spec_id).or_default();
            files.push((file.clone(), Some(placed.sequence_number)));
        }
        let mut deletes = Vec::new();
        for (spec_id, files) in added {
            let Some(spec) = self.base.metadata.partition_spec_by_id(spec_id) else {
                let reason = format!("table metadata has no partition spec {spec_id}");
                return Err(FileError::unsupported(&self.base.metadata_location, reason));
            };
            deletes.extend(self.add_files(ManifestContentType::Deletes, spec, files).await?);
        }
        let replaced = self.groups.iter().flat_map(|group| &group.replaced);
        let keys: Vec<_> = replaced.map(|file| delete_key(&file.file)).collect();
        let doomed = keys.iter().collect();
        deletes.extend(self.remove_deletes(manifests.deletes, &doomed).await?);
        Ok((manifests.data, deletes))
    }

    async fn add_files(
        &mut self,
        content: ManifestContentType,
        spec: &PartitionSpec,
        files: Vec<(DataFile, Option<i64>)>,
    ) -> Result<Vec<ManifestFile>, FileError> {
        for (file, _) in &files {
            self.summary.added(spec.spec_id(), file);
        }
        self.workshop.add(content, &files, spec).await
    }

    /// Takes the replaced data files out of the manifests that list them; the others are carried over.
    async fn remove_files(&mut self, manifests: Vec<ManifestFile>) -> Result<Vec<ManifestFile>, FileError> {
        let gone = replaced_paths(self.groups);
        let replaced = || self.groups.iter().flat_map(|group| &group.replaced);
        let specs: HashSet<_> = replaced().map(|file| file.spec_id).collect();
        let newest = replaced().map(|file| file.sequence_number).max().unwrap_or(0);
        let doomed = |file: &DataFile| gone.contains(file.file_path());
        let mut left = Vec::with_capacity(manifests.len());
        for manifest in manifests {
            left.push(if may_hold(&manifest, &specs, newest) {
                self.filter(ManifestContentType::Data, manifest, doomed).await?
            } else {
                manifest
            });
        }
        Ok(left)
    }

    async fn remove_deletes(
        &mut self,
        manifests: Vec<ManifestFile>,
        doomed: &HashSet<&DeleteKey>,
    ) -> Result<Vec<ManifestFile>, FileError> {
        let mut left = Vec::with_capacity(manifests.len());
        for manifest in manifests {
            left.push(if doomed.is_empty() || !has_live_files(&manifest) {
                manifest
            } else {
                let is_doomed = |file: &DataFile| doomed.contains(&delete_key(file));
                self.filter(ManifestContentType::Deletes, manifest, is_doomed)
                    .await?
            });
        }
        Ok(left)
    }

    /// Rewrites a manifest if it lists a doomed file, and counts what was removed.
    async fn filter(
        &mut self,
        content: ManifestContentType,
        file: ManifestFile,
        doomed: impl Fn(&DataFile) -> bool,
    ) -> Result<ManifestFile, FileError> {
        let manifest = self.rewrite.cache.load(&self.base.io, &file).await?;
        let mut live = manifest.entries().iter().filter(|entry| entry.is_alive());
        if !live.any(|entry| doomed(entry.data_file())) {
            return Ok(file);
        }
        let filtered = self.workshop.filter(content, &manifest, doomed).await?;
        self.replaced_manifests += 1;
        for removed in &filtered.removed {
            self.summary.removed(file.partition_spec_id, removed);
        }
        Ok(filtered.manifest)
    }

    /// What the summary says besides Iceberg's counters: who made the commit, what it did, and how it was verified.
    fn stated(&self, done: Done) -> BTreeMap<String, String> {
        let mut stated = self.rewrite.summary.clone();
        stated.extend(done.stated());
        stated.insert(VERIFY_SUMMARY_KEY.to_owned(), self.rewrite.verify.to_string());
        let mut sum = Checksum::default();
        let contents: Option<Vec<_>> = self.groups.iter().map(|group| group.content).collect();
        for content in contents.into_iter().flatten() {
            sum.add(content.written);
        }
        if self.rewrite.verify == Verification::Content {
            stated.insert(CHECKSUM_SUMMARY_KEY.to_owned(), sum.to_string());
        }
        stated
    }

    /// The totals of the commit must fit the groups': anything else means that a path is listed twice or that
    /// a manifest changed its mind.
    fn check_rows(&self) -> Result<(), EngineError> {
        if self.rewrite.verify == Verification::Off {
            return Ok(());
        }
        let rows_in: u64 = self.groups.iter().map(|group| group.rows_in()).sum();
        let rows_out: u64 = self.groups.iter().map(|group| group.rows_out()).sum();
        let (added, removed) = match self.rewrite.files {
            Rewritten::Data { .. } => self.summary.records(),
            Rewritten::PositionDeletes | Rewritten::Vectors => self.summary.position_deletes(),
        };
        if (added, removed) == (rows_out, rows_in) {
            return Ok(());
        }
        Err(EngineError::RowCount {
            table: self.base.id.to_string(),
            what: "the commit".to_owned(),
            rows_in: removed,
            rows_deleted: self.groups.iter().map(|group| group.rows_deleted).sum(),
            rows_out: added,
        })
    }

    /// Drops manifests without live files, merges what the table's properties ask for, and removes the files
    /// of this attempt that merging made superfluous.
    async fn merge(
        &mut self,
        content: ManifestContentType,
        manifests: Vec<ManifestFile>,
    ) -> Result<Vec<ManifestFile>, FileError> {
        let ours = self.workshop.snapshot_id;
        let worth = |manifest: &ManifestFile| has_live_files(manifest) || manifest.added_snapshot_id == ours;
        let kept = manifests.into_iter().filter(worth).collect();
        let policy = MergePolicy::of(self.base.metadata.properties());
        let mut merged = Vec::new();
        for bin in policy.plan(kept) {
            merged.extend(self.merge_bin(content, bin).await?);
        }
        Ok(merged)
    }

    async fn merge_bin(
        &mut self,
        content: ManifestContentType,
        bin: Vec<ManifestFile>,
    ) -> Result<Vec<ManifestFile>, FileError> {
        if bin.len() < 2 {
            return Ok(bin);
        }
        let manifests: Vec<Arc<Manifest>> = self
            .rewrite
            .cache
            .stream(&self.base.io, bin.clone())
            .map_ok(|(_, manifest)| manifest)
            .try_collect()
            .await?;
        let schema = self.base.metadata.current_schema();
        let spec = self.base.metadata.partition_spec_by_id(bin[0].partition_spec_id);
        // Partition values can only be written under the types they were read with.
        let Some(spec) = spec.filter(|spec| {
            let current = spec.partition_type(schema).ok();
            current.is_some_and(|current| {
                manifests
                    .iter()
                    .all(|manifest| same_types(manifest, current.fields()))
            })
        }) else {
            return Ok(bin);
        };
        let merged = self
            .workshop
            .merge(content, Arc::clone(schema), spec, &manifests)
            .await?;
        let committed = bin
            .iter()
            .filter(|manifest| manifest.added_snapshot_id != self.workshop.snapshot_id);
        self.replaced_manifests += committed.count() as u64;
        let paths = bin
            .iter()
            .map(|manifest| manifest.manifest_path.as_str())
            .collect();
        discard_uncommitted(&self.base.io, &self.workshop.forget(&paths)).await;
        Ok(vec![merged])
    }

    fn count(&self, manifests: &[ManifestFile]) -> ManifestCounts {
        let ours = |manifest: &&ManifestFile| manifest.added_snapshot_id == self.workshop.snapshot_id;
        let created = manifests.iter().filter(ours).count() as u64;
        ManifestCounts {
            created,
            kept: manifests.len() as u64 - created,
            replaced: self.replaced_manifests,
        }
    }
}

/// Whether a manifest's partition fields have the ids and types of `current`.
fn same_types(manifest: &Manifest, current: &[NestedFieldRef]) -> bool {
    let meta = manifest.metadata();
    let Ok(own) = meta.partition_spec().partition_type(meta.schema()) else {
        return false;
    };
    let types = |fields: &[NestedFieldRef]| -> Vec<(i32, Type)> {
        fields
            .iter()
            .map(|field| (field.id, (*field.field_type).clone()))
            .collect()
    };
    types(own.fields()) == types(current)
}
