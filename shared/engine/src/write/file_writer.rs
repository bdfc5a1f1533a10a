//! Writes one data file, or position-delete file, and describes it for its manifest entry.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef as ArrowSchemaRef;
use bytes::Bytes;
use iceberg::io::{FileIO, FileWrite};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, PartitionSpecRef, SchemaRef, Struct,
};
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor};
use snowpack_domain::OptionError;

use super::copy::{CopyRules, RawRowGroup, sizes_to_copy};
use super::encoder::RowGroupEncoder;
use super::location::{FileNames, partition_path};
use super::metrics::{FileMetrics, LeafColumn, leaf_columns, shorten_footer_bounds};
use super::parquet_schema::parquet_schema;
use super::properties::{WriteProperties, refuse};
use super::written::WrittenFiles;
use crate::file_error::FileError;
use crate::read::table_arrow_schema;

/// Handed to the storage at once, in bytes.
const WRITE_BYTES: usize = 8 * 1024 * 1024;

/// Opens the data files of one file group.
pub(crate) struct FileWriterFactory {
    io: FileIO,
    spec: PartitionSpecRef,
    arrow_schema: ArrowSchemaRef,
    parquet_schema: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    write: WriteProperties,
    leaves: Arc<[LeafColumn]>,
    schema_json: String,
    names: FileNames,
    lanes: usize,
    content: DataContentType,
    /// The schema that partition values are of.
    partition_schema: SchemaRef,
}

impl FileWriterFactory {
    /// A factory for group `group`; files encode their columns in `lanes` tasks.
    ///
    /// # Errors
    /// The schema has a type, or a property a value, that cannot be written.
    pub(crate) fn new(
        io: FileIO,
        schema: SchemaRef,
        spec: PartitionSpecRef,
        write: WriteProperties,
        group: usize,
        lanes: usize,
    ) -> Result<Self, OptionError> {
        let unwritable = |reason: String| refuse("schema", reason);
        let descriptor = parquet_schema(&schema).map_err(|e| unwritable(e.to_string()))?;
        let leaves = leaf_columns(&schema, &write.metrics);
        let columns: Vec<_> = leaves
            .iter()
            .zip(SchemaDescriptor::columns(&descriptor))
            .map(|(leaf, column)| (leaf.name.clone(), column.path().clone()))
            .collect();
        Ok(Self {
            arrow_schema: table_arrow_schema(&schema).map_err(unwritable)?,
            properties: Arc::new(write.writer_properties(&columns)?),
            parquet_schema: Arc::new(descriptor),
            schema_json: serde_json::to_string(schema.as_ref()).map_err(|e| unwritable(e.to_string()))?,
            names: FileNames::new(group),
            io,
            partition_schema: schema,
            spec,
            write,
            leaves: leaves.into(),
            lanes,
            content: DataContentType::Data,
        })
    }

    /// The same for position-delete files, whose own schema says nothing about partitions.
    pub(crate) fn of_position_deletes(self, partition_schema: SchemaRef) -> Self {
        Self {
            content: DataContentType::PositionDeletes,
            names: self.names.ending_in("-deletes.parquet"),
            partition_schema,
            ..self
        }
    }

    /// The schema of the batches to write.
    pub(crate) fn arrow_schema(&self) -> &ArrowSchemaRef {
        &self.arrow_schema
    }

    /// What may be copied into the files of a group of `input_bytes` that becomes `files` files.
    pub(crate) fn copy_rules(&self, files: usize, input_bytes: u64) -> CopyRules {
        let row_group_bytes = self.write.row_group_bytes;
        CopyRules {
            schema: Arc::clone(&self.parquet_schema),
            properties: Arc::clone(&self.properties),
            leaves: Arc::clone(&self.leaves),
            sizes: sizes_to_copy(row_group_bytes, self.leaves.len(), files, input_bytes),
        }
    }

