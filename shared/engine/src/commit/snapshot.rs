//! Puts a replace snapshot together: new, filtered and merged manifests, manifest list, summary, change.

use std::collections::HashSet;
use std::sync::Arc;

use futures::TryStreamExt;
use iceberg::spec::{
    DataFile, MAIN_BRANCH, Manifest, ManifestContentType, ManifestFile, Snapshot, SnapshotReference,
    SnapshotRetention, Summary, Type,
};
use iceberg::{TableRequirement, TableUpdate};
use snowpack_catalog::{LoadedTable, TableChange, normalize_location};
use snowpack_domain::Timestamp;

use super::Mark;
use super::dangling::{LiveData, Sequence};
use super::manifests::{SnapshotManifests, has_live_files, with_live_files};
use super::merge::MergePolicy;
use super::replace::{DeleteKey, LiveDelete, Replacement, RewriteBase, delete_key, may_hold};
use super::scope::{Reach, ScopeKey};
use super::summary::{ManifestCounts, SummaryBuilder};
use super::workshop::Workshop;
use crate::delete::discard_uncommitted;
use crate::error::EngineError;
use crate::file_error::FileError;

/// A snapshot under construction.
pub(super) struct Assembly<'a> {
    rewrite: &'a RewriteBase,
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
    pub(super) delete_files_removed: u64,
}

impl<'a> Assembly<'a> {
    /// Replaces the files of `groups` on top of `head`, the newest snapshot of `base`.
    pub(super) fn new(
        rewrite: &'a RewriteBase,
        base: &'a LoadedTable,
        head: &'a Snapshot,
        groups: &'a [&'a Replacement],
        written: &'a mut Vec<String>,
    ) -> Self {
        Self {
            rewrite,
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
        let doomed_deletes = self.dangling(&manifests.data, deletes).await?;
        let mut data = self.add_files().await?;
        data.extend(self.remove_files(manifests.data).await?);
        let deletes = self.remove_deletes(manifests.deletes, &doomed_deletes).await?;
        self.check_rows()?;
        let mut all = self.merge(ManifestContentType::Data, data).await?;
        all.extend(self.merge(ManifestContentType::Deletes, deletes).await?);
        let counts = self.count(&all);
        let list = self.workshop.list(all, self.head).await?;
        let delete_files_removed = self.summary.removed_delete_files();
        let summary = self.summary.replace(self.head.summary(), counts, &self.rewrite.summary);
        let snapshot = snapshot(self.base, self.workshop.snapshot_id, list, summary, now);
        Ok(Assembled {
            mark: Mark::SnapshotAdded(self.workshop.snapshot_id),
            change: change(self.base, self.head, snapshot),
            delete_files_removed,
        })
    }

    async fn add_files(&mut self) -> Result<Vec<ManifestFile>, FileError> {
        let files: Vec<DataFile> = self.groups.iter().flat_map(|group| group.added.iter().cloned()).collect();
        let spec = &self.rewrite.output_spec;
        for file in &files {
            self.summary.added(spec.spec_id(), file);
        }
        let sequence_number = self.rewrite.keep_sequence_number.then_some(self.rewrite.sequence_number);
        self.workshop.add(&files, spec, sequence_number).await
    }

    /// Takes the replaced data files out of the manifests that list them; the others are carried over.
    async fn remove_files(&mut self, manifests: Vec<ManifestFile>) -> Result<Vec<ManifestFile>, FileError> {
        let gone = self.gone();
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
                self.filter(ManifestContentType::Deletes, manifest, is_doomed).await?
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

    /// The totals of the commit must fit the groups': anything else means that a path is listed twice or that
    /// a manifest changed its mind.
    fn check_rows(&self) -> Result<(), EngineError> {
        let rows_in: u64 = self.groups.iter().map(|group| group.rows_in()).sum();
        let rows_out: u64 = self.groups.iter().map(|group| group.rows_out()).sum();
        if self.summary.records() == (rows_out, rows_in) {
            return Ok(());
        }
        let (added, removed) = self.summary.records();
        Err(EngineError::RowCount {
            table: self.base.id.to_string(),
            what: "the commit".to_owned(),
            rows_in: removed,
            rows_deleted: self.groups.iter().map(|group| group.rows_deleted).sum(),
            rows_out: added,
        })
    }

    fn gone(&self) -> HashSet<&'a str> {
        let replaced = self.groups.iter().flat_map(|group| &group.replaced);
        replaced.map(|file| file.file.file_path()).collect()
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
            current.is_some_and(|current| manifests.iter().all(|manifest| same_types(manifest, current.fields())))
        }) else {
            return Ok(bin);
        };
        let merged = self.workshop.merge(content, Arc::clone(schema), spec, &manifests).await?;
        let committed = bin.iter().filter(|manifest| manifest.added_snapshot_id != self.workshop.snapshot_id);
        self.replaced_manifests += committed.count() as u64;
        let paths = bin.iter().map(|manifest| manifest.manifest_path.as_str()).collect();
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

    /// The delete files that apply to nothing once the groups are replaced, among those to be looked at.
    async fn dangling<'d>(
        &self,
        data: &[ManifestFile],
        deletes: &'d [LiveDelete],
    ) -> Result<HashSet<&'d DeleteKey>, FileError> {
        if deletes.is_empty() {
            return Ok(HashSet::new());
        }
        let live = self.live_data(data, deletes).await?;
        let gone: HashSet<_> = self.gone().into_iter().map(normalize_location).collect();
        let replaced = self.groups.iter().flat_map(|group| &group.replaced);
        let scopes: HashSet<_> =
            replaced.map(|file| ScopeKey::new(file.spec_id, file.file.partition())).collect();
        let touched = |reach: &Reach| match reach {
            Reach::File(path) => gone.contains(path.as_str()),
            Reach::PartitionPositions(scope) | Reach::PartitionRows(scope) => scopes.contains(scope),
            Reach::AllRows => true,
        };
        let doomed = deletes.iter().filter(|delete| {
            let looked_at = self.rewrite.remove_dangling || touched(&delete.reach);
            (looked_at && live.leaves_dangling(&delete.reach, delete.sequence))
                || live.all_newer_than(delete.sequence)
        });
        Ok(doomed.map(|delete| &delete.key).collect())
    }

    /// The data files that will be live: those of the newest snapshot without the replaced, and the new ones.
    async fn live_data(&self, data: &[ManifestFile], deletes: &[LiveDelete]) -> Result<LiveData, FileError> {
        let named: HashSet<&str> = deletes
            .iter()
            .filter_map(|delete| match &delete.reach {
                Reach::File(path) => Some(path.as_str()),
                _ => None,
            })
            .collect();
        let gone = self.gone();
        let mut live = LiveData::default();
        let mut stream = std::pin::pin!(self.rewrite.cache.stream(&self.base.io, with_live_files(data)));
        while let Some((file, manifest)) = stream.try_next().await? {
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let path = entry.file_path();
                if !gone.contains(path) {
                    let sequence = Sequence {
                        data: entry.sequence_number().unwrap_or(0),
                        file: entry.file_sequence_number,
                    };
                    let scope = ScopeKey::new(file.partition_spec_id, entry.data_file().partition());
                    let path = normalize_location(path);
                    live.add(&path, named.contains(path.as_ref()), scope, sequence);
                }
            }
        }
        self.add_new(&mut live);
        Ok(live)
    }

    fn add_new(&self, live: &mut LiveData) {
        let commit = self.base.metadata.next_sequence_number();
        let sequence = Sequence {
            data: if self.rewrite.keep_sequence_number { self.rewrite.sequence_number } else { commit },
            file: Some(commit),
        };
        for file in self.groups.iter().flat_map(|group| &group.added) {
            let scope = ScopeKey::new(self.rewrite.output_spec.spec_id(), file.partition());
            live.add(file.file_path(), false, scope, sequence);
        }
    }
}

