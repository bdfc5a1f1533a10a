//! Row groups taken into a new file as they are: their bytes move, nothing is decoded.
//!
//! A row group may be copied when decoding and encoding it would give the same rows in a shape that is no better:
//! the file has exactly the columns to be written, the codec is the table's, the row group is large enough not
//! to burden readers, and its footer tells all that the manifest entry has to say.

use std::io::Read;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use iceberg::spec::{DataFile, PrimitiveType};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::SchemaDescPtr;

use super::bounds::{lower, upper};
use super::metrics::LeafColumn;
use super::metrics_config::MetricsMode;

/// Smaller row groups are joined by encoding them anew, in bytes: readers fetch and skip by row group.
const MIN_ROW_GROUP_BYTES: u64 = 1024 * 1024;
/// The same for the average column of a row group: a request for less costs more than its bytes.
const MIN_COLUMN_BYTES: u64 = 64 * 1024;
/// A copied row group is at most this part of an output file, so that files can be cut to about equal sizes.
const PARTS_OF_A_FILE: u64 = 8;

/// Which row groups may be copied into the files of one group.
#[derive(Clone)]
pub(crate) struct CopyRules {
    pub(super) schema: SchemaDescPtr,
    pub(super) properties: WriterPropertiesPtr,
    pub(super) leaves: Arc<[LeafColumn]>,
    pub(super) sizes: RangeInclusive<u64>,
}

/// Sizes of row groups to copy, in bytes, where the table wants `row_group_bytes` and the group's `input_bytes`
/// become `files` files.
pub(super) fn sizes_to_copy(
    row_group_bytes: u64,
    columns: usize,
    files: usize,
    input_bytes: u64,
) -> RangeInclusive<u64> {
    let decent = MIN_ROW_GROUP_BYTES.max(MIN_COLUMN_BYTES * columns as u64);
    // Where the table wants small row groups, half of one is decent; and its writers may end one a little late.
    let least = decent.min(row_group_bytes / 2);
    let most = row_group_bytes.saturating_add(row_group_bytes / 4);
    match files {
        0 | 1 => least..=most,
        files => least..=most.min(input_bytes / files as u64 / PARTS_OF_A_FILE),
    }
}

impl CopyRules {
    /// Whether row groups of a file may be copied at all, each as [`CopyRules::may_copy`] says.
    pub(crate) fn may_copy_of(&self, footer: &ParquetMetaData, file: &DataFile) -> bool {
        let has_no_nan = |leaf: &LeafColumn| {
            !matches!(leaf.primitive, PrimitiveType::Float | PrimitiveType::Double)
                || leaf.repeated
                || leaf.mode == MetricsMode::None
                || file.nan_value_counts().get(&leaf.id) == Some(&0)
        };
        let columns = footer.file_metadata().schema_descr().root_schema();
        // The roots themselves are named as their writers like.
        columns.get_fields() == self.schema.root_schema().get_fields()
            // Footers do not count NaN values, and their bounds are of no use beside them.
            && self.leaves.iter().all(has_no_nan)
    }

    /// Whether a row group may be copied, of a file of which [`CopyRules::may_copy_of`] says so.
    pub(crate) fn may_copy(&self, row_group: &RowGroupMetaData) -> bool {
        let bytes = row_group.compressed_size().max(0).unsigned_abs();
        self.sizes.contains(&bytes)
            && row_group.num_rows() > 0
            && self
                .leaves
                .iter()
                .zip(row_group.columns())
                .all(|(leaf, chunk)| self.may_copy_column(leaf, chunk))
    }

    fn may_copy_column(&self, leaf: &LeafColumn, chunk: &ColumnChunkMetaData) -> bool {
        let path = chunk.column_path();
        let codec = self.properties.compression(path);
        // Levels are not told by a file; they do not change how it is read.
        std::mem::discriminant(&chunk.compression()) == std::mem::discriminant(&codec)
            && self.properties.bloom_filter_properties(path).is_none()
            && chunk.file_path().is_none()
            && chunk.data_page_offset() > 0
            && chunk.dictionary_page_offset().is_none_or(|offset| offset > 0)
            && has_metrics(leaf, chunk)
    }
}

/// Whether the footer says of a column what the manifest entry is to say of it.
fn has_metrics(leaf: &LeafColumn, chunk: &ColumnChunkMetaData) -> bool {
    if leaf.repeated || leaf.mode == MetricsMode::None {
        return true;
    }
    let Some(statistics) = chunk.statistics() else {
        return false;
    };
    let Some(nulls) = statistics.null_count_opt() else {
        return false;
    };
    leaf.mode == MetricsMode::Counts
        || nulls == chunk.num_values().unsigned_abs()
        || (!statistics.is_min_max_deprecated()
            && lower(&leaf.primitive, statistics).is_some()
            && upper(&leaf.primitive, statistics).is_some())
}

