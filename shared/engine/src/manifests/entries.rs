//! Live entries on their way from one manifest to another: what they are sorted by, and how much they weigh.

use std::borrow::Cow;
use std::sync::Arc;

use iceberg::spec::{DataFile, Manifest, ManifestEntry, StructType};
use snowpack_manifest::to_builder;
use snowpack_plan::{PartitionKey, promoted_partition};

/// Bytes an entry takes before compression, besides its path and statistics.
const ENTRY_BYTES: u64 = 80;
/// Bytes of a count in a column's statistics with its field id.
const COUNT_BYTES: u64 = 6;
/// Bytes of a bound with its field id; those of long texts are cut by their writer.
const BOUND_BYTES: u64 = 16;

/// A live entry.
#[derive(Clone, Debug)]
pub(super) struct SortedEntry {
    /// Its partition.
    pub(super) key: PartitionKey,
    /// The entry, its partition values of the types they have now.
    pub(super) entry: Arc<ManifestEntry>,
    /// About how many bytes it takes before compression. Only ratios of weights matter.
    pub(super) weight: u64,
}

/// The live entries of a manifest, in its order.
pub(super) fn live_entries<'a>(
    manifest: &'a Manifest,
    partition_type: &'a StructType,
) -> impl Iterator<Item = SortedEntry> + 'a {
    let live = manifest.entries().iter().filter(|entry| entry.is_alive());
    live.map(|entry| SortedEntry {
        key: PartitionKey::of(entry.data_file().partition()),
        weight: weight(entry.data_file()),
        entry: promoted(entry, partition_type),
    })
}

fn weight(file: &DataFile) -> u64 {
    let counts = file.column_sizes().len()
        + file.value_counts().len()
        + file.null_value_counts().len()
        + file.nan_value_counts().len();
    let bounds = file.lower_bounds().len() + file.upper_bounds().len();
    ENTRY_BYTES + file.file_path().len() as u64 + counts as u64 * COUNT_BYTES + bounds as u64 * BOUND_BYTES
}

/// Partition values can only be written under the types the new manifest's schema gives them.
fn promoted(entry: &Arc<ManifestEntry>, partition_type: &StructType) -> Arc<ManifestEntry> {
    match promoted_partition(entry.data_file().partition(), partition_type) {
        Cow::Borrowed(_) => Arc::clone(entry),
        Cow::Owned(partition) => Arc::new(ManifestEntry {
            status: entry.status,
            snapshot_id: entry.snapshot_id,
            sequence_number: entry.sequence_number,
            file_sequence_number: entry.file_sequence_number,
            data_file: to_builder(entry.data_file())
                .partition(partition)
                .build()
                .expect("every required field is set"),
        }),
    }
}