/// Whether a manifest's partition fields have the ids and types of `current`.
fn same_types(manifest: &Manifest, current: &[iceberg::spec::NestedFieldRef]) -> bool {
    let meta = manifest.metadata();
    let Ok(own) = meta.partition_spec().partition_type(meta.schema()) else {
        return false;
    };
    let types = |fields: &[iceberg::spec::NestedFieldRef]| -> Vec<(i32, Type)> {
        fields.iter().map(|field| (field.id, (*field.field_type).clone())).collect()
    };
    types(own.fields()) == types(current)
}

fn snapshot(base: &LoadedTable, id: i64, list: String, summary: Summary, now: Timestamp) -> Snapshot {
    let metadata = &base.metadata;
    // Clocks of writers differ; history must not run backwards for it.
    let timestamp_ms = (now.as_micros() / 1000).max(metadata.last_updated_ms());
    Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(metadata.current_snapshot_id())
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(timestamp_ms)
        .with_manifest_list(list)
        .with_summary(summary)
        .with_schema_id(metadata.current_schema_id())
        .build()
}

fn change(base: &LoadedTable, head: &Snapshot, snapshot: Snapshot) -> TableChange {
    let retention = base.refs().get(MAIN_BRANCH).map(|main| main.retention.clone());
    let reference = SnapshotReference {
        snapshot_id: snapshot.snapshot_id(),
        retention: retention.unwrap_or_else(|| SnapshotRetention::branch(None, None, None)),
    };
    TableChange {
        requirements: vec![
            TableRequirement::UuidMatch {
                uuid: base.metadata.uuid(),
            },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: MAIN_BRANCH.to_owned(),
                snapshot_id: Some(head.snapshot_id()),
            },
        ],
        updates: vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef {
                ref_name: MAIN_BRANCH.to_owned(),
                reference,
            },
        ],
    }
}
