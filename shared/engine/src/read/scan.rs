//! Streams one data file as batches of the table's current schema, without its deleted rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, Fields, SchemaRef as ArrowSchemaRef};
use futures::TryStreamExt;
use iceberg::io::FileIO;
use iceberg::spec::{Literal, NameMapping, PrimitiveLiteral, SchemaRef, TableMetadata, Transform};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::file::metadata::ParquetMetaData;
use snowpack_plan::{LiveFile, ScanFile};
use tokio::sync::mpsc::Sender;

use super::convert::project_batch;
use super::file::{ParquetFile, from_parquet};
use super::lineage::Lineage;
use super::projection::{Column, Resolver, StructPlan};
use super::schema::FileSchema;
use crate::deletes::{GroupDeletes, RowFilter};
use crate::file_error::FileError;
use crate::verify::{Checksum, RowHasher};

/// Decoded size a batch aims at, in bytes: large enough that the cost per batch does not show, small enough
/// that all batches in flight are a few tens of MiB.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// Most rows in a batch, for narrow tables.
const MAX_BATCH_ROWS: u64 = 16 * 1024;

/// What all scans of a group share.
pub(crate) struct ScanContext {
    /// Reads files.
    pub(crate) io: FileIO,
    /// The table as planned.
    pub(crate) table: Arc<TableMetadata>,
    /// The schema rows are read as.
    pub(crate) schema: SchemaRef,
    /// The same in Arrow.
    pub(crate) arrow_schema: ArrowSchemaRef,
    /// `schema.name-mapping.default`, if the table has it.
    pub(crate) name_mapping: Option<NameMapping>,
    /// The group's deletes.
    pub(crate) deletes: GroupDeletes,
    /// Sums up the rows that are left, if that is wanted.
    pub(crate) hasher: Option<RowHasher>,
    /// Row lineage is read as it is stored: nothing is inherited.
    pub(crate) lineage_as_stored: bool,
}

/// One data file of the group.
#[derive(Clone, Debug)]
pub(crate) struct ScanTask {
    /// Its index in the group.
    pub(crate) index: usize,
    /// The file.
    pub(crate) file: ScanFile,
}

/// A stretch of a file's rows.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Index of the file in the group.
    pub(crate) file: usize,
    /// Rows of the file looked at.
    pub(crate) rows_scanned: u64,
    /// The rows left; may be empty.
    pub(crate) batch: RecordBatch,
    /// Their sum, with a hasher.
    pub(crate) checksum: Checksum,
}

/// Reads a file to its end and sends its chunks in order, or the error that ended it. Returns early when
/// nobody listens any more.
pub(crate) async fn scan(
    context: Arc<ScanContext>,
    task: ScanTask,
    chunks: Sender<Result<Chunk, FileError>>,
) {
    if let Err(error) = try_scan(&context, &task, &chunks).await {
        // A closed channel means that the group was given up: nobody needs the error.
        let _ = chunks.send(Err(error)).await;
    }
}

async fn try_scan(
    context: &ScanContext,
    task: &ScanTask,
    chunks: &Sender<Result<Chunk, FileError>>,
) -> Result<(), FileError> {
    let mut open = open(context, task).await?;
    let path = task.file.data.file.file_path();
    let mut row = 0;
    while let Some(batch) = open.stream.try_next().await.map_err(|e| from_parquet(path, e))? {
        let first = row;
        row += batch.num_rows() as u64;
        let kept = open.filter.keep(first, &batch);
        let kept = kept.map_err(|e| FileError::schema(path, e))?;
        let batch = keep(kept.as_ref(), batch).map_err(|e| FileError::corrupt(path, e))?;
        let mut batch = project_batch(&open.plan, &context.arrow_schema, &batch)
            .map_err(|e| FileError::schema(path, e))?;
        if let Some(lineage) = open.lineage {
            let filled = lineage.fill(&batch, first, kept.as_ref());
            batch = filled.map_err(|e| FileError::schema(path, e))?;
        }
        let checksum = context
            .hasher
            .as_ref()
            .map(|hasher| hasher.sum(&batch))
            .transpose();
        let chunk = Chunk {
            checksum: checksum
                .map_err(|e| FileError::schema(path, e))?
                .unwrap_or_default(),
            file: task.index,
            rows_scanned: row - first,
            batch,
        };
        if chunks.send(Ok(chunk)).await.is_err() {
            return Ok(());
        }
    }
    if row != open.rows {
        let reason = format!("its footer promises {} rows, it has {row}", open.rows);
        return Err(FileError::corrupt(path, reason));
    }
    Ok(())
}

fn keep(kept: Option<&BooleanBuffer>, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    match kept {
        None => Ok(batch),
        Some(kept) => {
            arrow_select::filter::filter_record_batch(&batch, &BooleanArray::new(kept.clone(), None))
        }
    }
}

