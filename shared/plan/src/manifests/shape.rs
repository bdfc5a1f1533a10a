//! When manifests are in shape: few enough, of good size, sorted, without dead weight.
//!
//! Decided from the manifest list alone. Every rule holds for what a rewrite leaves, whatever it was given:
//! that is what makes a second run find nothing to do.

use iceberg::spec::ManifestFile;

use super::key::Footprint;

/// Percent of the target size below which a manifest is small. More manifests than fit at this size are too many.
const SMALL_PERCENT: u64 = 75;
/// A manifest of more times the target size is split.
const OVERSIZE_FACTOR: u64 = 2;
/// Manifests are tangled when a query of one partition reads this percentage of what it would have to.
const TANGLED_PERCENT: u128 = 150;

/// A manifest with live entries, and what the rules look at.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) file: ManifestFile,
    footprint: Option<Footprint>,
    live: u64,
    dead: u64,
}

impl Candidate {
    pub(super) fn new(file: ManifestFile, footprint: Option<Footprint>) -> Self {
        let count = |count: Option<u32>| u64::from(count.unwrap_or(0));
        Self {
            live: count(file.added_files_count) + count(file.existing_files_count),
            dead: count(file.deleted_files_count),
            footprint,
            file,
        }
    }

    /// Bytes of the manifest that live entries account for.
    pub(super) fn live_bytes(&self) -> u64 {
        let length = u64::try_from(self.file.manifest_length).unwrap_or(0);
        let entries = self.live + self.dead;
        if entries == 0 {
            return length;
        }
        (u128::from(length) * u128::from(self.live) / u128::from(entries)) as u64
    }

    /// Whether the manifest alone needs a rewrite, and has one that helps.
    fn is_out_of_shape(&self, target_bytes: u64) -> bool {
        self.dead > self.live || (self.live > 1 && self.live_bytes() > OVERSIZE_FACTOR * target_bytes)
    }

    fn is_small(&self, target_bytes: u64) -> bool {
        self.live_bytes() < small_bytes(target_bytes)
    }

    /// Whether the manifest may stay as it is in the middle of a rewrite.
    pub(super) fn is_keepable(&self, target_bytes: u64) -> bool {
        !self.is_small(target_bytes) && !self.is_out_of_shape(target_bytes)
    }

    fn is_before(&self, next: &Self) -> bool {
        match (&self.footprint, &next.footprint) {
            (Some(ours), Some(theirs)) => ours.is_before(theirs),
            _ => false,
        }
    }
}

/// The size below which a manifest is small.
pub fn small_bytes(target_bytes: u64) -> u64 {
    target_bytes / 100 * SMALL_PERCENT
}

/// Sorts the manifests of one spec and content as a sorted table would list them.
pub(super) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| a.footprint.cmp(&b.footprint));
}

/// Whether sorted manifests are in shape.
pub(super) fn is_in_shape(sorted: &[Candidate], target_bytes: u64) -> bool {
    let bytes: u64 = sorted.iter().map(Candidate::live_bytes).sum();
    let enough = bytes.div_ceil(small_bytes(target_bytes).max(1)).max(1);
    sorted.len() as u64 <= enough
        && !sorted
            .iter()
            .any(|candidate| candidate.is_out_of_shape(target_bytes))
        && !is_tangled(sorted)
}

/// Whether manifests cover each other's partitions so much that queries of few partitions suffer. Compares
/// the bytes to read for the partitions of each manifest, weighted by its size, with the manifest's own.
fn is_tangled(sorted: &[Candidate]) -> bool {
    let (mut read, mut own) = (0_u128, 0_u128);
    for (index, candidate) in sorted.iter().enumerate() {
        let bytes = u128::from(candidate.live_bytes());
        own += bytes * bytes;
        let overlapping = sorted[index + 1..]
            .iter()
            .filter(|later| !candidate.is_before(later));
        let others: u128 = overlapping.map(|later| u128::from(later.live_bytes())).sum();
        read += bytes * bytes + 2 * bytes * others;
    }
    read * 100 > own * TANGLED_PERCENT
}

/// Cuts sorted manifests into runs that do not overlap, so that each can be sorted by itself.
pub(super) fn runs(sorted: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    let mut runs: Vec<Vec<Candidate>> = Vec::new();
    for candidate in sorted {
        match runs.last_mut() {
            Some(run) if run.iter().any(|earlier| !earlier.is_before(&candidate)) => run.push(candidate),
            _ => runs.push(vec![candidate]),
        }
    }
    runs
}
