//! Row-level deletes of one file group: loaded once, asked for every batch.
//!
//! Which delete files apply to a data file is the planner's decision (`ScanFile`); here they are only read and
//! applied. Memory is bounded by a budget in bytes: deleted positions must fit, deleted keys that do not are
//! joined with the data on disk (`spill`, `join`).

mod equality;
mod filter;
mod join;
mod key_table;
mod keys;
mod position;
mod spill;
pub(crate) mod vector;

use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{NameMapping, NestedFieldRef, TableMetadata};
use roaring::RoaringTreemap;
use snowpack_plan::{DeleteReach, ScanFile, SharedDeletes};
use snowpack_service::ports::Supervisor;
use tokio::sync::OnceCell;

use crate::error::EngineError;
use crate::file_error::FileError;

use equality::{DeletedKeys, EqualityDeletes, KeySet, Wanted};
pub(crate) use filter::RowFilter;
use join::join;
pub(crate) use keys::one_nan;
pub(crate) use position::{FILE_PATH, POS, column};
use spill::SPILL_BYTES;
pub(crate) use spill::SpillError;

/// Memory the deletes of one group may take, in bytes. With two groups at once and what they share, deletes
/// take less than 1 GiB.
const DELETE_BUDGET_BYTES: u64 = 256 * 1024 * 1024;

/// Delete files read at the same time: they are small, so waiting for storage dominates.
const CONCURRENT_FILES: usize = 8;

/// Rows of delete files decoded at once.
const BATCH_ROWS: usize = 16 * 1024;

/// Reads the delete files of one action.
pub(crate) struct DeleteReader {
    io: FileIO,
    table: Arc<TableMetadata>,
    name_mapping: Option<NameMapping>,
    /// Memory for the deletes of each group.
    pub(crate) budget_bytes: u64,
    /// Memory for deleted keys: of a group, as part of its budget, and of those that groups share.
    pub(crate) key_bytes: u64,
    /// Scratch space for one spill.
    pub(crate) scratch_bytes: u64,
    shared: Shared,
}

/// Equality deletes of the whole table: each group would read them all again.
#[derive(Default)]
struct Shared {
    wanted: Vec<Wanted>,
    loaded: OnceCell<Arc<EqualityDeletes>>,
}

impl DeleteReader {
    /// A reader of a table's delete files.
    pub(crate) fn new(io: FileIO, table: Arc<TableMetadata>, name_mapping: Option<NameMapping>) -> Self {
        Self {
            io,
            table,
            name_mapping,
            budget_bytes: DELETE_BUDGET_BYTES,
            key_bytes: DELETE_BUDGET_BYTES,
            scratch_bytes: SPILL_BYTES,
            shared: Shared::default(),
        }
    }

    /// Will read deletes of the whole table that apply to any of these files once, and keep them.
    pub(crate) fn sharing<'a>(mut self, files: impl Iterator<Item = &'a ScanFile>) -> Self {
        let lists = SharedDeletes::of(files.map(|file| &file.equality_deletes));
        let global = lists.iter().filter(|list| list.reach() == DeleteReach::Table);
        self.shared.wanted = global.map(Wanted::of).collect();
        self
    }

    fn is_shared(&self, list: &SharedDeletes) -> bool {
        let mut shared = self.shared.wanted.iter();
        shared.any(|wanted| Arc::ptr_eq(&wanted.list, list.list()))
    }

    /// The deletes of the whole table; the first group to need them reads them.
    async fn shared<S: Supervisor>(&self, supervisor: &S) -> Result<Arc<EqualityDeletes>, EngineError> {
        let load = || async {
            let wanted = self.shared.wanted.clone();
            let loaded = EqualityDeletes::load(self, wanted, self.key_bytes, supervisor).await?;
            Ok::<_, EngineError>(Arc::new(loaded))
        };
        Ok(Arc::clone(self.shared.loaded.get_or_try_init(load).await?))
    }
}

/// The deletes of a group's data files.
pub(crate) struct GroupDeletes {
    /// Deleted positions, by index of the data file in the group.
    positions: Vec<Arc<RoaringTreemap>>,
    /// Equality deletes that are in memory; what others delete is among the positions.
    equality: Vec<Arc<EqualityDeletes>>,
}

/// Deleted keys that apply to a data file.
pub(crate) struct KeyLookup {
    /// The columns of the keys.
    pub(crate) set: Arc<KeySet>,
    deletes: Arc<EqualityDeletes>,
}

impl KeyLookup {
    /// Whether a row of a data file with this data sequence number is deleted.
    pub(crate) fn deletes(&self, key: &[u8], data_sequence_number: i64) -> bool {
        let DeletedKeys::InMemory(table) = &self.deletes.keys else {
            return false;
        };
        let deleted_at = table.newest(self.set.number, key);
        deleted_at.is_some_and(|deleted_at| deleted_at > data_sequence_number)
    }
}

