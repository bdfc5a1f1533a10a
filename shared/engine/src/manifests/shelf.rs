//! Rewrites the manifests of one spec and content.
//!
//! Memory: the entries of one run of overlapping manifests, or, where a run is larger than [`RUN_WEIGHT`],
//! of a range of its partitions of about that weight; then its manifests are read again for every range. A
//! single partition beyond that needs no sorting and streams. To this come two targets' worth of waiting
//! entries, the manifests being read, and the distinct partitions of a large run.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use futures::TryStreamExt;
use iceberg::spec::{ManifestContentType, ManifestFile, StructType};
use snowpack_catalog::LoadedTable;
use snowpack_plan::{ManifestRun, ManifestShelf, PartitionKey, partition_schema, small_bytes};
use snowpack_service::ports::Supervisor;

use super::entries::{SortedEntry, live_entries};
use super::packer::{Labels, Packer};
use crate::commit::{ManifestCache, Workshop};
use crate::error::EngineError;

/// Weight of the entries sorted at once. In memory an entry takes a few times its weight.
const RUN_WEIGHT: u64 = 64 * 1024 * 1024;
/// Stored bytes of a run that is read at once without asking how much it weighs: deflated entries grow about
/// tenfold when their statistics repeat.
const RUN_BYTES: u64 = RUN_WEIGHT / 10;

/// A shelf whose new manifests are written.
#[derive(Clone, Debug)]
pub(super) struct FinishedShelf {
    pub(super) spec_id: i32,
    pub(super) content: ManifestContentType,
    /// Paths of the manifests that go.
    pub(super) replaced: Vec<String>,
    /// The manifests that take their place.
    pub(super) created: Vec<ManifestFile>,
    /// Entries in them.
    pub(super) entries: u64,
}

/// What rewriting a shelf needs.
pub(super) struct ShelfWriter<'a, S> {
    pub(super) table: &'a LoadedTable,
    pub(super) supervisor: &'a S,
    pub(super) target_bytes: u64,
    pub(super) run_weight: u64,
    partition_type: StructType,
    entries: u64,
}

impl<'a, S: Supervisor> ShelfWriter<'a, S> {
    pub(super) fn new(table: &'a LoadedTable, supervisor: &'a S, target_bytes: u64) -> Self {
        Self {
            table,
            supervisor,
            target_bytes,
            run_weight: RUN_WEIGHT,
            partition_type: StructType::new(Vec::new()),
            entries: 0,
        }
    }

    /// Rewrites a shelf.
    ///
    /// # Errors
    /// A manifest cannot be read or written, an entry got lost, or the supervisor says stop.
    pub(super) async fn write(
        mut self,
        shelf: ManifestShelf,
        workshop: &mut Workshop<'_>,
    ) -> Result<FinishedShelf, EngineError> {
        let metadata = &self.table.metadata;
        const PLANNED: &str = "a shelf is planned only under a spec and a schema the table has";
        let (schema, partition_type) = partition_schema(metadata, shelf.spec_id).expect(PLANNED);
        self.partition_type = partition_type;
        let spec = metadata.partition_spec_by_id(shelf.spec_id).expect(PLANNED);
        let labels = Labels {
            content: shelf.content,
            schema,
            spec: spec.clone(),
        };
        let mut packer = Packer::new(labels, self.target_bytes, workshop);
        let mut replaced: Vec<_> = shelf.dropped.into_iter().map(path).collect();
        for run in shelf.runs {
            self.supervisor.poll()?;
            if run.is_keepable && packer.close(small_bytes(self.target_bytes)).await? {
                continue;
            }
            self.write_run(&run, &mut packer).await?;
            replaced.extend(run.manifests.into_iter().map(path));
        }
        packer.close(0).await?;
        let finished = FinishedShelf {
            spec_id: shelf.spec_id,
            content: shelf.content,
            replaced,
            created: packer.written,
            entries: self.entries,
        };
        self.check(&finished)?;
        Ok(finished)
    }

    async fn write_run(&mut self, run: &ManifestRun, packer: &mut Packer<'_, '_>) -> Result<(), EngineError> {
        let bytes: i64 = run
            .manifests
            .iter()
            .map(|manifest| manifest.manifest_length)
            .sum();
        if u64::try_from(bytes).unwrap_or(0) <= self.run_weight / (RUN_WEIGHT / RUN_BYTES) {
            return self.write_range(run, None, packer).await;
        }
        for range in self.ranges(run).await? {
            self.write_range(run, Some(range), packer).await?;
        }
        Ok(())
    }

    /// Writes a run's entries, or those of a range of its partitions.
    async fn write_range(
        &mut self,
        run: &ManifestRun,
        range: Option<RangeInclusive<PartitionKey>>,
        packer: &mut Packer<'_, '_>,
    ) -> Result<(), EngineError> {
        let is_one_partition = range.as_ref().is_some_and(|range| range.start() == range.end());
        let cache = ManifestCache::none();
        let mut manifests = std::pin::pin!(cache.stream(&self.table.io, run.manifests.clone()));
        let mut collected: Vec<SortedEntry> = Vec::new();
        while let Some((_, manifest)) = manifests.try_next().await? {
            self.supervisor.poll()?;
            let entries = live_entries(&manifest, &self.partition_type)
                .filter(|entry| range.as_ref().is_none_or(|range| range.contains(&entry.key)));
            let before = collected.len();
            collected.extend(entries);
            self.entries += (collected.len() - before) as u64;
            if is_one_partition {
                packer.push(std::mem::take(&mut collected)).await?;
            }
        }
        packer.push(collected).await?;
        Ok(())
    }

    /// Cuts a run into ranges of partitions that can be sorted at once.
    async fn ranges(&self, run: &ManifestRun) -> Result<Vec<RangeInclusive<PartitionKey>>, EngineError> {
        let mut weights: BTreeMap<PartitionKey, u64> = BTreeMap::new();
        let cache = ManifestCache::none();
        let mut manifests = std::pin::pin!(cache.stream(&self.table.io, run.manifests.clone()));
        while let Some((_, manifest)) = manifests.try_next().await? {
            self.supervisor.poll()?;
            for entry in live_entries(&manifest, &self.partition_type) {
                *weights.entry(entry.key).or_default() += entry.weight;
            }
        }
        Ok(cut(weights, self.run_weight))
    }

    fn check(&self, finished: &FinishedShelf) -> Result<(), EngineError> {
        let count = |manifest: &ManifestFile| u64::from(manifest.existing_files_count.unwrap_or(0));
        let written = finished.created.iter().map(count).sum();
        if written == self.entries {
            return Ok(());
        }
        Err(EngineError::EntryCount {
            table: self.table.id.to_string(),
            read: self.entries,
            written,
        })
    }
}

fn path(manifest: ManifestFile) -> String {
    manifest.manifest_path
}

/// Ranges of at most `limit`, a heavier partition alone.
fn cut(weights: BTreeMap<PartitionKey, u64>, limit: u64) -> Vec<RangeInclusive<PartitionKey>> {
    let mut ranges: Vec<RangeInclusive<PartitionKey>> = Vec::new();
    let mut room = 0;
    for (key, weight) in weights {
        match ranges.last_mut() {
            Some(range) if weight <= room => {
                room -= weight;
                *range = range.start().clone()..=key;
            }
            _ => {
                room = limit.saturating_sub(weight);
                ranges.push(key.clone()..=key);
            }
        }
    }
    ranges
}
