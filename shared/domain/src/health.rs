//! What is known of a table's state: facts read from its metadata, and what each action would do about them.

use std::collections::{BTreeMap, HashMap};

use crate::{Action, Duration, Preview, PreviewSource, TableId, Timestamp};

/// Time for which stored health is as good as read now (operations.md, Orchestrator): since it was read, or since the
/// table's metadata was last seen unchanged.
pub const HEALTH_MAX_AGE: Duration = Duration::from_seconds(15 * 60);
/// Age up to which health of unchanged metadata is believed: all of it follows from the metadata but for snapshots
/// that have come of age since.
pub const UNCHANGED_HEALTH_MAX_AGE: Duration = Duration::from_seconds(6 * 3600);

/// Tells the settings of a deployment, which the outlook depends on, from others: FNV-1a of the pairs in order.
pub fn settings_hash(deployment: &HashMap<String, String>) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    // No text holds 255, which keeps names and values apart.
    let ended = |text: &str| text.bytes().chain([0xff]).collect::<Vec<_>>();
    let sorted: BTreeMap<_, _> = deployment.iter().collect();
    let bytes = sorted
        .into_iter()
        .flat_map(|(name, value)| [ended(name), ended(value)].concat());
    bytes.fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// What is known of a table now, to hold a kept report against.
#[derive(Clone, Copy, Debug)]
pub struct TableNow<'a> {
    /// Its newest metadata file as the table cache has it.
    pub metadata_location: Option<&'a str>,
    /// When the table cache was last in step with the catalog.
    pub synced_at: Option<Timestamp>,
    /// The [`settings_hash`] of the deployment.
    pub settings_hash: u64,
    /// Now.
    pub now: Timestamp,
}

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
    /// The [`settings_hash`] of the deployment the outlook was made for; absent in old reports.
    pub settings_hash: Option<u64>,
    /// When it was read.
    pub collected_at: Timestamp,
}

impl TableHealth {
    /// Whether it still describes the table. A table cache that nobody syncs tells nothing of changes: then it is good
    /// for no longer than health of changed metadata.
    pub fn is_fresh(&self, table: TableNow<'_>) -> bool {
        let is_unchanged = table.metadata_location == Some(self.metadata_location.as_str());
        let seen_unchanged_at = table.synced_at.filter(|_| is_unchanged);
        let true_at = seen_unchanged_at.map_or(self.collected_at, |seen| seen.max(self.collected_at));
        self.settings_hash == Some(table.settings_hash)
            && table.now - true_at <= HEALTH_MAX_AGE
            && table.now - self.collected_at <= UNCHANGED_HEALTH_MAX_AGE
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
            settings_hash: Some(SETTINGS),
            collected_at,
        }
    }

    const SETTINGS: u64 = 7;

    /// As a table cache tells that was synced just now.
    fn table(metadata_location: Option<&str>, now: Timestamp) -> TableNow<'_> {
        TableNow {
            metadata_location,
            synced_at: Some(now),
            settings_hash: SETTINGS,
            now,
        }
    }

    #[test]
    fn health_of_unchanged_metadata_lasts_longer() {
        let read = Timestamp::from_micros(0);
        let health = health(read);
        let same = Some("s3://bucket/db/t/metadata/1.json");
        let (soon, later) = (read + HEALTH_MAX_AGE, read + UNCHANGED_HEALTH_MAX_AGE);
        let is_fresh = |location, now| health.is_fresh(table(location, now));
        assert!(is_fresh(Some("other"), soon) && is_fresh(None, soon));
        assert!(is_fresh(same, later));
        assert!(!is_fresh(Some("other"), later) && !is_fresh(None, later));
        assert!(!is_fresh(same, later + Duration::from_seconds(1)));
    }

    #[test]
    fn what_a_stale_table_cache_says_of_changes_is_not_believed() {
        let read = Timestamp::from_micros(0);
        let health = health(read);
        let (soon, second) = (read + HEALTH_MAX_AGE, Duration::from_seconds(1));
        let is_fresh = |synced_at, now| {
            health.is_fresh(TableNow {
                synced_at,
                ..table(Some("s3://bucket/db/t/metadata/1.json"), now)
            })
        };
        assert!(is_fresh(None, soon) && !is_fresh(None, soon + second));
        let synced = soon + second;
        assert!(is_fresh(Some(synced), synced + HEALTH_MAX_AGE));
        assert!(!is_fresh(Some(synced), synced + HEALTH_MAX_AGE + second));
        // A sync before the report says nothing of it.
        assert!(is_fresh(Some(read - Duration::from_days(1)), soon));
    }

    #[test]
    fn health_for_other_settings_is_stale() {
        let read = Timestamp::from_micros(0);
        let location = Some("s3://bucket/db/t/metadata/1.json");
        let of = |settings_hash| TableHealth {
            settings_hash,
            ..health(read)
        };
        assert!(of(Some(SETTINGS)).is_fresh(table(location, read)));
        assert!(!of(Some(SETTINGS + 1)).is_fresh(table(location, read)));
        assert!(!of(None).is_fresh(table(location, read)), "an old report");
    }

    #[test]
    fn settings_are_told_apart() {
        let hash = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()));
            settings_hash(&owned.collect())
        };
        let all = [
            hash(&[]),
            hash(&[("a", "1")]),
            hash(&[("a", "2")]),
            hash(&[("a1", "")]),
            hash(&[("a", "1"), ("b", "1")]),
        ];
        let distinct: std::collections::BTreeSet<_> = all.into();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(hash(&[("a", "1"), ("b", "1")]), hash(&[("b", "1"), ("a", "1")]));
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
