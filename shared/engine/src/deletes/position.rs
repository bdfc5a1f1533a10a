//! Position deletes: which rows of which data file are gone, by position-delete files (spec, Position Delete
//! Files) or deletion vectors.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, Range};
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
use snowpack_plan::{LiveFile, ScanFile, SharedDeletes};
use snowpack_service::ports::Supervisor;

use super::{BATCH_ROWS, Budget, CONCURRENT_FILES, vector};
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::read::{FileSchema, ParquetFile, field_id, from_parquet, sound};
use crate::watch::watched;

/// Reserved field ids of the two columns (spec, Reserved Field IDs), with their names for files without ids.
pub(crate) const FILE_PATH: (i32, &str) = (2_147_483_546, "file_path");
pub(crate) const POS: (i32, &str) = (2_147_483_545, "pos");

/// The data files that the delete files of one list were listed for: by normalized location, the index in the
/// group and among the list's users.
type Targets = BTreeMap<String, (usize, usize)>;

/// Deleted positions by index of the data file in the group.
type Found = HashMap<usize, RoaringTreemap>;

/// Reads each position-delete file and each vector of the group once; returns the deleted positions of each data file.
pub(super) async fn load<S: Supervisor>(
    io: &FileIO,
    files: &[ScanFile],
    budget: &mut Budget,
    supervisor: &S,
) -> Result<Vec<RoaringTreemap>, EngineError> {
    let mut positions = vec![RoaringTreemap::new(); files.len()];
    let lists = SharedDeletes::of(files.iter().map(|file| &file.position_deletes));
    let lists = lists.into_iter().map(|list| Arc::new(Listed::new(list, files)));
    let reads = lists
        .flat_map(|list| list.reads())
        .map(|(list, place, file)| async move {
            let found = sound(file.file.file_path(), list.read(io, place, &file)).await?;
            Ok::<_, FileError>((file, found))
        });
    let mut results = futures::stream::iter(reads).buffer_unordered(CONCURRENT_FILES);
    while let Some((file, found)) = watched(supervisor, results.try_next()).await?? {
        for (index, bitmap) in found {
            budget.take(bitmap.serialized_size() as u64, file.file.file_path())?;
            positions[index] |= bitmap;
        }
    }
    Ok(positions)
}

/// Delete files of one list with the data files they were listed for.
struct Listed {
    deletes: SharedDeletes,
    targets: Targets,
}

impl Listed {
    fn new(deletes: SharedDeletes, files: &[ScanFile]) -> Self {
        let users = deletes.users().enumerate();
        let targets = users.map(|(user, index)| {
            let path = normalize_location(files[index].data.file.file_path());
            (path.into_owned(), (index, user))
        });
        Self {
            targets: targets.collect(),
            deletes,
        }
    }

    /// Each delete file with its place in the list.
    fn reads(self: Arc<Self>) -> Vec<(Arc<Self>, usize, Arc<LiveFile>)> {
        let files = self.deletes.files();
        let reads = files.map(|(place, file)| (Arc::clone(&self), place, Arc::clone(file)));
        reads.collect()
    }

    /// The index of the data file of this location, if the delete file at `place` was listed for it.
    fn target(&self, place: usize, location: &str) -> Option<usize> {
        let (index, user) = self.targets.get(normalize_location(location).as_ref())?;
        self.deletes.applies(place, *user).then_some(*index)
    }

    async fn read(&self, io: &FileIO, place: usize, file: &LiveFile) -> Result<Found, FileError> {
        if file.file.file_format() != DataFileFormat::Puffin {
            return self.read_parquet(io, place, file).await;
        }
        // A vector was listed for the one file it is about.
        let positions = vector::read(io, &file.file).await?;
        let users = self.targets.values();
        Ok(users.map(|(index, _)| (*index, positions.clone())).collect())
    }

    async fn read_parquet(&self, io: &FileIO, place: usize, file: &LiveFile) -> Result<Found, FileError> {
        let path = file.file.file_path();
        let parquet = ParquetFile::open(io, &file.file).await?;
        let metadata = Arc::clone(parquet.metadata());
        let schema = FileSchema::resolve(&metadata, None).map_err(|e| FileError::corrupt(path, e))?;
        let arrow = Arc::clone(schema.reader.schema());
        let path_column = column(&arrow, FILE_PATH, &DataType::Utf8, path)?;
        let pos_column = column(&arrow, POS, &DataType::Int64, path)?;
        let mask = ProjectionMask::roots(schema.reader.parquet_schema(), [path_column, pos_column]);
        let mut stream = ParquetRecordBatchStreamBuilder::new_with_metadata(parquet, schema.reader)
            .with_row_groups(row_groups(&metadata, path_column, &self.targets))
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|e| from_parquet(path, e))?;
        let mut found = Found::new();
        let path_first = path_column < pos_column;
        let target = |location: &str| self.target(place, location);
        while let Some(batch) = stream.try_next().await.map_err(|e| from_parquet(path, e))? {
            collect(&batch, path_first, target, &mut found).map_err(|e| FileError::corrupt(path, e))?;
        }
        Ok(found)
    }
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
    target: impl Fn(&str) -> Option<usize>,
    found: &mut Found,
) -> Result<(), &'static str> {
    let (paths, positions) = if path_first { (0, 1) } else { (1, 0) };
    let paths = batch.column(paths).as_string::<i32>();
    let positions = batch.column(positions).as_primitive::<Int64Type>();
    if paths.null_count() > 0 || positions.null_count() > 0 {
        return Err("a delete has no file path or no position");
    }
    for run in runs(paths.len(), |a, b| paths.value(a) == paths.value(b)) {
        let Some(index) = target(paths.value(run.start)) else {
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
    (0..metadata.num_row_groups())
        .filter(|&index| may_name(metadata.row_group(index), path_column, targets))
        .collect()
}

fn may_name(group: &RowGroupMetaData, path_column: usize, targets: &Targets) -> bool {
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
    let (min, max) = (normalize_location(min), normalize_location(max));
    let between = (Bound::Included(min.as_ref()), Bound::Included(max.as_ref()));
    min <= max && targets.range::<str, _>(between).next().is_some()
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