    /// Starts a file in a partition, in which the columns `plain`, by index, go without a dictionary. Its location
    /// is noted in `written` before it is created.
    ///
    /// # Errors
    /// The storage refuses.
    pub(crate) async fn create(
        self: &Arc<Self>,
        partition: &Struct,
        plain: &[usize],
        written: &WrittenFiles,
    ) -> Result<DataFileWriter, FileError> {
        let name = self.names.next();
        let directory = partition_path(&self.spec, &self.partition_schema, partition)
            .map_err(|source| FileError::write(&name, source))?;
        let path = self.write.locations.locate(&directory, &name);
        let output = self
            .io
            .new_output(&path)
            .map_err(|e| FileError::write(&path, e))?;
        written.register(&path);
        let storage = output.writer().await.map_err(|e| FileError::write(&path, e))?;
        let buffer = Buffer::default();
        let root = self.parquet_schema.root_schema_ptr();
        let mut file = SerializedFileWriter::new(buffer.clone(), root, self.properties_without(plain))
            .map_err(|e| FileError::encode(&path, e))?;
        file.append_key_value_metadata(KeyValue::new(
            "iceberg.schema".to_owned(),
            self.schema_json.clone(),
        ));
        if self.content == DataContentType::PositionDeletes {
            let kind = KeyValue::new("delete-type".to_owned(), "position".to_owned());
            file.append_key_value_metadata(kind);
        }
        Ok(DataFileWriter {
            columns: ArrowRowGroupWriterFactory::new(&file, Arc::clone(&self.arrow_schema)),
            factory: Arc::clone(self),
            path,
            partition: partition.clone(),
            storage,
            buffer,
            file,
            row_group: None,
            row_groups: 0,
            last_row_group_bytes: 0,
            rows: 0,
            metrics: FileMetrics::default(),
        })
    }

    fn properties_without(&self, plain: &[usize]) -> WriterPropertiesPtr {
        if plain.is_empty() {
            return Arc::clone(&self.properties);
        }
        let properties = self.properties.as_ref().clone();
        let without = plain.iter().fold(properties.into_builder(), |builder, column| {
            builder.set_column_dictionary_enabled(self.parquet_schema.column(*column).path().clone(), false)
        });
        Arc::new(without.build())
    }
}

/// A data file being written.
pub(crate) struct DataFileWriter {
    factory: Arc<FileWriterFactory>,
    path: String,
    partition: Struct,
    storage: Box<dyn FileWrite>,
    buffer: Buffer,
    file: SerializedFileWriter<Buffer>,
    columns: ArrowRowGroupWriterFactory,
    row_group: Option<RowGroupEncoder>,
    row_groups: usize,
    last_row_group_bytes: u64,
    rows: u64,
    metrics: FileMetrics,
}

impl DataFileWriter {
    /// Whether another row group like the last would make the file larger than `limit_bytes`. Only said when a
    /// row group just ended: what is still being encoded has no certain size.
    pub(crate) fn is_full(&self, limit_bytes: u64) -> bool {
        let written = self.file.bytes_written() as u64;
        self.row_group.is_none() && written + self.last_row_group_bytes > limit_bytes
    }

