//! Writes deletion vectors into Puffin files, many into one, and describes each for its manifest entry
//! (spec, Deletion Vectors; Java's `BaseDVFileWriter`).

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::metadata_columns::RESERVED_FIELD_ID_POS;
use iceberg::puffin::{Blob, CREATED_BY_PROPERTY, CompressionCodec, DELETION_VECTOR_V1, PuffinWriter};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, PartitionSpecRef, Struct, TableMetadata,
};
use snowpack_catalog::LoadedTable;
use snowpack_domain::{OptionError, Verification};
use snowpack_plan::promoted_partition;

use crate::commit::{Placed, binding_schema};
use crate::file_error::FileError;
use crate::write::{FileNames, LocationProvider, WrittenFiles};

/// Bytes of the magic number that a Puffin file starts with.
const HEADER_BYTES: u64 = 4;
/// What one vector takes in the footer besides its data file's path, rounded up.
const FOOTER_ENTRY_BYTES: u64 = 224;
/// Snapshot id and sequence number of a blob whose file is written before they are known (Puffin spec).
const UNKNOWN: i64 = -1;

/// What the groups of one action have in common.
pub(super) struct VectorContext {
    pub(super) io: FileIO,
    /// How new files are checked.
    pub(super) verify: Verification,
    table: Arc<TableMetadata>,
    locations: LocationProvider,
}

impl VectorContext {
    /// Reads where the table's files go.
    ///
    /// # Errors
    /// A property cannot be used; nothing was written yet.
    pub(super) fn new(table: &LoadedTable, verify: Verification) -> Result<Self, OptionError> {
        Ok(Self {
            verify,
            io: table.io.clone(),
            table: Arc::clone(&table.metadata),
            locations: LocationProvider::of(&table.metadata)?,
        })
    }

    fn spec(&self, id: i32) -> Result<&PartitionSpecRef, FileError> {
        self.table.partition_spec_by_id(id).ok_or_else(|| {
            let reason = format!("the table has files of partition spec {id}, but no such spec");
            FileError::unsupported(self.table.location(), reason)
        })
    }

    /// A partition tuple of the types that new manifests write.
    fn partition(&self, spec_id: i32, partition: &Struct) -> Result<Struct, FileError> {
        let spec = self.spec(spec_id)?;
        let types = spec.partition_type(&binding_schema(&self.table, spec));
        let types = types.map_err(|source| FileError::write(self.table.location(), source))?;
        Ok(promoted_partition(partition, &types).into_owned())
    }
}

/// A vector to write.
pub(super) struct NewVector<'a> {
    /// The data file it is about, as the table spells it.
    pub(super) data_file: String,
    /// That file's partition.
    pub(super) partition: &'a Struct,
    pub(super) placed: Placed,
    /// How many positions it holds.
    pub(super) cardinality: u64,
    /// Its blob.
    pub(super) blob: Vec<u8>,
}

/// A vector in the open file, whose size is not known yet.
struct Written {
    data_file: String,
    partition: Struct,
    placed: Placed,
    cardinality: u64,
    offset: u64,
    length: u64,
}

/// A Puffin file being written.
struct Open {
    path: String,
    writer: PuffinWriter,
    end: u64,
    footer_bytes: u64,
    vectors: Vec<Written>,
}

/// The Puffin files of one group, one after the other.
pub(super) struct PuffinOutput<'a> {
    context: &'a VectorContext,
    names: FileNames,
    /// No file gets another vector beyond this.
    limit_bytes: u64,
    written: &'a WrittenFiles,
    open: Option<Open>,
    files: Vec<DataFile>,
    placed: Vec<Placed>,
}

impl<'a> PuffinOutput<'a> {
    pub(super) fn new(
        context: &'a VectorContext,
        group: usize,
        limit_bytes: u64,
        written: &'a WrittenFiles,
    ) -> Self {
        Self {
            context,
            names: FileNames::new(group).ending_in("-deletes.puffin"),
            limit_bytes,
            written,
            open: None,
            files: Vec::new(),
            placed: Vec::new(),
        }
    }

