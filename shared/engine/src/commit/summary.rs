//! The snapshot summary: what a commit added and removed, and the table's totals (Java's `SnapshotSummary`).

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{DataContentType, DataFile, DataFileFormat, Operation, Summary};

use super::scope::ScopeKey;

/// Counts of one direction, added or removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    data_files: u64,
    records: u64,
    size: u64,
    delete_files: u64,
    position_delete_files: u64,
    position_deletes: u64,
    equality_delete_files: u64,
    equality_deletes: u64,
    vectors: u64,
}

impl Tally {
    fn count(&mut self, file: &DataFile) {
        let is_vector = file.file_format() == DataFileFormat::Puffin;
        self.size += vector_bytes(file).unwrap_or_else(|| file.file_size_in_bytes());
        match file.content_type() {
            DataContentType::Data => {
                self.data_files += 1;
                self.records += file.record_count();
            }
            DataContentType::PositionDeletes => {
                self.delete_files += 1;
                self.vectors += u64::from(is_vector);
                self.position_delete_files += u64::from(!is_vector);
                self.position_deletes += file.record_count();
            }
            DataContentType::EqualityDeletes => {
                self.delete_files += 1;
                self.equality_delete_files += 1;
                self.equality_deletes += file.record_count();
            }
        }
    }
}

/// A deletion vector counts with its own bytes, not with those of the Puffin file that holds many.
fn vector_bytes(file: &DataFile) -> Option<u64> {
    let bytes = file.content_size_in_bytes()?;
    u64::try_from(bytes).ok()
}

/// How many manifests of the new snapshot come from where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ManifestCounts {
    /// Written by this commit.
    pub(crate) created: u64,
    /// Carried over untouched.
    pub(crate) kept: u64,
    /// Of the parent snapshot, rewritten or merged by this commit.
    pub(crate) replaced: u64,
}

/// Collects what a commit changes.
#[derive(Debug, Default)]
pub(crate) struct SummaryBuilder {
    added: Tally,
    removed: Tally,
    partitions: HashSet<ScopeKey>,
}

impl SummaryBuilder {
    /// Counts a new file.
    pub(crate) fn added(&mut self, spec_id: i32, file: &DataFile) {
        self.added.count(file);
        self.partitions.insert(ScopeKey::new(spec_id, file.partition()));
    }

    /// Counts a removed file.
    pub(crate) fn removed(&mut self, spec_id: i32, file: &DataFile) {
        self.removed.count(file);
        self.partitions.insert(ScopeKey::new(spec_id, file.partition()));
    }

    /// Rows added and rows of removed data files.
    pub(crate) fn records(&self) -> (u64, u64) {
        (self.added.records, self.removed.records)
    }

    /// Position deletes added, and those of removed delete files.
    pub(crate) fn position_deletes(&self) -> (u64, u64) {
        (self.added.position_deletes, self.removed.position_deletes)
    }

    /// Delete files removed.
    pub(crate) fn removed_delete_files(&self) -> u64 {
        self.removed.delete_files
    }

    /// The summary of a replace snapshot on top of `parent`'s. A total the parent does not state, or
    /// states wrongly, is left out, as Java does: guessing it would be wrong for ever.
    pub(crate) fn replace(
        self,
        parent: &Summary,
        manifests: ManifestCounts,
        extra: &BTreeMap<String, String>,
    ) -> Summary {
        let mut properties: HashMap<String, String> = extra
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for (name, count) in self.changes() {
            if count > 0 {
                properties.insert(name.to_owned(), count.to_string());
            }
        }
        for (name, added, removed) in self.totals() {
            if let Some(total) = new_total(parent, name, added, removed) {
                properties.insert(name.to_owned(), total.to_string());
            }
        }
        let counts = [
            ("changed-partition-count", self.partitions.len() as u64),
            ("manifests-created", manifests.created),
            ("manifests-kept", manifests.kept),
            ("manifests-replaced", manifests.replaced),
        ];
        properties.extend(counts.map(|(name, count)| (name.to_owned(), count.to_string())));
        Summary {
            operation: Operation::Replace,
            additional_properties: properties,
        }
    }

