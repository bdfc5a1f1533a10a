//! What is known of a table's state: facts read from its metadata, and what each action would do about them.

use std::collections::BTreeMap;

use crate::{Action, Duration, Preview, PreviewSource, TableId, Timestamp};

/// Age up to which stored health is as good as read now (operations.md, Orchestrator).
pub const HEALTH_MAX_AGE: Duration = Duration::from_seconds(15 * 60);
/// Age up to which health of unchanged metadata is believed: all of it follows from the metadata but for snapshots
/// that have come of age since.
pub const UNCHANGED_HEALTH_MAX_AGE: Duration = Duration::from_seconds(6 * 3600);

/// Live files of the current snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStats {
    /// Data files.
    pub data_files: u64,
    /// Position-delete files, deletion vectors not counted.
    pub position_delete_files: u64,
    /// Equality-delete files.
    pub equality_delete_files: u64,
    /// Deletion vectors.
    pub deletion_vectors: u64,
    /// Bytes of the data files.
    pub total_size_bytes: u64,
    /// Data files below the smallest size that compaction leaves alone.
    pub small_files: u64,
}

impl FileStats {
    /// Deletes of every kind.
    pub fn delete_files(&self) -> u64 {
        self.position_delete_files + self.equality_delete_files + self.deletion_vectors
    }

    /// Mean bytes of a data file; 0 when there is none.
    pub fn average_file_bytes(&self) -> u64 {
        self.total_size_bytes.checked_div(self.data_files).unwrap_or(0)
    }

    /// Small files among the data files, in percent; 0 when there is none.
    pub fn small_file_percent(&self) -> f64 {
        match self.data_files {
            0 => 0.0,
            files => self.small_files as f64 * 100.0 / files as f64,
        }
    }
}

/// A table's health at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct TableHealth {
    /// The table.
    pub table: TableId,
    /// Its location.
    pub location: String,
    /// The metadata file that all of this was read from.
    pub metadata_location: String,
    /// Its format version.
    pub format_version: u8,
    /// Its current snapshot; absent before the first commit.
    pub snapshot_id: Option<i64>,
    /// Its live files.
    pub files: FileStats,
    /// Snapshots in the metadata.
    pub snapshot_count: u64,
    /// When the oldest of them was made.
    pub oldest_snapshot_at: Option<Timestamp>,
    /// Manifests of the current snapshot.
    pub manifest_count: u64,
    /// Rows of the data files, deleted ones included.
    pub total_records: u64,
    /// Rows that position deletes and deletion vectors are known to delete.
    pub deleted_records: u64,
    /// What each action would do with the table's and the deployment's settings: the dry run's numbers.
    pub outlook: BTreeMap<Action, Preview>,
    /// When it was read.
    pub collected_at: Timestamp,
}

impl TableHealth {
    /// Whether it still describes the table, whose newest metadata file is `metadata_location` if that is known.
    pub fn is_fresh(&self, metadata_location: Option<&str>, now: Timestamp) -> bool {
        let age = now - self.collected_at;
        let is_unchanged = metadata_location == Some(self.metadata_location.as_str());
        age <= HEALTH_MAX_AGE || (is_unchanged && age <= UNCHANGED_HEALTH_MAX_AGE)
    }

    /// What an action would do, as of when this was read. `None` when it could not be told then either.
    pub fn remembered(&self, action: Action, now: Timestamp) -> Option<Preview> {
        const MINUTE_MICROS: i64 = 60_000_000;
        let outlook = self.outlook.get(&action)?;
        if outlook.source == PreviewSource::None {
            return None;
        }
        let minutes = (now - self.collected_at).as_micros() / MINUTE_MICROS;
        let age = format!(
            "the table's metadata could not be read in time: this is from its health {minutes} minutes ago, without \
             the job's options"
        );
        let note = match &outlook.note {
            Some(note) => format!("{age}; {note}"),
            None => age,
        };
        Some(Preview {
            source: PreviewSource::Cached,
            numbers: outlook.numbers.clone(),
            note: Some(note),
        })
    }

    /// A number of an action's outlook; absent when it could not be told.
    pub fn expects(&self, action: Action, number: &str) -> Option<u64> {
        self.outlook.get(&action)?.numbers.get(number).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(collected_at: Timestamp) -> TableHealth {
        TableHealth {
            table: TableId::new("db", "t").unwrap(),
            location: "s3://bucket/db/t".to_owned(),
            metadata_location: "s3://bucket/db/t/metadata/1.json".to_owned(),
            format_version: 2,
            snapshot_id: None,
            files: FileStats::default(),
            snapshot_count: 0,
            oldest_snapshot_at: None,
            manifest_count: 0,
            total_records: 0,
            deleted_records: 0,
            outlook: BTreeMap::new(),
            collected_at,
        }
    }

    #[test]
    fn health_of_unchanged_metadata_lasts_longer() {
        let read = Timestamp::from_micros(0);
        let health = health(read);
        let same = Some("s3://bucket/db/t/metadata/1.json");
        let (soon, later) = (read + HEALTH_MAX_AGE, read + UNCHANGED_HEALTH_MAX_AGE);
        assert!(health.is_fresh(Some("other"), soon) && health.is_fresh(None, soon));
        assert!(health.is_fresh(same, later));
        assert!(!health.is_fresh(Some("other"), later) && !health.is_fresh(None, later));
        assert!(!health.is_fresh(same, later + Duration::from_seconds(1)));
    }

    #[test]
    fn shares_of_nothing_are_nothing() {
        let none = FileStats::default();
        assert_eq!((none.average_file_bytes(), none.small_file_percent()), (0, 0.0));
        let some = FileStats {
            data_files: 4,
            total_size_bytes: 10,
            small_files: 1,
            deletion_vectors: 2,
            ..none
        };
        assert_eq!(
            (
                some.average_file_bytes(),
                some.small_file_percent(),
                some.delete_files()
            ),
            (2, 25.0, 2)
        );
    }
}
