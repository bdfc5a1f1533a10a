//! Position deletes: which rows of which data file are gone, by position-delete files (spec, Position Delete
//! Files) or deletion vectors.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema as ArrowSchema};
use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::DataFileFormat;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use roaring::RoaringTreemap;
use snowpack_catalog::normalize_location;
use snowpack_plan::{LiveFile, ScanFile};
use snowpack_service::ports::Supervisor;

use super::{Budget, vector};
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::read::{FileSchema, ParquetFile, field_id, from_parquet, sound};
use crate::watch::watched;

/// Reserved field ids of the two columns (spec, Reserved Field IDs), with their names for files without ids.
pub(crate) const FILE_PATH: (i32, &str) = (2_147_483_546, "file_path");
pub(crate) const POS: (i32, &str) = (2_147_483_545, "pos");

/// What one deleted position takes in the bitmaps at worst, in bytes.
const POSITION_BYTES: u64 = 8;

/// Delete files read at the same time: they are small, so waiting for storage dominates.
const CONCURRENT_FILES: usize = 8;

/// Rows decoded at once.
const BATCH_ROWS: usize = 16 * 1024;

/// The data files a delete file was listed for: normalized location to index in the group.
type Targets = HashMap<String, usize>;

/// Reads each position-delete file and each vector of the group once; returns the deleted positions of each data file.
pub(super) async fn load<S: Supervisor>(
    io: &FileIO,
    files: &[ScanFile],
    budget: &mut Budget,
    supervisor: &S,
) -> Result<Vec<RoaringTreemap>, EngineError> {
    let mut positions = vec![RoaringTreemap::new(); files.len()];
    let reads = delete_files(files).into_iter().map(|(file, targets)| async move {
        let found = sound(file.file.file_path(), read(io, &file, &targets)).await?;
        Ok::<_, FileError>((file, found))
    });
    let mut results = futures::stream::iter(reads).buffer_unordered(CONCURRENT_FILES);
    while let Some((file, found)) = watched(supervisor, results.try_next()).await?? {
        for (index, bitmap) in found {
            budget.take(bitmap.len() * POSITION_BYTES, file.file.file_path())?;
            positions[index] |= bitmap;
        }
    }
    Ok(positions)
}

/// Every position-delete file of the group with the data files it was listed for, in planned order.
fn delete_files(files: &[ScanFile]) -> Vec<(Arc<LiveFile>, Targets)> {
    let mut found: Vec<(Arc<LiveFile>, Targets)> = Vec::new();
    // Vectors share Puffin files.
    let mut by_place: HashMap<(&str, Option<i64>), usize> = HashMap::new();
    for (index, file) in files.iter().enumerate() {
        let target = normalize_location(file.data.file.file_path());
        for delete in &file.position_deletes {
            let place = (delete.file.file_path(), delete.file.content_offset());
            let slot = *by_place.entry(place).or_insert_with(|| {
                found.push((Arc::clone(delete), Targets::new()));
                found.len() - 1
            });
            found[slot].1.insert(target.clone().into_owned(), index);
        }
    }
    found
}

async fn read(
    io: &FileIO,
    file: &LiveFile,
    targets: &Targets,
) -> Result<HashMap<usize, RoaringTreemap>, FileError> {
    let path = file.file.file_path();
    if file.file.file_format() == DataFileFormat::Puffin {
        // A vector was listed for the one file it is about.
        let positions = vector::read(io, &file.file).await?;
        return Ok(targets
            .values()
            .map(|index| (*index, positions.clone()))
            .collect());
    }
    let parquet = ParquetFile::open(io, &file.file).await?;
    let metadata = Arc::clone(parquet.metadata());
    let schema = FileSchema::resolve(&metadata, None).map_err(|e| FileError::corrupt(path, e))?;
    let arrow = Arc::clone(schema.reader.schema());
    let path_column = column(&arrow, FILE_PATH, &DataType::Utf8, path)?;
    let pos_column = column(&arrow, POS, &DataType::Int64, path)?;
    let mask = ProjectionMask::roots(schema.reader.parquet_schema(), [path_column, pos_column]);
    let mut stream = ParquetRecordBatchStreamBuilder::new_with_metadata(parquet, schema.reader)
        .with_row_groups(row_groups(&metadata, path_column, targets))
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|e| from_parquet(path, e))?;
    let mut found = HashMap::new();
    let path_first = path_column < pos_column;
    while let Some(batch) = stream.try_next().await.map_err(|e| from_parquet(path, e))? {
        collect(&batch, path_first, targets, &mut found).map_err(|e| FileError::corrupt(path, e))?;
    }
    Ok(found)
}