/// A row group as it stands in its file.
#[derive(Debug)]
pub(crate) struct RawRowGroup {
    /// The footer it is described in, with the page index.
    pub(crate) footer: Arc<ParquetMetaData>,
    /// Its index in the file.
    pub(crate) index: usize,
    /// The bytes of each column chunk, dictionary page and data pages.
    pub(crate) columns: Vec<Bytes>,
}

impl RawRowGroup {
    /// What the footer says of it.
    pub(crate) fn metadata(&self) -> &RowGroupMetaData {
        self.footer.row_group(self.index)
    }

    /// Rows in it.
    pub(crate) fn rows(&self) -> u64 {
        self.metadata().num_rows().unsigned_abs()
    }

    /// Bytes it takes in a file.
    pub(crate) fn bytes(&self) -> u64 {
        self.columns.iter().map(|column| column.len() as u64).sum()
    }

    /// The columns, by index, whose writer did without a dictionary.
    pub(crate) fn plain_columns(&self) -> Vec<usize> {
        let columns = self.metadata().columns().iter().enumerate();
        let plain = columns.filter(|(_, chunk)| chunk.dictionary_page_offset().is_none());
        plain.map(|(index, _)| index).collect()
    }

    /// The columns in the shape in which parquet's writer takes over what another one has written.
    pub(super) fn into_columns(self) -> impl Iterator<Item = (RawColumn, ColumnCloseResult)> {
        let Self {
            footer,
            index,
            columns,
        } = self;
        columns.into_iter().enumerate().map(move |(column, bytes)| {
            let row_group = footer.row_group(index);
            let metadata = row_group.column(column).clone();
            let start = metadata.byte_range().0;
            let close = ColumnCloseResult {
                bytes_written: bytes.len() as u64,
                rows_written: row_group.num_rows().unsigned_abs(),
                metadata,
                bloom_filter: None,
                column_index: footer
                    .column_index()
                    .and_then(|of_file| of_file.get(index)?.get(column))
                    .filter(|of_column| !matches!(of_column, ColumnIndexMetaData::NONE))
                    .cloned(),
                offset_index: footer
                    .offset_index()
                    .and_then(|of_file| of_file.get(index)?.get(column))
                    .filter(|of_column| !of_column.page_locations.is_empty())
                    .cloned(),
            };
            (RawColumn { start, bytes }, close)
        })
    }
}

/// The bytes of a column chunk, addressed as in the file they are from.
pub(super) struct RawColumn {
    start: u64,
    bytes: Bytes,
}

impl Length for RawColumn {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for RawColumn {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let outside = || ParquetError::EOF(format!("byte {start} is not in the column chunk"));
        let from = start.checked_sub(self.start).ok_or_else(outside)?;
        let from = usize::try_from(from)
            .ok()
            .filter(|from| *from <= self.bytes.len());
        Ok(self.bytes.slice(from.ok_or_else(outside)?..).reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn row_groups_to_copy_are_neither_scraps_nor_larger_than_the_table_wants() {
        assert_eq!(sizes_to_copy(128 * MIB, 10, 1, 1), MIB..=160 * MIB);
        // Wide tables need larger ones, and tables of small row groups are content with less.
        assert_eq!(
            sizes_to_copy(128 * MIB, 100, 1, 1),
            100 * MIN_COLUMN_BYTES..=160 * MIB
        );
        assert_eq!(sizes_to_copy(MIB, 10, 1, 1), MIB / 2..=MIB + MIB / 4);
    }

    #[test]
    fn where_files_are_cut_no_row_group_decides_their_size() {
        assert_eq!(sizes_to_copy(128 * MIB, 10, 2, 640 * MIB), MIB..=40 * MIB);
        assert!(sizes_to_copy(128 * MIB, 10, 2, 2 * MIB).is_empty());
    }

    #[test]
    fn bytes_are_found_where_they_were_in_the_file() {
        let column = RawColumn {
            start: 100,
            bytes: Bytes::from_static(b"0123456789"),
        };
        assert_eq!(column.get_bytes(103, 4).unwrap(), Bytes::from_static(b"3456"));
        assert!(column.get_bytes(99, 1).is_err());
        assert!(column.get_bytes(108, 3).is_err());
        assert!(column.get_read(111).is_err());
        assert_eq!(column.len(), 110);
    }
}
