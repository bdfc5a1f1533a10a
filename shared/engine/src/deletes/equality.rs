//! Equality deletes: rows are gone when their key is in a newer delete file (spec, Equality Delete Files).
//!
//! Keys are compared as bytes. As in Java's `StructLikeSet`, null equals null, NaN equals NaN, and -0.0 differs
//! from 0.0. Delete files of the same key columns and partition form one set that keeps the highest data
//! sequence number of each key, so one look-up serves data files of every age. What does not fit the memory
//! given goes to disk, all sets together.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{NestedFieldRef, Struct, TableMetadata};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use snowpack_plan::{DeleteList, LiveFile, ScanFile, SharedDeletes};
use snowpack_service::ports::Supervisor;

use super::key_table::KeyTable;
use super::keys::{Keys, resolve};
use super::spill::{KeySpill, SpillError, SpilledKeys};
use super::{BATCH_ROWS, CONCURRENT_FILES, DeleteReader, field_of_any_schema};
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::read::{FileSchema, ParquetFile, from_parquet, sound};
use crate::watch::watched;

/// What the delete files of one set have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Scope {
    ids: Vec<i32>,
    spec_id: i32,
    partition: Struct,
}

impl Scope {
    fn of(file: &LiveFile) -> Self {
        let mut ids = file.file.equality_ids().unwrap_or_default();
        ids.sort_unstable();
        ids.dedup();
        Self {
            ids,
            spec_id: file.spec_id,
            partition: file.file.partition().clone(),
        }
    }
}

/// Deleted keys over one choice of columns and one scope.
#[derive(Debug)]
pub(crate) struct KeySet {
    /// Its number among the sets loaded with it.
    pub(super) number: u32,
    /// The columns.
    pub(crate) fields: Vec<NestedFieldRef>,
}

/// Delete files to load, of one list.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) list: Arc<DeleteList>,
    files: Vec<Arc<LiveFile>>,
}

impl Wanted {
    pub(super) fn of(shared: &SharedDeletes) -> Self {
        Self {
            list: Arc::clone(shared.list()),
            files: shared.files().map(|(_, file)| Arc::clone(file)).collect(),
        }
    }
}

/// Tells lists apart. Whoever keeps such a number keeps the list too, or another one could get it.
pub(super) fn list_id(list: &Arc<DeleteList>) -> usize {
    Arc::as_ptr(list) as usize
}

/// Equality deletes that were read, each file once.
pub(crate) struct EqualityDeletes {
    sets: HashMap<usize, (Arc<DeleteList>, Vec<Arc<KeySet>>)>,
    /// All keys.
    pub(super) keys: DeletedKeys,
}

/// Where the keys are.
pub(super) enum DeletedKeys {
    InMemory(KeyTable),
    OnDisk(SpilledKeys),
}

impl EqualityDeletes {
    /// Reads delete files. Keys take at most `memory_bytes` of memory.
    ///
    /// # Errors
    /// A file cannot be read (named), the scratch space is too small, or the supervisor says stop.
    pub(super) async fn load<S: Supervisor>(
        reader: &DeleteReader,
        wanted: Vec<Wanted>,
        memory_bytes: u64,
        supervisor: &S,
    ) -> Result<Self, EngineError> {
        let mut sets = Sets::default();
        let mut by_list = HashMap::new();
        for Wanted { list, files } in wanted {
            let of_list = sets.add(&reader.table, files)?;
            by_list.insert(list_id(&list), (list, of_list));
        }
        let store = Mutex::new(KeyStore::new(memory_bytes, reader.scratch_bytes));
        let reads = sets.files.into_iter();
        let reads = reads.map(|(file, set)| {
            let store = &store;
            async move { sound(file.file.file_path(), read(reader, &file, &set, store)).await }
        });
        let reads = futures::stream::iter(reads).buffer_unordered(CONCURRENT_FILES);
        watched(supervisor, reads.try_collect::<()>()).await??;
        let store = store.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Self {
            sets: by_list,
            keys: store.finish()?,
        })
    }

    /// The sets that hold the delete files listed for a data file.
    pub(super) fn sets_of(&self, file: &ScanFile) -> Vec<Arc<KeySet>> {
        let mut found: Vec<Arc<KeySet>> = Vec::new();
        let lists = file.equality_deletes.lists();
        for (_, sets) in lists.filter_map(|list| self.sets.get(&list_id(list))) {
            for set in sets {
                if !found.iter().any(|known| Arc::ptr_eq(known, set)) {
                    found.push(Arc::clone(set));
                }
            }
        }
        found
    }

    /// What the keys take in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        match &self.keys {
            DeletedKeys::InMemory(table) => table.memory_bytes(),
            DeletedKeys::OnDisk(_) => 0,
        }
    }
}