    /// Adds a vector, in a new file if the last one is full.
    ///
    /// # Errors
    /// A file cannot be created, written or completed.
    pub(super) async fn add(&mut self, vector: NewVector<'_>) -> Result<(), FileError> {
        let partition = self.context.partition(vector.placed.spec_id, vector.partition)?;
        let length = vector.blob.len() as u64;
        let entry_bytes = FOOTER_ENTRY_BYTES + vector.data_file.len() as u64;
        let is_full = |open: &Open| open.end + open.footer_bytes + length + entry_bytes > self.limit_bytes;
        if self.open.as_ref().is_some_and(is_full) {
            self.close().await?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create().await?,
        };
        let properties = HashMap::from([
            ("referenced-data-file".to_owned(), vector.data_file.clone()),
            ("cardinality".to_owned(), vector.cardinality.to_string()),
        ]);
        let blob = Blob::builder()
            .r#type(DELETION_VECTOR_V1.to_owned())
            .fields(vec![RESERVED_FIELD_ID_POS])
            .snapshot_id(UNKNOWN)
            .sequence_number(UNKNOWN)
            .data(vector.blob)
            .properties(properties)
            .build();
        let added = open.writer.add(blob, CompressionCodec::None).await;
        added.map_err(|source| FileError::write(&open.path, source))?;
        open.vectors.push(Written {
            data_file: vector.data_file,
            partition,
            placed: vector.placed,
            cardinality: vector.cardinality,
            offset: open.end,
            length,
        });
        open.end += length;
        open.footer_bytes += entry_bytes;
        self.open = Some(open);
        Ok(())
    }

    async fn create(&mut self) -> Result<Open, FileError> {
        let path = self.context.locations.locate("", &self.names.next());
        self.written.register(&path);
        let failed = |source| FileError::write(&path, source);
        let file = self.context.io.new_output(&path).map_err(failed)?;
        let creator = format!("Snowpack {}", env!("CARGO_PKG_VERSION"));
        let properties = HashMap::from([(CREATED_BY_PROPERTY.to_owned(), creator)]);
        let writer = PuffinWriter::new(&file, properties, false)
            .await
            .map_err(failed)?;
        Ok(Open {
            path,
            writer,
            end: HEADER_BYTES,
            footer_bytes: 0,
            vectors: Vec::new(),
        })
    }

    async fn close(&mut self) -> Result<(), FileError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let failed = |source| FileError::write(&open.path, source);
        open.writer.close().await.map_err(failed)?;
        let file = self.context.io.new_input(&open.path).map_err(failed)?;
        let size = file.metadata().await.map_err(failed)?.size;
        for vector in open.vectors {
            self.placed.push(vector.placed);
            self.files.push(describe(&open.path, size, vector));
        }
        Ok(())
    }

    /// Ends the last file and returns what is in all of them.
    ///
    /// # Errors
    /// It cannot be completed.
    pub(super) async fn finish(mut self) -> Result<(Vec<DataFile>, Vec<Placed>), FileError> {
        self.close().await?;
        Ok((self.files, self.placed))
    }
}

fn describe(path: &str, size: u64, vector: Written) -> DataFile {
    const FITS: &str = "a file has less than 2^63 bytes";
    DataFileBuilder::default()
        .content(DataContentType::PositionDeletes)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Puffin)
        .partition(vector.partition)
        .partition_spec_id(vector.placed.spec_id)
        .record_count(vector.cardinality)
        .file_size_in_bytes(size)
        .referenced_data_file(Some(vector.data_file))
        .content_offset(Some(i64::try_from(vector.offset).expect(FITS)))
        .content_size_in_bytes(Some(i64::try_from(vector.length).expect(FITS)))
        .build()
        .expect("every required field is set")
}

#[cfg(test)]
mod tests;
