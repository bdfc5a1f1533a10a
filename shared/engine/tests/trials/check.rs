//! Whether a snapshot is valid: everything it references exists, is listed once, and is counted right.

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::{DataFileFormat, FormatVersion, ManifestStatus, Snapshot, TableMetadata};

use crate::commit::totals;
use crate::reader::Live;
use crate::world::World;

impl World {
    /// # Panics
    /// The snapshot breaks a rule of the specification.
    pub(crate) fn check_snapshot(&self, metadata: &TableMetadata, snapshot: &Snapshot) {
        let live = self.live(metadata, snapshot);
        self.check_files(&live, snapshot);
        check_vectors(&live);
        check_totals(&live, snapshot);
        if metadata.format_version() != FormatVersion::V1 {
            self.check_counts(metadata, snapshot);
        }
    }

    fn check_files(&self, live: &[Live], snapshot: &Snapshot) {
        let mut seen = BTreeSet::new();
        for file in live {
            let path = file.path();
            assert!(
                seen.insert((path, file.file.content_offset())),
                "{path} is listed twice"
            );
            assert_eq!(
                self.bytes(path).len() as u64,
                file.file.file_size_in_bytes(),
                "size of {path}"
            );
            assert!(
                file.sequence <= file.file_sequence,
                "{path} is older than its file"
            );
            assert!(
                file.file_sequence <= snapshot.sequence_number(),
                "{path} is from the future"
            );
            if file.is_data() {
                assert_eq!(
                    self.records(path).len() as u64,
                    file.file.record_count(),
                    "rows of {path}"
                );
            }
        }
    }

    /// What the manifest list says about each manifest.
    fn check_counts(&self, metadata: &TableMetadata, snapshot: &Snapshot) {
        for listed in self.manifests(metadata, snapshot) {
            let manifest = self.manifest(&listed);
            let count = |status: ManifestStatus| {
                let entries = manifest.entries().iter().filter(|entry| entry.status() == status);
                let rows = entries.clone().map(|entry| entry.record_count()).sum::<u64>();
                (Some(entries.count() as u32), Some(rows))
            };
            let path = &listed.manifest_path;
            let added = (listed.added_files_count, listed.added_rows_count);
            assert_eq!(added, count(ManifestStatus::Added), "added in {path}");
            let existing = (listed.existing_files_count, listed.existing_rows_count);
            assert_eq!(existing, count(ManifestStatus::Existing), "existing in {path}");
            let deleted = (listed.deleted_files_count, listed.deleted_rows_count);
            assert_eq!(deleted, count(ManifestStatus::Deleted), "deleted in {path}");
            let alive = manifest.entries().iter().filter(|entry| entry.is_alive());
            let least = alive
                .map(|entry| entry.sequence_number().unwrap_or(listed.sequence_number))
                .min();
            assert!(
                least.is_none_or(|least| listed.min_sequence_number <= least),
                "minimum of {path}"
            );
        }
    }
}

fn check_vectors(live: &[Live]) {
    let mut vectors: BTreeMap<_, u32> = BTreeMap::new();
    for file in live
        .iter()
        .filter(|file| file.file.file_format() == DataFileFormat::Puffin)
    {
        *vectors.entry(file.file.referenced_data_file()).or_default() += 1;
    }
    let double = vectors.iter().find(|(_, count)| **count > 1);
    assert!(double.is_none(), "two vectors of one data file: {double:?}");
}

fn check_totals(live: &[Live], snapshot: &Snapshot) {
    let said = &snapshot.summary().additional_properties;
    for (name, total) in totals(live) {
        assert_eq!(
            said.get(name),
            Some(&total.to_string()),
            "{name} of {}",
            snapshot.snapshot_id()
        );
    }
}
