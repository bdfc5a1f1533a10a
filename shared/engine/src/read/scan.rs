//! Streams one data file as batches of the table's current schema, without its deleted rows, or as whole row
//! groups where nothing has to change in them.

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
use super::lineage::{Lineage, has_lineage};
use super::projection::{Column, Resolver, StructPlan};
use super::schema::FileSchema;
use crate::deletes::{GroupDeletes, RowFilter};
use crate::file_error::FileError;
use crate::verify::{Checksum, RowHasher};
use crate::write::{CopyRules, RawRowGroup};

/// Decoded size a batch aims at, in bytes: large enough that the cost per batch does not show, small enough
/// that all batches in flight are a few tens of MiB.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// Most rows in a batch, for narrow tables.
const MAX_BATCH_ROWS: u64 = 16 * 1024;

/// A row group to copy of more bytes than this waits alone: that many may be in memory per file, next to the one
/// being written.
const LARGE_ROW_GROUP_BYTES: i64 = 8 * 1024 * 1024;

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
    /// Row groups for which this says so are handed on as they are; without it, none.
    pub(crate) copy: Option<CopyRules>,
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
    /// What is left of them.
    pub(crate) payload: Payload,
    /// Their sum, with a hasher.
    pub(crate) checksum: Checksum,
}

/// Rows on their way to new files.
#[derive(Debug)]
pub(crate) enum Payload {
    /// Rows of the scan's schema; may be none.
    Rows(RecordBatch),
    /// A row group to copy; only where the scan was given [`CopyRules`].
    RowGroup(RawRowGroup),
}

impl Payload {
    /// How many rows.
    pub(crate) fn rows(&self) -> u64 {
        match self {
            Payload::Rows(batch) => batch.num_rows() as u64,
            Payload::RowGroup(row_group) => row_group.rows(),
        }
    }

    /// The rows, of a scan without [`CopyRules`].
    pub(crate) fn into_rows(self) -> RecordBatch {
        match self {
            Payload::Rows(batch) => batch,
            Payload::RowGroup(_) => unreachable!("a scan without rules for it copies nothing"),
        }
    }
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
    let data = &task.file.data;
    let path = data.file.file_path();
    let mut parquet = ParquetFile::open(&context.io, &data.file).await?;
    let rows = u64::try_from(parquet.metadata().file_metadata().num_rows())
        .map_err(|_| FileError::corrupt(path, "its footer has a negative number of rows"))?;
    let (copied, decoded) = to_copy(context, task, parquet.metadata());
    let mut seen = 0;
    if !copied.is_empty() {
        parquet.read_page_index().await?;
        seen += copy(&parquet, task, copied, chunks).await?;
    }
    if !decoded.is_empty() {
        seen += decode(context, task, parquet, decoded, chunks).await?;
    }
    if seen != rows && !chunks.is_closed() {
        let reason = format!("its footer promises {rows} rows, it has {seen}");
        return Err(FileError::corrupt(path, reason));
    }
    Ok(())
}

/// The row groups of a file, by index: those to copy, and those to decode.
fn to_copy(context: &ScanContext, task: &ScanTask, footer: &ParquetMetaData) -> (Vec<usize>, Vec<usize>) {
    let file = &task.file.data.file;
    let rules = context.copy.as_ref().filter(|rules| {
        // Rows that inherit their lineage from the file have to be written out with it.
        !has_lineage(&context.schema)
            && context.deletes.spare(task.index, &task.file)
            && rules.may_copy_of(footer, file)
    });
    (0..footer.num_row_groups()).partition(|index| match rules {
        Some(rules) => rules.may_copy(footer.row_group(*index)),
        None => false,
    })
}

/// Sends row groups as they are; returns their rows.
async fn copy(
    parquet: &ParquetFile,
    task: &ScanTask,
    row_groups: Vec<usize>,
    chunks: &Sender<Result<Chunk, FileError>>,
) -> Result<u64, FileError> {
    let mut rows = 0;
    for index in row_groups {
        let large = parquet.metadata().row_group(index).compressed_size() > LARGE_ROW_GROUP_BYTES;
        let places = if large { chunks.max_capacity() } else { 1 };
        // Waits before it reads: what was read has to have a place.
        let Ok(mut places) = chunks.reserve_many(places).await else {
            return Ok(rows);
        };
        let row_group = parquet.raw_row_group(index).await?;
        rows += row_group.rows();
        let chunk = Chunk {
            file: task.index,
            rows_scanned: row_group.rows(),
            payload: Payload::RowGroup(row_group),
            // Rows that are summed up are not copied.
            checksum: Checksum::default(),
        };
        let place = places.next().expect("at least one place was reserved");
        place.send(Ok(chunk));
    }
    Ok(rows)
}

/// Sends the rows of row groups that are not deleted; returns how many there were with the deleted ones.
async fn decode(
    context: &ScanContext,
    task: &ScanTask,
    parquet: ParquetFile,
    row_groups: Vec<usize>,
    chunks: &Sender<Result<Chunk, FileError>>,
) -> Result<u64, FileError> {
    let path = task.file.data.file.file_path();
    let mut open = open(context, task, parquet, row_groups)?;
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
            payload: Payload::Rows(batch),
        };
        if chunks.send(Ok(chunk)).await.is_err() {
            break;
        }
    }
    Ok(row)
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
}

/// Starts decoding these row groups of a file.
fn open(
    context: &ScanContext,
    task: &ScanTask,
    parquet: ParquetFile,
    row_groups: Vec<usize>,
) -> Result<OpenScan, FileError> {
    let data = &task.file.data;
    let path = data.file.file_path();
    let metadata = Arc::clone(parquet.metadata());
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
        .with_row_groups(row_groups)
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
    let lookups = context.deletes.lookups(&task.file);
    let equality = delivered.keys.into_iter().zip(lookups).collect();
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
            .lookups(&self.task.file)
            .iter()
            .map(|lookup| {
                lookup
                    .set
                    .fields
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
pub(super) fn identity_values(table: &TableMetadata, data: &LiveFile) -> HashMap<i32, PrimitiveLiteral> {
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
pub(super) fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let rows = metadata.file_metadata().num_rows().max(1).unsigned_abs();
    let bytes: u64 = metadata
        .row_groups()
        .iter()
        .map(|g| g.total_byte_size().max(0).unsigned_abs())
        .sum();
    let row_bytes = (bytes / rows).max(1);
    (BATCH_BYTES / row_bytes).clamp(1, MAX_BATCH_ROWS) as usize
}
