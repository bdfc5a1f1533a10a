//! Collects a data file's metrics from its column chunks, as Java's `ParquetMetrics` takes them from the footer.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use iceberg::spec::{DataFileBuilder, Datum, NestedFieldRef, PrimitiveType, Schema, StructType, Type};
use parquet::arrow::arrow_writer::ArrowColumnChunk;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;

use crate::read::leaf_count;

use super::bounds::{lower, truncate_lower, truncate_upper, upper};
use super::metrics_config::{MetricsConfig, MetricsMode};

/// Longest minimum and maximum together that stay in the footer, in bytes (parquet-java's `MAX_STATS_SIZE`).
const MAX_FOOTER_BOUNDS_BYTES: usize = 4096;

/// One Parquet column of the table.
#[derive(Clone, Debug)]
pub(super) struct LeafColumn {
    pub(super) id: i32,
    /// The dotted name in the table.
    pub(super) name: String,
    pub(super) primitive: PrimitiveType,
    /// Inside a list or map: manifests keep only its size.
    pub(super) repeated: bool,
    pub(super) mode: MetricsMode,
}

/// The columns of a schema, in the order of the file.
pub(super) fn leaf_columns(schema: &Schema, config: &MetricsConfig) -> Vec<LeafColumn> {
    let mut walk = Walk {
        schema,
        config,
        leaves: Vec::new(),
    };
    walk.fields(schema.as_struct(), false);
    walk.leaves
}

struct Walk<'a> {
    schema: &'a Schema,
    config: &'a MetricsConfig,
    leaves: Vec<LeafColumn>,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &StructType, repeated: bool) {
        for field in fields.fields() {
            self.field(field, repeated);
        }
    }

    fn field(&mut self, field: &NestedFieldRef, repeated: bool) {
        match field.field_type.as_ref() {
            Type::Primitive(primitive) => {
                let name = self
                    .schema
                    .name_by_field_id(field.id)
                    .unwrap_or(&field.name)
                    .to_owned();
                let mode = self.config.mode(&name);
                self.leaves.push(LeafColumn {
                    id: field.id,
                    name,
                    primitive: primitive.clone(),
                    repeated,
                    mode,
                });
            }
            Type::Struct(fields) => self.fields(fields, repeated),
            Type::List(list) => self.field(&list.element_field, true),
            Type::Map(map) => {
                self.field(&map.key_field, true);
                self.field(&map.value_field, true);
            }
        }
    }
}

/// The metrics of the row groups written so far.
#[derive(Debug, Default)]
pub(super) struct FileMetrics {
    columns: HashMap<i32, ColumnMetrics>,
}

#[derive(Debug, Default)]
struct ColumnMetrics {
    size: u64,
    values: u64,
    nulls: u64,
    nans: u64,
    lower: Option<Datum>,
    upper: Option<Datum>,
    /// A chunk came without statistics: counts and bounds are unknown.
    unknown: bool,
}

impl FileMetrics {
    /// Adds a column chunk, of which `nans` values are NaN.
    pub(super) fn add(&mut self, column: &LeafColumn, metadata: &ColumnChunkMetaData, nans: u64) {
        let metrics = self.columns.entry(column.id).or_default();
        metrics.size += metadata.compressed_size().unsigned_abs();
        metrics.values += metadata.num_values().unsigned_abs();
        metrics.nans += nans;
        match metadata.statistics() {
            None => metrics.unknown = true,
            Some(statistics) => {
                metrics.nulls += statistics.null_count_opt().unwrap_or(0);
                metrics.widen(column, statistics);
            }
        }
    }

    /// Fills the metrics of a manifest entry.
    pub(super) fn fill(self, leaves: &[LeafColumn], file: &mut DataFileBuilder) {
        let mut maps = Maps::default();
        let mut columns = self.columns;
        for leaf in leaves {
            if let Some(metrics) = columns.remove(&leaf.id) {
                maps.add(leaf, metrics);
            }
        }
        file.column_sizes(maps.sizes)
            .value_counts(maps.values)
            .null_value_counts(maps.nulls)
            .nan_value_counts(maps.nans)
            .lower_bounds(maps.lower)
            .upper_bounds(maps.upper);
    }
}