/// Sets being made up, and the files to read into them.
#[derive(Default)]
struct Sets {
    by_scope: HashMap<Scope, Arc<KeySet>>,
    seen: HashSet<usize>,
    files: Vec<(Arc<LiveFile>, Arc<KeySet>)>,
}

impl Sets {
    /// Assigns the files of a list to sets; returns those sets.
    fn add(
        &mut self,
        table: &TableMetadata,
        files: Vec<Arc<LiveFile>>,
    ) -> Result<Vec<Arc<KeySet>>, FileError> {
        let mut of_list: Vec<Arc<KeySet>> = Vec::new();
        for file in files {
            let set = self.set_of(table, &file)?;
            if !of_list.iter().any(|known| Arc::ptr_eq(known, &set)) {
                of_list.push(Arc::clone(&set));
            }
            if self.seen.insert(Arc::as_ptr(&file) as usize) {
                self.files.push((file, set));
            }
        }
        Ok(of_list)
    }

    fn set_of(&mut self, table: &TableMetadata, file: &LiveFile) -> Result<Arc<KeySet>, FileError> {
        let scope = Scope::of(file);
        if let Some(set) = self.by_scope.get(&scope) {
            return Ok(Arc::clone(set));
        }
        let set = Arc::new(KeySet {
            number: u32::try_from(self.by_scope.len()).expect("there are fewer than 4 billion delete files"),
            fields: key_fields(table, &scope.ids, file.file.file_path())?,
        });
        self.by_scope.insert(scope, Arc::clone(&set));
        Ok(set)
    }
}

fn key_fields(table: &TableMetadata, ids: &[i32], path: &str) -> Result<Vec<NestedFieldRef>, FileError> {
    if ids.is_empty() {
        return Err(FileError::schema(
            path,
            "an equality-delete file needs equality ids in its manifest",
        ));
    }
    ids.iter()
        .map(|id| {
            field_of_any_schema(table, *id).ok_or_else(|| {
                FileError::schema(
                    path,
                    format!("no schema of the table has its equality field id {id}"),
                )
            })
        })
        .collect()
}

/// Keys on their way from the delete files: in memory as long as they fit, then on disk.
struct KeyStore {
    table: KeyTable,
    spill: Option<KeySpill>,
    memory_bytes: u64,
    scratch_bytes: u64,
}

impl KeyStore {
    fn new(memory_bytes: u64, scratch_bytes: u64) -> Self {
        Self {
            table: KeyTable::default(),
            spill: None,
            memory_bytes,
            scratch_bytes,
        }
    }

    fn add(&mut self, set: u32, key: &[u8], sequence_number: i64) -> Result<(), SpillError> {
        if let Some(spill) = &mut self.spill {
            return spill.add(set, key, sequence_number);
        }
        if self.table.memory_bytes_with(key) <= self.memory_bytes {
            self.table.add(set, key, sequence_number);
            return Ok(());
        }
        let table = std::mem::take(&mut self.table);
        let spill = KeySpill::of(&table, self.scratch_bytes)?;
        self.spill.insert(spill).add(set, key, sequence_number)
    }

    fn finish(self) -> Result<DeletedKeys, SpillError> {
        Ok(match self.spill {
            None => DeletedKeys::InMemory(self.table),
            Some(spill) => DeletedKeys::OnDisk(spill.seal()?),
        })
    }
}

async fn read(
    reader: &DeleteReader,
    delete: &LiveFile,
    set: &KeySet,
    store: &Mutex<KeyStore>,
) -> Result<(), EngineError> {
    let path = delete.file.file_path();
    let parquet = ParquetFile::open(&reader.io, &delete.file).await?;
    let schema = FileSchema::resolve(parquet.metadata(), None).map_err(|e| FileError::corrupt(path, e))?;
    let (_, leaves) = resolve(set, schema.reader.schema().fields(), path)?;
    let mask = ProjectionMask::leaves(schema.reader.parquet_schema(), leaves);
    let mut stream = ParquetRecordBatchStreamBuilder::new_with_metadata(parquet, schema.reader)
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|e| from_parquet(path, e))?;
    let (columns, _) = resolve(set, stream.schema().fields(), path)?;
    let mut keys = Keys::new(columns).map_err(|e| FileError::schema(path, e))?;
    while let Some(batch) = stream.try_next().await.map_err(|e| from_parquet(path, e))? {
        let rows = keys.of(&batch).map_err(|e| FileError::corrupt(path, e))?;
        let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
        for row in &rows {
            store.add(set.number, row.as_ref(), delete.sequence_number)?;
        }
    }
    Ok(())
}
