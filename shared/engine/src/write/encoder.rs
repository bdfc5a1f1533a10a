//! Encodes the columns of one row group, several at a time.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{FieldRef, Schema as ArrowSchema};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::{ParquetError, Result};

use super::metrics::count_nans;
use crate::read::leaf_count;

/// Batches of fewer rows are encoded where they are: handing them to other tasks costs more.
const MIN_PARALLEL_ROWS: usize = 512;

/// A finished Parquet column of a row group.
pub(super) struct EncodedColumn {
    /// Its index in the file.
    pub(super) leaf: usize,
    pub(super) chunk: ArrowColumnChunk,
    /// NaN values seen, outside lists and maps.
    pub(super) nans: u64,
}

/// A top-level column: one writer for each of its Parquet columns.
struct FieldEncoder {
    index: usize,
    field: FieldRef,
    first_leaf: usize,
    writers: Vec<ArrowColumnWriter>,
    nans: Vec<u64>,
}

impl FieldEncoder {
    fn encode(&mut self, array: &ArrayRef) -> Result<()> {
        count_nans(array, &mut self.nans);
        for (writer, leaf) in self.writers.iter_mut().zip(compute_leaves(&self.field, array)?) {
            writer.write(&leaf)?;
        }
        Ok(())
    }

    fn close(self) -> Result<Vec<EncodedColumn>> {
        self.writers
            .into_iter()
            .zip(self.nans)
            .enumerate()
            .map(|(i, (writer, nans))| {
                Ok(EncodedColumn {
                    leaf: self.first_leaf + i,
                    chunk: writer.close()?,
                    nans,
                })
            })
            .collect()
    }
}

/// Columns encoded one after the other, in a task of their own.
type Lane = Vec<FieldEncoder>;

/// The row group being written.
pub(super) struct RowGroupEncoder {
    lanes: Vec<Lane>,
    rows: usize,
}

impl RowGroupEncoder {
    /// # Errors
    /// The Arrow schema does not fit the file's Parquet schema.
    pub(super) fn new(
        factory: &ArrowRowGroupWriterFactory,
        row_group: usize,
        schema: &ArrowSchema,
        lanes: usize,
    ) -> Result<Self> {
        let mut writers = factory.create_column_writers(row_group)?.into_iter();
        let mut spread: Vec<Lane> = (0..lanes.max(1)).map(|_| Lane::new()).collect();
        let mut first_leaf = 0;
        for (index, field) in schema.fields().iter().enumerate() {
            let leaves = leaf_count(field.data_type());
            let encoder = FieldEncoder {
                index,
                field: Arc::clone(field),
                first_leaf,
                writers: writers.by_ref().take(leaves).collect(),
                nans: vec![0; leaves],
            };
            first_leaf += leaves;
            spread[index % lanes.max(1)].push(encoder);
        }
        spread.retain(|lane| !lane.is_empty());
        Ok(Self {
            lanes: spread,
            rows: 0,
        })
    }

    /// Rows encoded so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What the row group would take in the file if it ended now, in bytes.
    pub(super) fn encoded_bytes(&self) -> u64 {
        self.writers()
            .map(|writer| writer.get_estimated_total_bytes() as u64)
            .sum()
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.writers().map(|writer| writer.memory_size() as u64).sum()
    }

    fn writers(&self) -> impl Iterator<Item = &ArrowColumnWriter> {
        self.lanes.iter().flatten().flat_map(|field| &field.writers)
    }

    /// Adds rows.
    ///
    /// # Errors
    /// The encoder fails; the row group cannot be used any further.
    pub(super) async fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        if batch.num_rows() < MIN_PARALLEL_ROWS {
            return self
                .lanes
                .iter_mut()
                .try_for_each(|lane| encode_lane(lane, batch));
        }
        let columns = batch.clone();
        self.lanes = each_lane(std::mem::take(&mut self.lanes), move |mut lane| {
            encode_lane(&mut lane, &columns).map(|()| lane)
        })
        .await?;
        Ok(())
    }

    /// Ends the row group and returns its columns in the order of the file.
    ///
    /// # Errors
    /// The encoder fails.
    pub(super) async fn close(self) -> Result<Vec<EncodedColumn>> {
        let closed = each_lane(self.lanes, |lane| {
            lane.into_iter()
                .map(FieldEncoder::close)
                .collect::<Result<Vec<_>>>()
        })
        .await?;
        let mut columns: Vec<EncodedColumn> = closed.into_iter().flatten().flatten().collect();
        columns.sort_unstable_by_key(|column| column.leaf);
        Ok(columns)
    }
}

fn encode_lane(lane: &mut Lane, batch: &RecordBatch) -> Result<()> {
    lane.iter_mut()
        .try_for_each(|field| field.encode(batch.column(field.index)))
}

/// Runs `work` on every lane at the same time: the first here, the others in tasks.
async fn each_lane<T, F>(lanes: Vec<Lane>, work: F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Fn(Lane) -> Result<T> + Clone + Send + 'static,
{
    let mut lanes = lanes.into_iter();
    let Some(first) = lanes.next() else {
        return Ok(Vec::new());
    };
    let tasks: Vec<_> = lanes
        .map(|lane| {
            let work = work.clone();
            tokio::spawn(async move { work(lane) })
        })
        .collect();
    let mut done = vec![work(first)?];
    for task in tasks {
        done.push(task.await.map_err(|e| ParquetError::External(Box::new(e)))??);
    }
    Ok(done)
}
