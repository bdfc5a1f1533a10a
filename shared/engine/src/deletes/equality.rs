//! Equality deletes: rows are gone when their key is in a newer delete file (spec, Equality Delete Files).
//!
//! Keys are compared as bytes. As in Java's `StructLikeSet`, null equals null, NaN equals NaN, and -0.0 differs
//! from 0.0. Delete files of the same key columns and partition form one set that keeps the highest data
//! sequence number of each key, so one look-up serves data files of every age.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{ArrowError, DataType, Fields};
use futures::TryStreamExt;
use iceberg::io::FileIO;
use iceberg::spec::{NestedFieldRef, Struct, TableMetadata};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use snowpack_plan::{LiveFile, ScanFile};
use snowpack_service::ports::Supervisor;

use super::{Budget, field_of_any_schema};
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::read::{
    Column, FileSchema, ParquetFile, Resolver, Source, arrow_type, field_array, from_parquet, sound,
};
use crate::watch::watched;

/// What a key takes in the map besides its bytes.
const ENTRY_BYTES: u64 = 64;

/// Rows decoded at once.
const BATCH_ROWS: usize = 16 * 1024;

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

/// Deleted keys over one choice of columns.
pub(crate) struct KeySet {
    /// The columns, by id.
    pub(crate) fields: Vec<NestedFieldRef>,
    /// Key bytes to the highest data sequence number of a delete file that holds it.
    keys: hashbrown::HashMap<Box<[u8]>, i64>,
}

impl KeySet {
    /// Whether a row of a data file with this data sequence number is deleted.
    pub(crate) fn deletes(&self, key: &[u8], data_sequence_number: i64) -> bool {
        self.keys
            .get(key)
            .is_some_and(|deleted_at| *deleted_at > data_sequence_number)
    }
}

/// Every equality-delete set of a group.
#[derive(Default)]
pub(crate) struct EqualityDeletes {
    sets: HashMap<Scope, Arc<KeySet>>,
}

impl EqualityDeletes {
    /// Reads each equality-delete file of the group once.
    pub(super) async fn load<S: Supervisor>(
        io: &FileIO,
        table: &TableMetadata,
        files: &[ScanFile],
        budget: &mut Budget,
        supervisor: &S,
    ) -> Result<Self, EngineError> {
        let mut sets: HashMap<Scope, KeySet> = HashMap::new();
        let mut seen = std::collections::HashSet::new();
        for delete in files.iter().flat_map(|file| &file.equality_deletes) {
            if !seen.insert(delete.file.file_path()) {
                continue;
            }
            let scope = Scope::of(delete);
            if !sets.contains_key(&scope) {
                let fields = key_fields(table, &scope.ids, delete.file.file_path())?;
                sets.insert(
                    scope.clone(),
                    KeySet {
                        fields,
                        keys: hashbrown::HashMap::new(),
                    },
                );
            }
            let set = sets.get_mut(&scope).expect("the set was just made");
            let reading = sound(delete.file.file_path(), read(io, delete, set, budget));
            watched(supervisor, reading).await??;
        }
        Ok(Self {
            sets: sets
                .into_iter()
                .map(|(scope, set)| (scope, Arc::new(set)))
                .collect(),
        })
    }

    /// The sets that hold the delete files listed for a data file.
    pub(crate) fn sets_of(&self, file: &ScanFile) -> Vec<Arc<KeySet>> {
        let mut scopes: Vec<Scope> = Vec::new();
        for delete in &file.equality_deletes {
            let scope = Scope::of(delete);
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes
            .iter()
            .filter_map(|scope| self.sets.get(scope).cloned())
            .collect()
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

async fn read(
    io: &FileIO,
    delete: &LiveFile,
    set: &mut KeySet,
    budget: &mut Budget,
) -> Result<(), FileError> {
    let path = delete.file.file_path();
    let parquet = ParquetFile::open(io, &delete.file).await?;
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
        for row in &rows {
            add(set, row.as_ref(), delete.sequence_number, budget, path)?;
        }
    }
    Ok(())
}

fn add(
    set: &mut KeySet,
    key: &[u8],
    sequence_number: i64,
    budget: &mut Budget,
    path: &str,
) -> Result<(), FileError> {
    match set.keys.get_mut(key) {
        Some(newest) => *newest = sequence_number.max(*newest),
        None => {
            budget.take(key.len() as u64 + ENTRY_BYTES, path)?;
            set.keys.insert(key.into(), sequence_number);
        }
    }
    Ok(())
}

/// Where a delete file has the key columns; it must have all of them.
fn resolve(set: &KeySet, fields: &Fields, path: &str) -> Result<(Vec<Column>, Vec<usize>), FileError> {
    let partition = HashMap::new();
    let mut resolver = Resolver {
        partition: &partition,
        nested_by_position: false,
        leaves: Vec::new(),
    };
    let mut columns = Vec::with_capacity(set.fields.len());
    for field in &set.fields {
        let column = resolver
            .column(field, fields)
            .map_err(|e| FileError::schema(path, e))?;
        if !matches!(column.source, Source::File(..)) {
            let reason = format!(
                "it has no column for equality field id {} ({})",
                field.id, field.name
            );
            return Err(FileError::schema(path, reason));
        }
        columns.push(column);
    }
    Ok((columns, resolver.leaves))
}

/// Turns rows into key bytes. The bytes of two converters over the same types compare.
pub(crate) struct Keys {
    columns: Vec<Column>,
    converter: RowConverter,
}

impl Keys {
    /// A converter over these columns, which must be in the order of [`KeySet::fields`].
    ///
    /// # Errors
    /// A column's type has no equality.
    pub(crate) fn new(columns: Vec<Column>) -> Result<Self, ArrowError> {
        let fields = columns
            .iter()
            .map(|column| {
                let data_type =
                    arrow_type(&column.primitive.clone().into()).map_err(ArrowError::SchemaError)?;
                Ok(SortField::new(data_type))
            })
            .collect::<Result<Vec<_>, ArrowError>>()?;
        Ok(Self {
            columns,
            converter: RowConverter::new(fields)?,
        })
    }

    /// The keys of a batch's rows.
    ///
    /// # Errors
    /// A value does not fit the table's type.
    pub(crate) fn of(&mut self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        let arrays = self
            .columns
            .iter()
            .map(|column| Ok(one_nan(field_array(column, batch)?)))
            .collect::<Result<Vec<_>, ArrowError>>()?;
        self.converter.convert_columns(&arrays)
    }
}

/// Makes every NaN the same NaN.
pub(crate) fn one_nan(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            Arc::new(floats.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v }))
        }
        DataType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            Arc::new(floats.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v }))
        }
        _ => array,
    }
}