    /// Memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.row_group.as_ref().map_or(0, RowGroupEncoder::memory_bytes)
    }

    /// Adds rows of the table's current schema; ends the row group when it has its size.
    ///
    /// # Errors
    /// The rows do not fit the schema, or the storage fails.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<(), FileError> {
        let mut row_group = match self.row_group.take() {
            Some(row_group) => row_group,
            None => self.start_row_group()?,
        };
        row_group.encode(batch).await.map_err(|e| self.encode_error(e))?;
        self.rows += batch.num_rows() as u64;
        let full = row_group.encoded_bytes() >= self.factory.write.row_group_bytes;
        self.row_group = Some(row_group);
        if full { self.end_row_group().await } else { Ok(()) }
    }

    fn start_row_group(&self) -> Result<RowGroupEncoder, FileError> {
        let schema = &self.factory.arrow_schema;
        RowGroupEncoder::new(&self.columns, self.row_groups, schema, self.factory.lanes)
            .map_err(|e| self.encode_error(e))
    }

    /// Ends the row group, if one is open, and hands it to the storage.
    ///
    /// # Errors
    /// The encoder or the storage fails.
    pub(crate) async fn end_row_group(&mut self) -> Result<(), FileError> {
        let Some(row_group) = self.row_group.take().filter(|row_group| row_group.rows() > 0) else {
            return Ok(());
        };
        let columns = row_group.close().await.map_err(|e| self.encode_error(e))?;
        let start = self.file.bytes_written();
        let append = || -> Result<(), ParquetError> {
            let mut open = self.file.next_row_group()?;
            for mut column in columns {
                let leaf = &self.factory.leaves[column.leaf];
                self.metrics
                    .add(leaf, &column.chunk.close().metadata, column.nans);
                shorten_footer_bounds(&mut column.chunk);
                column.chunk.append_to_row_group(&mut open)?;
            }
            open.close().map(drop)
        };
        append().map_err(|e| FileError::encode(&self.path, e))?;
        self.row_groups += 1;
        self.last_row_group_bytes = (self.file.bytes_written() - start) as u64;
        self.buffer.flush(self.storage.as_mut(), &self.path).await
    }

    /// Whether the file would be larger than `limit_bytes` with this row group.
    pub(crate) fn has_no_room_for(&self, row_group: &RawRowGroup, limit_bytes: u64) -> bool {
        let encoding = self.row_group.as_ref().map_or(0, RowGroupEncoder::encoded_bytes);
        self.file.bytes_written() as u64 + encoding + row_group.bytes() > limit_bytes
    }

    /// Adds a row group as it is, of which [`CopyRules`] said that it may be. Rows given to
    /// [`DataFileWriter::write`] before it may come after it in the file.
    ///
    /// # Errors
    /// The storage fails.
    pub(crate) async fn copy(&mut self, row_group: RawRowGroup) -> Result<(), FileError> {
        let failed = |e: ParquetError| FileError::encode(&self.path, e);
        self.rows += row_group.rows();
        self.row_groups += 1;
        self.last_row_group_bytes = row_group.bytes();
        let mut open = self.file.next_row_group().map_err(failed)?;
        for (leaf, (bytes, close)) in self.factory.leaves.iter().zip(row_group.into_columns()) {
            self.metrics.add(leaf, &close.metadata, 0);
            open.append_column(&bytes, close).map_err(failed)?;
            // Column by column: the whole row group is in memory once already.
            self.buffer.flush(self.storage.as_mut(), &self.path).await?;
        }
        open.close().map_err(failed)?;
        Ok(())
    }

    /// Ends the file and describes it.
    ///
    /// # Errors
    /// The encoder or the storage fails; the file is of no use then.
    pub(crate) async fn close(self) -> Result<DataFile, FileError> {
        let order = self.factory.write.sort_order_id;
        let (path, mut file) = self.finish().await?;
        file.sort_order_id(order);
        file.build().map_err(|e| FileError::encode(&path, e))
    }

    /// Ends a position-delete file; `referenced` is the only data file it names, if it names just one. Counts
    /// of its columns would say nothing, nor would bounds over several data files (`PositionDeleteWriter`).
    ///
    /// # Errors
    /// As [`DataFileWriter::close`].
    pub(crate) async fn close_deletes(self, referenced: Option<String>) -> Result<DataFile, FileError> {
        let (path, mut file) = self.finish().await?;
        file.value_counts(HashMap::new())
            .null_value_counts(HashMap::new());
        if referenced.is_none() {
            file.lower_bounds(HashMap::new()).upper_bounds(HashMap::new());
        }
        file.referenced_data_file(referenced);
        file.build().map_err(|e| FileError::encode(&path, e))
    }

    async fn finish(mut self) -> Result<(String, DataFileBuilder), FileError> {
        self.end_row_group().await?;
        let footer = self.file.finish().map_err(|e| self.encode_error(e))?;
        let size = self.file.bytes_written() as u64;
        self.buffer.flush(self.storage.as_mut(), &self.path).await?;
        self.storage
            .close()
            .await
            .map_err(|e| FileError::write(&self.path, e))?;
        let mut file = DataFileBuilder::default();
        file.content(self.factory.content)
            .file_path(self.path.clone())
            .file_format(DataFileFormat::Parquet)
            .partition(self.partition)
            .partition_spec_id(self.factory.spec.spec_id())
            .record_count(self.rows)
            .file_size_in_bytes(size)
            .split_offsets(Some(split_offsets(&footer)));
        self.metrics.fill(&self.factory.leaves, &mut file);
        Ok((self.path, file))
    }

    fn encode_error(&self, error: ParquetError) -> FileError {
        FileError::encode(&self.path, error)
    }
}

/// Where each row group starts (`ParquetUtil.getSplitOffsets`).
fn split_offsets(footer: &ParquetMetaData) -> Vec<i64> {
    let mut offsets: Vec<i64> = footer
        .row_groups()
        .iter()
        .filter_map(|group| group.columns().first())
        .map(|column| match column.dictionary_page_offset() {
            Some(dictionary) if dictionary > 0 => dictionary.min(column.data_page_offset()),
            _ => column.data_page_offset(),
        })
        .collect();
    offsets.sort_unstable();
    offsets
}

/// Bytes that were encoded and not yet handed to the storage.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Bytes {
        Bytes::from(std::mem::take(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }

    /// Hands everything to the storage.
    async fn flush(&self, storage: &mut dyn FileWrite, path: &str) -> Result<(), FileError> {
        let mut bytes = self.take();
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(WRITE_BYTES));
            storage.write(part).await.map_err(|e| FileError::write(path, e))?;
        }
        Ok(())
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