    fn changes(&self) -> [(&'static str, u64); 18] {
        let (added, removed) = (self.added, self.removed);
        [
            ("added-data-files", added.data_files),
            ("deleted-data-files", removed.data_files),
            ("added-records", added.records),
            ("deleted-records", removed.records),
            ("added-files-size", added.size),
            ("removed-files-size", removed.size),
            ("added-delete-files", added.delete_files),
            ("removed-delete-files", removed.delete_files),
            ("added-position-delete-files", added.position_delete_files),
            ("removed-position-delete-files", removed.position_delete_files),
            ("added-position-deletes", added.position_deletes),
            ("removed-position-deletes", removed.position_deletes),
            ("added-equality-delete-files", added.equality_delete_files),
            ("removed-equality-delete-files", removed.equality_delete_files),
            ("added-equality-deletes", added.equality_deletes),
            ("removed-equality-deletes", removed.equality_deletes),
            ("added-dvs", added.vectors),
            ("removed-dvs", removed.vectors),
        ]
    }

    fn totals(&self) -> [(&'static str, u64, u64); 6] {
        let (added, removed) = (self.added, self.removed);
        [
            ("total-records", added.records, removed.records),
            ("total-files-size", added.size, removed.size),
            ("total-data-files", added.data_files, removed.data_files),
            ("total-delete-files", added.delete_files, removed.delete_files),
            (
                "total-position-deletes",
                added.position_deletes,
                removed.position_deletes,
            ),
            (
                "total-equality-deletes",
                added.equality_deletes,
                removed.equality_deletes,
            ),
        ]
    }
}

fn new_total(parent: &Summary, name: &str, added: u64, removed: u64) -> Option<u64> {
    let before: u64 = parent.additional_properties.get(name)?.parse().ok()?;
    before.checked_add(added)?.checked_sub(removed)
}

#[cfg(test)]
mod tests {
    use iceberg::spec::DataFileBuilder;

    use super::*;

    fn file(content: DataContentType, records: u64, size: u64) -> DataFile {
        DataFileBuilder::default()
            .content(content)
            .file_path("f".to_owned())
            .file_format(DataFileFormat::Parquet)
            .record_count(records)
            .file_size_in_bytes(size)
            .build()
            .unwrap()
    }

    #[test]
    fn totals_follow_the_parent_and_unknown_ones_stay_unknown() {
        let mut builder = SummaryBuilder::default();
        builder.removed(0, &file(DataContentType::Data, 10, 100));
        builder.removed(0, &file(DataContentType::PositionDeletes, 3, 7));
        builder.removed(0, &file(DataContentType::EqualityDeletes, 2, 5));
        builder.added(0, &file(DataContentType::Data, 7, 60));
        assert_eq!(builder.records(), (7, 10));
        let parent = Summary {
            operation: Operation::Append,
            additional_properties: HashMap::from([
                ("total-records".to_owned(), "50".to_owned()),
                ("total-data-files".to_owned(), "5".to_owned()),
                ("total-delete-files".to_owned(), "1".to_owned()),
                ("total-files-size".to_owned(), "many".to_owned()),
            ]),
        };
        let extra = BTreeMap::from([("engine-name".to_owned(), "snowpack".to_owned())]);
        let summary = builder.replace(&parent, ManifestCounts::default(), &extra);
        let get = |name: &str| summary.additional_properties.get(name).map(String::as_str);
        assert_eq!(get("total-records"), Some("47"));
        assert_eq!(get("total-data-files"), Some("5"));
        assert_eq!(get("removed-files-size"), Some("112"));
        assert_eq!(get("removed-position-deletes"), Some("3"));
        assert_eq!(get("removed-equality-delete-files"), Some("1"));
        assert_eq!(get("changed-partition-count"), Some("1"));
        assert_eq!(get("engine-name"), Some("snowpack"));
        assert_eq!(get("total-delete-files"), None, "the parent's count was wrong");
        assert_eq!(
            (get("total-files-size"), get("total-position-deletes")),
            (None, None)
        );
        assert_eq!(get("added-delete-files"), None);
    }
}
