//! The files a group is being written to: of one partition, or of many.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use iceberg::spec::{DataFile, PartitionSpec, Schema, Struct};

use crate::file_error::FileError;
use crate::write::{
    DataFileWriter, FileWriterFactory, PartitionRouter, RawRowGroup, Routed, WrittenFiles, better_plain,
};

/// Partitions written at the same time: each holds a page per column in memory.
const MAX_OPEN_PARTITIONS: usize = 64;

/// Memory the open partitions may hold, in bytes; beyond it the largest one ends its row group early.
const OPEN_PARTITIONS_BYTES: u64 = 128 * 1024 * 1024;

/// One partition's files, written one after the other.
pub(super) struct Output {
    factory: Arc<FileWriterFactory>,
    partition: Struct,
    /// No file gets another row group beyond this, in bytes.
    limit_bytes: u64,
    current: Option<DataFileWriter>,
    files: Vec<DataFile>,
}

impl Output {
    pub(super) fn new(factory: Arc<FileWriterFactory>, partition: Struct, limit_bytes: u64) -> Self {
        Self {
            factory,
            partition,
            limit_bytes,
            current: None,
            files: Vec::new(),
        }
    }

    /// Adds rows to the current file; no rows make no file.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub(super) async fn write(
        &mut self,
        batch: &RecordBatch,
        written: &WrittenFiles,
    ) -> Result<(), FileError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.current.is_none() {
            self.start(&better_plain(batch), written).await?;
        }
        let writer = self.current.as_mut().expect("the file was just made sure of");
        writer.write(batch).await?;
        self.roll_if_full().await
    }

    /// Adds a row group to the current file as it is.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(super) async fn copy(
        &mut self,
        row_group: RawRowGroup,
        written: &WrittenFiles,
    ) -> Result<(), FileError> {
        let current = self.current.as_ref();
        if current.is_some_and(|writer| writer.has_no_room_for(&row_group, self.limit_bytes)) {
            self.roll().await?;
        }
        if self.current.is_none() {
            // What its first writer found out about the columns holds for rows encoded after it.
            self.start(&row_group.plain_columns(), written).await?;
        }
        let writer = self.current.as_mut().expect("the file was just made sure of");
        writer.copy(row_group).await?;
        self.roll_if_full().await
    }

    async fn start(&mut self, plain: &[usize], written: &WrittenFiles) -> Result<(), FileError> {
        self.current = Some(self.factory.create(&self.partition, plain, written).await?);
        Ok(())
    }

    async fn roll_if_full(&mut self) -> Result<(), FileError> {
        let is_full = |writer: &DataFileWriter| writer.is_full(self.limit_bytes);
        if self.current.as_ref().is_some_and(is_full) {
            self.roll().await?;
        }
        Ok(())
    }

    /// Ends the current file, if one is open.
    ///
    /// # Errors
    /// It cannot be completed.
    pub(super) async fn roll(&mut self) -> Result<(), FileError> {
        if let Some(writer) = self.current.take() {
            self.files.push(writer.close().await?);
        }
        Ok(())
    }

    /// Ends the last file and returns all.
    ///
    /// # Errors
    /// It cannot be completed.
    pub(super) async fn finish(mut self) -> Result<Vec<DataFile>, FileError> {
        self.roll().await?;
        Ok(self.files)
    }

    fn memory_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, DataFileWriter::memory_bytes)
    }

    async fn end_row_group(&mut self) -> Result<(), FileError> {
        let Some(writer) = self.current.as_mut() else {
            return Ok(());
        };
        writer.end_row_group().await?;
        self.roll_if_full().await
    }
}

/// The files of many partitions, those of one pass open together.
pub(super) struct RoutedOutput {
    factory: Arc<FileWriterFactory>,
    router: PartitionRouter,
    limit_bytes: u64,
    open: Vec<Output>,
    files: Vec<DataFile>,
}

impl RoutedOutput {
    /// # Errors
    /// The spec's partitions cannot be computed from rows of this schema.
    pub(super) fn new(
        factory: Arc<FileWriterFactory>,
        spec: &PartitionSpec,
        schema: &Schema,
        limit_bytes: u64,
    ) -> Result<Self, String> {
        let router = PartitionRouter::new(spec, schema, MAX_OPEN_PARTITIONS)?;
        Ok(Self {
            factory,
            router,
            limit_bytes,
            open: Vec::new(),
            files: Vec::new(),
        })
    }

    /// Splits rows by partition.
    ///
    /// # Errors
    /// A partition value cannot be computed.
    pub(super) fn route(&mut self, batch: &RecordBatch) -> Result<Vec<Routed>, ArrowError> {
        self.router.route(batch)
    }

    /// Writes what was routed.
    ///
    /// # Errors
    /// A file cannot be created or written.
    pub(super) async fn write(
        &mut self,
        routed: Vec<Routed>,
        written: &WrittenFiles,
    ) -> Result<(), FileError> {
        for partition in self.router.open().iter().skip(self.open.len()) {
            self.open.push(Output::new(
                Arc::clone(&self.factory),
                partition.clone(),
                self.limit_bytes,
            ));
        }
        for part in routed {
            self.open[part.partition].write(&part.batch, written).await?;
        }
        while self.open.iter().map(Output::memory_bytes).sum::<u64>() > OPEN_PARTITIONS_BYTES {
            let largest = self.open.iter_mut().max_by_key(|output| output.memory_bytes());
            largest
                .expect("some partition holds memory")
                .end_row_group()
                .await?;
        }
        Ok(())
    }

    /// Ends the files of this pass; whether rows are left for another one.
    ///
    /// # Errors
    /// A file cannot be completed.
    pub(super) async fn end_pass(&mut self) -> Result<bool, FileError> {
        for output in self.open.drain(..) {
            self.files.extend(output.finish().await?);
        }
        Ok(self.router.next_pass())
    }

    /// Every file written.
    pub(super) fn into_files(self) -> Vec<DataFile> {
        self.files
    }
}
