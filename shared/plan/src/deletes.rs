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

use crate::applying::{Chosen, DeleteList, DeleteReach, Deletes, place};
use crate::equality::Comparison;
use crate::partition::PartitionTypes;
use crate::state::TableState;
use crate::types::{LiveFile, ScanFile};

/// Field id of `file_path` in position-delete files (spec, Reserved Field IDs).
const DELETE_FILE_PATH_ID: i32 = 2_147_483_546;

/// The delete files of one scope.
#[derive(Debug)]
struct Scope {
    /// The newest data sequence number each applies to, ascending: those of a data file are a suffix.
    applies_to: Vec<i64>,
    list: Arc<DeleteList>,
}

impl Scope {
    fn new(mut files: Vec<Arc<LiveFile>>, reach: DeleteReach) -> Self {
        files.sort_by_key(|file| applies_to(file));
        Self {
            applies_to: files.iter().map(|file| applies_to(file)).collect(),
            list: Arc::new(DeleteList { files, reach }),
        }
    }

    /// The place of the first delete file that applies to data of this sequence number, as do all after it.
    fn first(&self, sequence_number: i64) -> usize {
        self.applies_to
            .partition_point(|applies_to| *applies_to < sequence_number)
    }
}

/// Position deletes apply to the data of their own commit, equality deletes do not.
fn applies_to(delete: &LiveFile) -> i64 {
    match delete.file.content_type() {
        DataContentType::EqualityDeletes => delete.sequence_number - 1,
        _ => delete.sequence_number,
    }
}

/// The equality deletes of one scope with what statistics say about them.
#[derive(Debug)]
struct EqualityScope {
    scope: Scope,
    comparison: Comparison,
}

impl EqualityScope {
    fn new(files: Vec<Arc<LiveFile>>, reach: DeleteReach, metadata: &TableMetadata) -> Self {
        let scope = Scope::new(files, reach);
        let comparison = Comparison::of(&scope.list.files, metadata);
        Self { scope, comparison }
    }

    /// Those that apply to the data file and that statistics do not rule out.
    fn choose(&self, data: &LiveFile) -> Chosen {
        let start = self.scope.first(data.sequence_number);
        let statistics = self.comparison.statistics_of(&data.file);
        let may_match = |index: &usize| self.comparison.may_match(*index, &statistics);
        let all = start..self.scope.list.files.len();
        // Most often statistics rule out nothing, and then there is nothing to write down.
        match all.clone().all(|index| may_match(&index)) {
            true => Chosen::From(start),
            false => Chosen::These(Arc::new(all.filter(may_match).map(place).collect())),
        }
    }
}

/// Finds the delete files of a data file without looking at unrelated ones.
#[derive(Debug)]
pub struct DeleteIndex {
    types: PartitionTypes,
    global: Option<EqualityScope>,
    equality: HashMap<(i32, Struct), EqualityScope>,
    by_partition: HashMap<(i32, Struct), Scope>,
    by_path: HashMap<String, Scope>,
    vectors: HashMap<String, Arc<LiveFile>>,
}

/// Delete files by what they reach.
#[derive(Default)]
struct Sorted {
    global: Vec<Arc<LiveFile>>,
    equality: HashMap<(i32, Struct), Vec<Arc<LiveFile>>>,
    by_partition: HashMap<(i32, Struct), Vec<Arc<LiveFile>>>,
    by_path: HashMap<String, Vec<Arc<LiveFile>>>,
    vectors: HashMap<String, Arc<LiveFile>>,
}

impl Sorted {
    fn add(&mut self, delete: &Arc<LiveFile>, metadata: &TableMetadata, types: &PartitionTypes) {
        let normalized = |path: &str| normalize_location(path).into_owned();
        let reference = referenced_data_file(&delete.file);
        let list = match (delete.file.content_type(), reference) {
            (DataContentType::EqualityDeletes, _) => {
                let spec = metadata.partition_spec_by_id(delete.spec_id);
                match spec.is_some_and(|spec| spec.is_unpartitioned()) {
                    true => &mut self.global,
                    false => self.equality.entry(key(types, delete)).or_default(),
                }
            }
            (_, Some(path)) if delete.file.file_format() == DataFileFormat::Puffin => {
                self.vectors.insert(normalized(&path), Arc::clone(delete));
                return;
            }
            (_, Some(path)) => self.by_path.entry(normalized(&path)).or_default(),
            (_, None) => self.by_partition.entry(key(types, delete)).or_default(),
        };
        list.push(Arc::clone(delete));
    }
}

impl DeleteIndex {
    /// Indexes the state's delete files.
    pub fn new(state: &TableState, metadata: &TableMetadata) -> Self {
        let types = PartitionTypes::of(metadata);
        let mut sorted = Sorted::default();
        for delete in &state.deletes {
            sorted.add(delete, metadata, &types);
        }
        let equality = |files, reach| EqualityScope::new(files, reach, metadata);
        let of_partition = |files| Scope::new(files, DeleteReach::Partition);
        Self {
            types,
            global: (!sorted.global.is_empty()).then(|| equality(sorted.global, DeleteReach::Table)),
            equality: map_values(sorted.equality, |files| equality(files, DeleteReach::Partition)),
            by_partition: map_values(sorted.by_partition, of_partition),
            by_path: map_values(sorted.by_path, |files| Scope::new(files, DeleteReach::File)),
            vectors: sorted.vectors,
        }
    }

    /// Whether the table has no delete files at all.
    pub fn is_empty(&self) -> bool {
        self.global.is_none()
            && self.equality.is_empty()
            && self.by_partition.is_empty()
            && self.by_path.is_empty()
            && self.vectors.is_empty()
    }

    /// The data file with the deletes that apply to it, oldest first within each kind.
    pub fn scan(&self, data: &Arc<LiveFile>) -> ScanFile {
        let mut scan = ScanFile::new(Arc::clone(data));
        if self.is_empty() {
            return scan;
        }
        let key =
            (!self.equality.is_empty() || !self.by_partition.is_empty()).then(|| key(&self.types, data));
        let partition = key.as_ref().and_then(|key| self.equality.get(key));
        for equality in [self.global.as_ref(), partition].into_iter().flatten() {
            scan.equality_deletes
                .add(&equality.scope.list, equality.choose(data));
        }
        scan.position_deletes = self.position_deletes(data, key.as_ref());
        scan
    }

    fn position_deletes(&self, data: &LiveFile, key: Option<&(i32, Struct)>) -> Deletes {
        let path = normalize_location(data.file.file_path());
        let mut deletes = Deletes::default();
        if let Some(vector) = self.vectors.get(path.as_ref()) {
            deletes.push(Arc::clone(vector));
            return deletes;
        }
        let in_partition = key.and_then(|key| self.by_partition.get(key));
        for scope in [in_partition, self.by_path.get(path.as_ref())]
            .into_iter()
            .flatten()
        {
            deletes.add(&scope.list, Chosen::From(scope.first(data.sequence_number)));
        }
        deletes
    }
}

fn map_values<K: Eq + std::hash::Hash, A, B>(map: HashMap<K, A>, of: impl Fn(A) -> B) -> HashMap<K, B> {
    map.into_iter().map(|(key, value)| (key, of(value))).collect()
}

fn key(types: &PartitionTypes, file: &LiveFile) -> (i32, Struct) {
    (
        file.spec_id,
        types.current(file.spec_id, file.file.partition()).into_owned(),
    )
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
