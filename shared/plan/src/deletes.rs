//! Which delete files apply to a data file (spec, Scan Planning; Java's `DeleteFileIndex` of 1.10).
//!
//! - Position deletes apply to data files of the same or a lower sequence number: those scoped to one file by
//!   its path, others by partition. In an unpartitioned spec that is the spec's own files only.
//! - Equality deletes apply to data files of a strictly lower sequence number, by partition; those of an
//!   unpartitioned spec are global. One is left out when column statistics show that it cannot match.
//! - A deletion vector replaces every position delete of its file.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{DataContentType, DataFile, DataFileFormat, PrimitiveLiteral, Struct, TableMetadata};
use snowpack_catalog::normalize_location;

use crate::equality::EqualityDelete;
use crate::partition::PartitionTypes;
use crate::state::TableState;
use crate::types::{LiveFile, ScanFile};

/// Field id of `file_path` in position-delete files (spec, Reserved Field IDs).
const DELETE_FILE_PATH_ID: i32 = 2_147_483_546;

/// Delete files sorted by the newest data sequence number they apply to, so that those of a data file are a
/// suffix.
type Sorted<T> = Vec<(i64, T)>;

type ByPartition<T> = HashMap<(i32, Struct), Sorted<T>>;

/// Finds the delete files of a data file without looking at unrelated ones.
#[derive(Debug)]
pub struct DeleteIndex {
    types: PartitionTypes,
    global: Sorted<EqualityDelete>,
    equality: ByPartition<EqualityDelete>,
    by_partition: ByPartition<Arc<LiveFile>>,
    by_path: HashMap<String, Sorted<Arc<LiveFile>>>,
    vectors: HashMap<String, Arc<LiveFile>>,
}

impl DeleteIndex {
    /// Indexes the state's delete files.
    pub fn new(state: &TableState, metadata: &TableMetadata) -> Self {
        let mut index = Self {
            types: PartitionTypes::of(metadata),
            global: Vec::new(),
            equality: HashMap::new(),
            by_partition: HashMap::new(),
            by_path: HashMap::new(),
            vectors: HashMap::new(),
        };
        for delete in &state.deletes {
            index.add(delete, metadata);
        }
        index.sort();
        index
    }

    fn add(&mut self, delete: &Arc<LiveFile>, metadata: &TableMetadata) {
        let applies_to = delete.sequence_number;
        if delete.file.content_type() == DataContentType::EqualityDeletes {
            let equality = EqualityDelete::new(Arc::clone(delete), metadata);
            let spec = metadata.partition_spec_by_id(delete.spec_id);
            let list = if spec.is_some_and(|spec| spec.is_unpartitioned()) {
                &mut self.global
            } else {
                self.equality.entry(key(&self.types, delete)).or_default()
            };
            list.push((applies_to - 1, equality));
            return;
        }
        match referenced_data_file(&delete.file) {
            Some(path) if delete.file.file_format() == DataFileFormat::Puffin => {
                self.vectors
                    .insert(normalize_location(&path).into_owned(), Arc::clone(delete));
            }
            Some(path) => {
                let list = self
                    .by_path
                    .entry(normalize_location(&path).into_owned())
                    .or_default();
                list.push((applies_to, Arc::clone(delete)));
            }
            None => {
                let list = self.by_partition.entry(key(&self.types, delete)).or_default();
                list.push((applies_to, Arc::clone(delete)));
            }
        }
    }

    fn sort(&mut self) {
        self.global.sort_by_key(|(applies_to, _)| *applies_to);
        self.equality
            .values_mut()
            .for_each(|list| list.sort_by_key(|(applies_to, _)| *applies_to));
        self.by_partition
            .values_mut()
            .for_each(|list| list.sort_by_key(|(applies_to, _)| *applies_to));
        self.by_path
            .values_mut()
            .for_each(|list| list.sort_by_key(|(applies_to, _)| *applies_to));
    }

    /// Whether the table has no delete files at all.
    pub fn is_empty(&self) -> bool {
        self.global.is_empty()
            && self.equality.is_empty()
            && self.by_partition.is_empty()
            && self.by_path.is_empty()
            && self.vectors.is_empty()
    }

    /// The data file with the deletes that apply to it, oldest first within each kind.
    pub fn scan(&self, data: &Arc<LiveFile>) -> ScanFile {
        let mut scan = ScanFile {
            data: Arc::clone(data),
            position_deletes: Vec::new(),
            equality_deletes: Vec::new(),
        };
        if self.is_empty() {
            return scan;
        }
        let key =
            (!self.equality.is_empty() || !self.by_partition.is_empty()).then(|| key(&self.types, data));
        let partition = key.as_ref().and_then(|key| self.equality.get(key));
        for list in [Some(&self.global), partition].into_iter().flatten() {
            let matching = applying(list, data.sequence_number).filter(|delete| delete.may_match(&data.file));
            scan.equality_deletes
                .extend(matching.map(|delete| Arc::clone(delete.file())));
        }
        scan.position_deletes = self.position_deletes(data, key.as_ref());
        scan
    }

    fn position_deletes(&self, data: &LiveFile, key: Option<&(i32, Struct)>) -> Vec<Arc<LiveFile>> {
        let path = normalize_location(data.file.file_path());
        if let Some(vector) = self.vectors.get(path.as_ref()) {
            return vec![Arc::clone(vector)];
        }
        let in_partition = key.and_then(|key| self.by_partition.get(key));
        [in_partition, self.by_path.get(path.as_ref())]
            .into_iter()
            .flatten()
            .flat_map(|list| applying(list, data.sequence_number).cloned())
            .collect()
    }
}

fn key(types: &PartitionTypes, file: &LiveFile) -> (i32, Struct) {
    (
        file.spec_id,
        types.current(file.spec_id, file.file.partition()).into_owned(),
    )
}

fn applying<T>(list: &Sorted<T>, sequence_number: i64) -> impl Iterator<Item = &T> {
    let start = list.partition_point(|(applies_to, _)| *applies_to < sequence_number);
    list[start..].iter().map(|(_, delete)| delete)
}

/// The one data file a position-delete file is about, when its metadata says so (`ContentFileUtil`).
pub(crate) fn referenced_data_file(delete: &DataFile) -> Option<String> {
    if delete.content_type() == DataContentType::EqualityDeletes {
        return None;
    }
    if let Some(path) = delete.referenced_data_file() {
        return Some(path);
    }
    let lower = delete.lower_bounds().get(&DELETE_FILE_PATH_ID)?;
    let upper = delete.upper_bounds().get(&DELETE_FILE_PATH_ID)?;
    match lower.literal() {
        PrimitiveLiteral::String(path) if lower == upper => Some(path.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