impl GroupDeletes {
    /// Reads every delete file that applies to a file of the group, once.
    ///
    /// # Errors
    /// A delete file cannot be read (named), memory or scratch space is too small, or the supervisor says stop.
    pub(crate) async fn load<S: Supervisor>(
        reader: &DeleteReader,
        files: &[ScanFile],
        supervisor: &S,
    ) -> Result<Self, EngineError> {
        let mut budget = Budget::new(reader.budget_bytes);
        let mut positions = position::load(&reader.io, files, &mut budget, supervisor).await?;
        let mut equality = Vec::new();
        for deletes in equality_of(reader, files, &mut budget, supervisor).await? {
            let DeletedKeys::OnDisk(keys) = &deletes.keys else {
                equality.push(deletes);
                continue;
            };
            let found = join(reader, files, (&deletes, keys), &mut budget, supervisor).await?;
            for (file, rows) in found {
                positions[file] |= rows;
            }
        }
        Ok(Self {
            positions: positions.into_iter().map(Arc::new).collect(),
            equality,
        })
    }

    /// The deleted positions of one data file of the group.
    pub(crate) fn positions(&self, file: usize) -> Arc<RoaringTreemap> {
        Arc::clone(&self.positions[file])
    }

    /// Whether no row of a data file, `index` in the group, can be deleted.
    pub(crate) fn spare(&self, index: usize, file: &ScanFile) -> bool {
        self.positions[index].is_empty() && self.lookups(file).is_empty()
    }

    /// The deleted keys to look up the rows of a data file in.
    pub(crate) fn lookups(&self, file: &ScanFile) -> Vec<KeyLookup> {
        let lookups = self.equality.iter().flat_map(|deletes| {
            deletes.sets_of(file).into_iter().map(|set| KeyLookup {
                set,
                deletes: Arc::clone(deletes),
            })
        });
        lookups.collect()
    }
}

/// The group's equality deletes: those of the whole table, and those read for the group.
async fn equality_of<S: Supervisor>(
    reader: &DeleteReader,
    files: &[ScanFile],
    budget: &mut Budget,
    supervisor: &S,
) -> Result<Vec<Arc<EqualityDeletes>>, EngineError> {
    let lists = SharedDeletes::of(files.iter().map(|file| &file.equality_deletes));
    let (shared, own): (Vec<_>, Vec<_>) = lists.iter().partition(|list| reader.is_shared(list));
    let mut found = Vec::new();
    if !shared.is_empty() {
        found.push(reader.shared(supervisor).await?);
    }
    if !own.is_empty() {
        let wanted = own.into_iter().map(Wanted::of).collect();
        let memory_bytes = budget.left_bytes().min(reader.key_bytes);
        let deletes = EqualityDeletes::load(reader, wanted, memory_bytes, supervisor).await?;
        budget.use_up(deletes.memory_bytes());
        found.push(Arc::new(deletes));
    }
    Ok(found)
}

/// Memory taken and allowed, in bytes.
pub(crate) struct Budget {
    limit_bytes: u64,
    used_bytes: u64,
}

impl Budget {
    /// A budget of which nothing is taken yet.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            used_bytes: 0,
        }
    }

    fn left_bytes(&self) -> u64 {
        self.limit_bytes.saturating_sub(self.used_bytes)
    }

    /// Notes memory that was taken within what was left.
    fn use_up(&mut self, bytes: u64) {
        self.used_bytes += bytes;
    }

    /// Takes memory for the deleted positions of a file.
    ///
    /// # Errors
    /// [`FileError::Budget`] naming the file when there is not so much left.
    pub(crate) fn take(&mut self, bytes: u64, path: &str) -> Result<(), FileError> {
        self.used_bytes += bytes;
        if self.used_bytes > self.limit_bytes {
            return Err(FileError::Budget {
                path: path.to_owned(),
                budget_bytes: self.limit_bytes,
            });
        }
        Ok(())
    }
}

/// A column by id: of the current schema, else of the newest schema that has it, since equality deletes on a
/// dropped column still hold.
fn field_of_any_schema(table: &TableMetadata, id: i32) -> Option<NestedFieldRef> {
    if let Some(field) = table.current_schema().field_by_id(id) {
        return Some(Arc::clone(field));
    }
    table
        .schemas_iter()
        .filter(|schema| schema.field_by_id(id).is_some())
        .max_by_key(|schema| schema.schema_id())
        .and_then(|schema| schema.field_by_id(id).cloned())
}

#[cfg(test)]
mod tests;