/// The index of one of the two columns.
///
/// # Errors
/// The file has no such column, or it is of another type.
pub(crate) fn column(
    schema: &ArrowSchema,
    (id, name): (i32, &str),
    data_type: &DataType,
    path: &str,
) -> Result<usize, FileError> {
    let fields = schema.fields();
    let by_id = fields.iter().position(|field| field_id(field) == Some(id));
    let index = by_id.or_else(|| fields.iter().position(|field| field.name() == name));
    match index {
        Some(index) if fields[index].data_type() == data_type => Ok(index),
        Some(index) => {
            let reason = format!("its column {name} is of type {}", fields[index].data_type());
            Err(FileError::schema(path, reason))
        }
        None => Err(FileError::schema(
            path,
            format!("a position-delete file needs a column {name}"),
        )),
    }
}

/// Adds a batch's positions. Paths come in runs, so each run is looked up once.
fn collect(
    batch: &RecordBatch,
    path_first: bool,
    targets: &Targets,
    found: &mut HashMap<usize, RoaringTreemap>,
) -> Result<(), &'static str> {
    let (paths, positions) = if path_first { (0, 1) } else { (1, 0) };
    let paths = batch.column(paths).as_string::<i32>();
    let positions = batch.column(positions).as_primitive::<Int64Type>();
    if paths.null_count() > 0 || positions.null_count() > 0 {
        return Err("a delete has no file path or no position");
    }
    for run in runs(paths.len(), |a, b| paths.value(a) == paths.value(b)) {
        let Some(&index) = targets.get(normalize_location(paths.value(run.start)).as_ref()) else {
            continue;
        };
        let bitmap = found.entry(index).or_default();
        for row in run {
            bitmap.insert(u64::try_from(positions.value(row)).map_err(|_| "a position is negative")?);
        }
    }
    Ok(())
}

/// Splits `0..len` into runs of neighbours that are the same.
fn runs(len: usize, same: impl Fn(usize, usize) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        (start < len).then(|| {
            let end = (start + 1..len).find(|&row| !same(start, row)).unwrap_or(len);
            let run = start..end;
            start = end;
            run
        })
    })
}

/// The row groups that may name a target, by their file path statistics.
fn row_groups(metadata: &ParquetMetaData, path_column: usize, targets: &Targets) -> Vec<usize> {
    let wanted: HashSet<&str> = targets.keys().map(String::as_str).collect();
    (0..metadata.num_row_groups())
        .filter(|&index| may_name(metadata.row_group(index), path_column, &wanted))
        .collect()
}

fn may_name(group: &RowGroupMetaData, path_column: usize, wanted: &HashSet<&str>) -> bool {
    let Some(statistics) = group.column(path_column).statistics() else {
        return true;
    };
    let (Some(min), Some(max)) = (statistics.min_bytes_opt(), statistics.max_bytes_opt()) else {
        return true;
    };
    let (Ok(min), Ok(max)) = (std::str::from_utf8(min), std::str::from_utf8(max)) else {
        return true;
    };
    if !same_spelling(min, max) {
        return true;
    }
    let (min, max): (Cow<'_, str>, Cow<'_, str>) = (normalize_location(min), normalize_location(max));
    wanted
        .iter()
        .any(|path| (min.as_ref()..=max.as_ref()).contains(path))
}

/// Whether every location between two bounds is spelled with the same scheme and slashes as they are, so that
/// normalizing keeps their order.
fn same_spelling(min: &str, max: &str) -> bool {
    let common = min.bytes().zip(max.bytes()).take_while(|(a, b)| a == b).count();
    let after_scheme = min.find(':').map_or(0, |colon| colon + 1);
    let authority = min[after_scheme..]
        .find(|c| c != '/')
        .map_or(min.len(), |at| after_scheme + at);
    common > authority
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_equal_neighbours() {
        let values = [1, 1, 2, 3, 3];
        let found: Vec<_> = runs(values.len(), |a, b| values[a] == values[b]).collect();
        assert_eq!(found, vec![0..2, 2..3, 3..5]);
        assert_eq!(runs(0, |_, _| true).count(), 0);
    }

    #[test]
    fn bounds_are_only_trusted_when_spelled_alike() {
        assert!(same_spelling("file:///w/a", "file:///w/b"));
        assert!(same_spelling("s3://bucket/a", "s3://bucket/b"));
        assert!(!same_spelling("file:/w/a", "file:///w/a"));
        assert!(!same_spelling("s3://a", "s3a://a"));
        assert!(!same_spelling("", ""));
    }
}
