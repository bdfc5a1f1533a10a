//! Reads one position-delete file from its first position to its last, batch by batch.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array, StringArray};
use arrow_schema::{DataType, Fields};
use futures::{TryFutureExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::DataFile;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};

use crate::deletes::{FILE_PATH, POS, column};
use crate::file_error::FileError;
use crate::read::{FileSchema, ParquetFile, field_id, from_parquet, sound};

/// Reserved field id of the optional column with the deleted rows (spec, Position Delete Files), and its name.
const ROW: (i32, &str) = (2_147_483_544, "row");

/// A stretch of a file's deletes: paths, and as many positions.
pub(super) type Batch = (StringArray, Int64Array);

/// What is done about a file that also holds the deleted rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeletedRows {
    /// It is refused: a position-delete file made of it without them would be less than it was.
    Refused,
    /// They are not read: a vector has no place for them (Java's `DVWriter` leaves them out too).
    Left,
}

/// An open position-delete file.
pub(super) struct DeleteReader {
    path: String,
    stream: ParquetRecordBatchStream<ParquetFile>,
    path_first: bool,
}

impl DeleteReader {
    /// Opens a file, to be read `batch_rows` at a time.
    ///
    /// # Errors
    /// The file cannot be read, or has not the columns of a position-delete file, or the deleted rows where that
    /// is refused.
    pub(super) async fn open(
        io: &FileIO,
        file: &DataFile,
        batch_rows: usize,
        deleted_rows: DeletedRows,
    ) -> Result<Self, FileError> {
        sound(
            file.file_path(),
            Self::open_columns(io, file, batch_rows, deleted_rows),
        )
        .await
    }

    async fn open_columns(
        io: &FileIO,
        file: &DataFile,
        batch_rows: usize,
        deleted_rows: DeletedRows,
    ) -> Result<Self, FileError> {
        let path = file.file_path();
        let parquet = ParquetFile::open(io, file).await?;
        let schema =
            FileSchema::resolve(parquet.metadata(), None).map_err(|e| FileError::corrupt(path, e))?;
        let arrow = schema.reader.schema();
        if deleted_rows == DeletedRows::Refused && has_rows(arrow.fields()) {
            let reason = "it holds the deleted rows too (column row), which would be lost; use Spark's \
                          rewrite_position_delete_files for this table";
            return Err(FileError::unsupported(path, reason));
        }
        let path_column = column(arrow, FILE_PATH, &DataType::Utf8, path)?;
        let pos_column = column(arrow, POS, &DataType::Int64, path)?;
        let mask = ProjectionMask::roots(schema.reader.parquet_schema(), [path_column, pos_column]);
        let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(parquet, schema.reader)
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .build()
            .map_err(|e| from_parquet(path, e))?;
        Ok(Self {
            path: path.to_owned(),
            stream,
            path_first: path_column < pos_column,
        })
    }

    /// The next deletes; `None` after the last.
    ///
    /// # Errors
    /// The file cannot be read, or a delete has no path or no position.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, FileError> {
        let path = &self.path;
        let next = self.stream.try_next().map_err(|e| from_parquet(path, e));
        let Some(batch) = sound(path, next).await? else {
            return Ok(None);
        };
        let (paths, positions) = if self.path_first { (0, 1) } else { (1, 0) };
        let paths = batch.column(paths).as_string::<i32>().clone();
        let positions = batch.column(positions).as_primitive::<Int64Type>().clone();
        if paths.null_count() > 0 || positions.null_count() > 0 {
            return Err(FileError::corrupt(
                &self.path,
                "a delete has no file path or no position",
            ));
        }
        if positions.values().iter().any(|position| *position < 0) {
            return Err(FileError::corrupt(&self.path, "a position is negative"));
        }
        Ok(Some((paths, positions)))
    }
}

fn has_rows(fields: &Fields) -> bool {
    let (id, name) = ROW;
    fields
        .iter()
        .any(|field| field_id(field) == Some(id) || field.name() == name)
}