impl ColumnMetrics {
    fn widen(&mut self, column: &LeafColumn, statistics: &Statistics) {
        if column.repeated || matches!(column.mode, MetricsMode::None | MetricsMode::Counts) {
            return;
        }
        if let Some(lower) = lower(&column.primitive, statistics)
            && self.lower.as_ref().is_none_or(|least| lower < *least)
        {
            self.lower = Some(lower);
        }
        if let Some(upper) = upper(&column.primitive, statistics)
            && self.upper.as_ref().is_none_or(|most| upper > *most)
        {
            self.upper = Some(upper);
        }
    }
}

/// The maps of a manifest entry.
#[derive(Default)]
struct Maps {
    sizes: HashMap<i32, u64>,
    values: HashMap<i32, u64>,
    nulls: HashMap<i32, u64>,
    nans: HashMap<i32, u64>,
    lower: HashMap<i32, Datum>,
    upper: HashMap<i32, Datum>,
}

impl Maps {
    fn add(&mut self, leaf: &LeafColumn, metrics: ColumnMetrics) {
        if leaf.mode == MetricsMode::None {
            return;
        }
        self.sizes.insert(leaf.id, metrics.size);
        if leaf.repeated || metrics.unknown {
            return;
        }
        self.values.insert(leaf.id, metrics.values);
        self.nulls.insert(leaf.id, metrics.nulls);
        if matches!(leaf.primitive, PrimitiveType::Float | PrimitiveType::Double) {
            self.nans.insert(leaf.id, metrics.nans);
        }
        if let Some(lower) = metrics.lower.and_then(|datum| truncate_lower(datum, leaf.mode)) {
            self.lower.insert(leaf.id, lower);
        }
        if let Some(upper) = metrics.upper.and_then(|datum| truncate_upper(datum, leaf.mode)) {
            self.upper.insert(leaf.id, upper);
        }
    }
}

/// Takes bounds that are too long out of a chunk's footer entry.
pub(super) fn shorten_footer_bounds(chunk: &mut ArrowColumnChunk) {
    let Some(Statistics::ByteArray(statistics)) = chunk.close().metadata.statistics() else {
        return;
    };
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    if length(statistics.min_bytes_opt()) + length(statistics.max_bytes_opt()) <= MAX_FOOTER_BOUNDS_BYTES {
        return;
    }
    let counts = Statistics::byte_array(None, None, None, statistics.null_count_opt(), false);
    let shortened = chunk
        .close()
        .metadata
        .clone()
        .into_builder()
        .set_statistics(counts)
        .build();
    chunk.close_mut().metadata = shortened.expect("only the statistics of a valid chunk changed");
}

/// Counts the NaN values of each Parquet column under an array; those in lists and maps are not asked for.
pub(super) fn count_nans(array: &ArrayRef, counts: &mut [u64]) {
    let mut next = 0;
    add_nans(array, None, counts, &mut next);
}

fn add_nans(array: &ArrayRef, parents: Option<&NullBuffer>, counts: &mut [u64], next: &mut usize) {
    let nulls = NullBuffer::union(parents, array.nulls());
    let present = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    match array.data_type() {
        DataType::Struct(_) => {
            for child in array.as_struct().columns() {
                add_nans(child, nulls.as_ref(), counts, next);
            }
            return;
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().values();
            let nans = values
                .iter()
                .enumerate()
                .filter(|(row, v)| v.is_nan() && present(*row))
                .count();
            counts[*next] += nans as u64;
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            let nans = values
                .iter()
                .enumerate()
                .filter(|(row, v)| v.is_nan() && present(*row))
                .count();
            counts[*next] += nans as u64;
        }
        _ => {}
    }
    *next += leaf_count(array.data_type());
}
