//! Packs a stream of entries, ranges of partitions in order, into manifests of the target size.
//!
//! How well entries compress is measured on the manifests written. Every manifest but the last has at least
//! [`small_bytes`] of the target size and none of more than one entry much more than it, so that what comes
//! out is in shape for the planner.

use iceberg::spec::{ManifestContentType, ManifestFile, PartitionSpecRef, SchemaRef};
use snowpack_manifest::EncodedManifest;
use snowpack_plan::small_bytes;

use super::entries::SortedEntry;
use crate::commit::Workshop;
use crate::file_error::FileError;

/// Compressed bytes per unit of weight before anything was measured: what deflate makes of paths and counts.
const FIRST_RATIO: f64 = 0.25;
/// Entries wait until they fill about this many manifests, so that the last two can share evenly.
const MANIFESTS_AHEAD: f64 = 2.0;
/// A manifest may be this much larger than the target (Spark allows 1.2).
const TOLERANCE: f64 = 1.25;
/// How much a manifest that came out too large shrinks at least before the next try.
const SHRINK: f64 = 0.8;

/// What all manifests of one shelf have in common.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    pub(super) content: ManifestContentType,
    pub(super) schema: SchemaRef,
    pub(super) spec: PartitionSpecRef,
}

/// Entries waiting to be written, and manifests written.
pub(super) struct Packer<'a, 'w> {
    labels: Labels,
    target_bytes: u64,
    workshop: &'a mut Workshop<'w>,
    waiting: Vec<SortedEntry>,
    ratio: f64,
    /// Manifests written so far.
    pub(super) written: Vec<ManifestFile>,
}

/// A manifest made of the first waiting entries.
struct Cut {
    count: usize,
    manifest: EncodedManifest,
    was_shrunk: bool,
}

impl<'a, 'w> Packer<'a, 'w> {
    pub(super) fn new(labels: Labels, target_bytes: u64, workshop: &'a mut Workshop<'w>) -> Self {
        Self {
            labels,
            target_bytes,
            workshop,
            waiting: Vec::new(),
            ratio: FIRST_RATIO,
            written: Vec::new(),
        }
    }

    /// Takes entries and writes what is certain to fill a manifest. Two targets' worth of entries stay.
    pub(super) async fn push(&mut self, entries: Vec<SortedEntry>) -> Result<(), FileError> {
        self.waiting.extend(entries);
        // Neighbouring runs may share a partition.
        self.waiting.sort_by(|a, b| a.key.cmp(&b.key));
        while self.estimate() >= MANIFESTS_AHEAD * self.target_bytes as f64 {
            let cut = self.encode(self.target_bytes as f64 / self.ratio).await?;
            // Entries that compress better than thought: the next try knows `ratio`, and takes more of them.
            let is_enough = cut.was_shrunk || cut.manifest.size() >= small_bytes(self.target_bytes);
            if is_enough {
                self.write(cut).await?;
            }
        }
        Ok(())
    }

    /// Writes what waits if it fills at least `at_least_bytes`, and says whether nothing waits any more.
    pub(super) async fn close(&mut self, at_least_bytes: u64) -> Result<bool, FileError> {
        if self.waiting.is_empty() {
            return Ok(true);
        }
        let all = self.encode_first(self.waiting.len()).await?;
        if all.size() < at_least_bytes {
            return Ok(false);
        }
        if self.fits(&all) || self.waiting.len() == 1 {
            let cut = Cut {
                count: self.waiting.len(),
                manifest: all,
                was_shrunk: false,
            };
            self.write(cut).await?;
            return Ok(true);
        }
        let mut parts = all.size().div_ceil(self.target_bytes);
        while !self.waiting.is_empty() {
            let weight = weight(&self.waiting) / parts.max(1) as f64;
            let cut = self.encode(weight).await?;
            self.write(cut).await?;
            parts = parts.saturating_sub(1);
        }
        Ok(true)
    }

    fn estimate(&self) -> f64 {
        weight(&self.waiting) * self.ratio
    }

    fn fits(&self, manifest: &EncodedManifest) -> bool {
        manifest.size() as f64 <= TOLERANCE * self.target_bytes as f64
    }

    /// Encodes the first entries of about this weight; fewer when they turn out too large.
    async fn encode(&mut self, weight: f64) -> Result<Cut, FileError> {
        let mut goal = weight;
        let mut was_shrunk = false;
        loop {
            let count = self.count_of(goal);
            let manifest = self.encode_first(count).await?;
            if count == 1 || self.fits(&manifest) {
                return Ok(Cut {
                    count,
                    manifest,
                    was_shrunk,
                });
            }
            goal = (self.target_bytes as f64 / self.ratio).min(goal * SHRINK);
            was_shrunk = true;
        }
    }

    /// How many of the first entries come closest to a weight.
    fn count_of(&self, goal: f64) -> usize {
        let mut sum = 0.0;
        let fits = self.waiting.iter().take_while(|entry| {
            sum += entry.weight as f64;
            // Halves of rounding must not leave an entry over.
            sum <= goal + 0.5
        });
        fits.count().max(1)
    }

    async fn encode_first(&mut self, count: usize) -> Result<EncodedManifest, FileError> {
        let chosen = &self.waiting[..count];
        let entries = chosen.iter().map(|entry| entry.entry.as_ref());
        let Labels {
            content,
            schema,
            spec,
        } = &self.labels;
        let encoded = self.workshop.encode_kept(*content, schema, spec, entries).await?;
        self.ratio = encoded.size() as f64 / weight(chosen).max(1.0);
        Ok(encoded)
    }

    async fn write(&mut self, cut: Cut) -> Result<(), FileError> {
        self.written.push(self.workshop.write(cut.manifest).await?);
        self.waiting.drain(..cut.count);
        Ok(())
    }
}

fn weight(entries: &[SortedEntry]) -> f64 {
    entries.iter().map(|entry| entry.weight).sum::<u64>() as f64
}
