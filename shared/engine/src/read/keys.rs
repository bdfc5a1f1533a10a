//! Streams only the columns of a data file that delete keys are made of.

use iceberg::io::FileIO;
use iceberg::spec::{NameMapping, NestedFieldRef, TableMetadata};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use snowpack_plan::LiveFile;

use super::file::{ParquetFile, from_parquet};
use super::projection::{Column, Resolver};
use super::scan::{batch_rows, identity_values};
use super::schema::FileSchema;
use crate::file_error::FileError;

/// A data file ready to be streamed.
pub(crate) struct KeyScan {
    /// Every row of the file, in order.
    pub(crate) stream: ParquetRecordBatchStream<ParquetFile>,
    /// Where the batches have the columns of each key.
    pub(crate) columns: Vec<Vec<Column>>,
}

impl KeyScan {
    /// Opens a file for the keys made of these columns.
    ///
    /// # Errors
    /// The file cannot be read, or a column has a type that cannot become the table's.
    pub(crate) async fn open<'a>(
        io: &FileIO,
        table: &TableMetadata,
        name_mapping: Option<&NameMapping>,
        data: &LiveFile,
        keys: impl Iterator<Item = &'a [NestedFieldRef]> + Clone,
    ) -> Result<Self, FileError> {
        let path = data.file.file_path();
        let parquet = ParquetFile::open(io, &data.file).await?;
        let schema =
            FileSchema::resolve(parquet.metadata(), name_mapping).map_err(|e| FileError::corrupt(path, e))?;
        let rows = batch_rows(parquet.metadata());
        let partition = identity_values(table, data);
        let resolve = |fields| {
            let mut resolver = Resolver {
                partition: &partition,
                nested_by_position: schema.nested_by_position,
                leaves: Vec::new(),
            };
            let of_key =
                |key: &[NestedFieldRef]| key.iter().map(|field| resolver.column(field, fields)).collect();
            let columns = keys.clone().map(of_key).collect::<Result<Vec<Vec<_>>, String>>();
            columns
                .map(|columns| (columns, resolver.leaves))
                .map_err(|e| FileError::schema(path, e))
        };
        let (wanted, leaves) = resolve(schema.reader.schema().fields())?;
        let mask = ProjectionMask::leaves(schema.reader.parquet_schema(), leaves);
        let stream = ParquetRecordBatchStreamBuilder::new_with_metadata(parquet, schema.reader.clone())
            .with_projection(mask)
            .with_batch_size(rows)
            .build()
            .map_err(|e| from_parquet(path, e))?;
        let (columns, _) = resolve(stream.schema().fields())?;
        if !wanted
            .iter()
            .flatten()
            .zip(columns.iter().flatten())
            .all(same_source)
        {
            // Taking a column that was asked for as missing would turn its values into nulls.
            return Err(FileError::schema(
                path,
                "the reader left out columns it was asked for",
            ));
        }
        Ok(Self { stream, columns })
    }
}

fn same_source((one, other): (&Column, &Column)) -> bool {
    one.source == other.source && one.path.len() == other.path.len()
}