/// A file ready to be streamed.
struct OpenScan {
    stream: ParquetRecordBatchStream<ParquetFile>,
    plan: StructPlan,
    filter: RowFilter,
    lineage: Option<Lineage>,
    rows: u64,
}

async fn open(context: &ScanContext, task: &ScanTask) -> Result<OpenScan, FileError> {
    let data = &task.file.data;
    let path = data.file.file_path();
    let parquet = ParquetFile::open(&context.io, &data.file).await?;
    let metadata = Arc::clone(parquet.metadata());
    let rows = u64::try_from(metadata.file_metadata().num_rows())
        .map_err(|_| FileError::corrupt(path, "its footer has a negative number of rows"))?;
    let file_schema = FileSchema::resolve(&metadata, context.name_mapping.as_ref())
        .map_err(|e| FileError::corrupt(path, e))?;
    let resolution = Resolution {
        context,
        task,
        partition: identity_values(&context.table, data),
        nested_by_position: file_schema.nested_by_position,
    };
    let wanted = resolution.resolve(file_schema.reader.schema().fields())?;
    let mask = ProjectionMask::leaves(file_schema.reader.parquet_schema(), wanted.leaves);
    let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(parquet, file_schema.reader)
        .with_projection(mask)
        .with_batch_size(batch_rows(&metadata))
        .build()
        .map_err(|e| from_parquet(path, e))?;
    let delivered = resolution.resolve(stream.schema().fields())?;
    if !delivered.plan.finds_the_same_as(&wanted.plan) {
        // Taking a column that was asked for as missing would turn its values into nulls.
        return Err(FileError::schema(
            path,
            "the reader left out columns it was asked for",
        ));
    }
    let sets = context.deletes.equality().sets_of(&task.file);
    let equality = delivered.keys.into_iter().zip(sets).collect();
    let filter = RowFilter::new(
        context.deletes.positions(task.index),
        equality,
        data.sequence_number,
    )
    .map_err(|e| FileError::schema(path, e))?;
    Ok(OpenScan {
        stream,
        plan: delivered.plan,
        filter,
        lineage: Lineage::of(data, &context.schema).filter(|_| !context.lineage_as_stored),
        rows,
    })
}

/// What the columns of a file are resolved with.
struct Resolution<'a> {
    context: &'a ScanContext,
    task: &'a ScanTask,
    partition: HashMap<i32, PrimitiveLiteral>,
    nested_by_position: bool,
}

/// How a file's fields become rows and delete keys, and which Parquet columns that takes.
struct Resolved {
    plan: StructPlan,
    keys: Vec<Vec<Column>>,
    leaves: Vec<usize>,
}

impl Resolution<'_> {
    fn resolve(&self, fields: &Fields) -> Result<Resolved, FileError> {
        let error = |reason| FileError::schema(self.task.file.data.file.file_path(), reason);
        let mut resolver = Resolver {
            partition: &self.partition,
            nested_by_position: self.nested_by_position,
            leaves: Vec::new(),
        };
        let plan = resolver
            .columns(self.context.schema.as_struct(), fields)
            .map_err(error)?;
        let keys = self
            .context
            .deletes
            .equality()
            .sets_of(&self.task.file)
            .iter()
            .map(|set| {
                set.fields
                    .iter()
                    .map(|field| resolver.column(field, fields))
                    .collect()
            })
            .collect::<Result<Vec<_>, String>>()
            .map_err(error)?;
        Ok(Resolved {
            plan,
            keys,
            leaves: resolver.leaves,
        })
    }
}

/// The values of a file's identity partition fields, by source column.
fn identity_values(table: &TableMetadata, data: &LiveFile) -> HashMap<i32, PrimitiveLiteral> {
    let Some(spec) = table.partition_spec_by_id(data.spec_id) else {
        return HashMap::new();
    };
    spec.fields()
        .iter()
        .zip(data.file.partition().iter())
        .filter(|(field, _)| field.transform == Transform::Identity)
        .filter_map(|(field, value)| match value {
            Some(Literal::Primitive(value)) => Some((field.source_id, value.clone())),
            _ => None,
        })
        .collect()
}

/// Rows that make a batch of about [`BATCH_BYTES`], going by the file's uncompressed size.
fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let rows = metadata.file_metadata().num_rows().max(1).unsigned_abs();
    let bytes: u64 = metadata
        .row_groups()
        .iter()
        .map(|g| g.total_byte_size().max(0).unsigned_abs())
        .sum();
    let row_bytes = (bytes / rows).max(1);
    (BATCH_BYTES / row_bytes).clamp(1, MAX_BATCH_ROWS) as usize
}
