//! The delete files a group is being written to, one after the other.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use iceberg::spec::{DataFile, Struct};
use snowpack_domain::DeleteGranularity;

use super::merge::Position;
use crate::file_error::FileError;
use crate::write::{DataFileWriter, FileWriterFactory, WrittenFiles, better_plain};

/// Rows encoded at once.
const BATCH_ROWS: usize = 8 * 1024;

/// When an output file ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// What one file may be about.
    pub(super) granularity: DeleteGranularity,
    /// Positions in one file.
    pub(super) rows: u64,
    /// No file gets another row group beyond this, in bytes.
    pub(super) bytes: u64,
}

/// The files of one partition.
pub(super) struct Output<'a> {
    factory: Arc<FileWriterFactory>,
    partition: &'a Struct,
    limits: Limits,
    written: &'a WrittenFiles,
    paths: StringBuilder,
    positions: Int64Builder,
    current: Option<DataFileWriter>,
    /// The first path of the current file, and whether others followed.
    first: Option<Arc<str>>,
    several: bool,
    /// Positions in the current file.
    rows: u64,
    files: Vec<DataFile>,
}

impl<'a> Output<'a> {
    pub(super) fn new(
        factory: Arc<FileWriterFactory>,
        partition: &'a Struct,
        limits: Limits,
        written: &'a WrittenFiles,
    ) -> Self {
        Self {
            factory,
            partition,
            limits,
            written,
            paths: StringBuilder::new(),
            positions: Int64Builder::new(),
            current: None,
            first: None,
            several: false,
            rows: 0,
            files: Vec::new(),
        }
    }

    /// Adds a position, which must be after the last.
    ///
    /// # Errors
    /// A file cannot be created, written or completed.
    pub(super) async fn write(&mut self, (path, position): &Position) -> Result<(), FileError> {
        let is_other = self.first.as_ref().is_some_and(|first| first != path);
        let ends = is_other && self.limits.granularity == DeleteGranularity::File;
        if ends || self.rows >= self.limits.rows {
            self.roll().await?;
        }
        match &self.first {
            None => self.first = Some(Arc::clone(path)),
            Some(_) => self.several |= is_other,
        }
        self.paths.append_value(path);
        self.positions.append_value(*position);
        self.rows += 1;
        if self.positions.values_slice().len() >= BATCH_ROWS {
            self.flush().await?;
            let is_full = |writer: &DataFileWriter| writer.is_full(self.limits.bytes);
            if self.current.as_ref().is_some_and(is_full) {
                self.roll().await?;
            }
        }
        Ok(())
    }

    /// Encodes what was collected.
    async fn flush(&mut self) -> Result<(), FileError> {
        let columns: Vec<ArrayRef> = vec![Arc::new(self.paths.finish()), Arc::new(self.positions.finish())];
        if columns[0].is_empty() {
            return Ok(());
        }
        let batch = RecordBatch::try_new(Arc::clone(self.factory.arrow_schema()), columns)
            .expect("the columns are those of the schema of position deletes");
        let mut writer = match self.current.take() {
            Some(writer) => writer,
            None => {
                self.factory
                    .create(self.partition, &better_plain(&batch), self.written)
                    .await?
            }
        };
        writer.write(&batch).await?;
        self.current = Some(writer);
        Ok(())
    }

    async fn roll(&mut self) -> Result<(), FileError> {
        self.flush().await?;
        let first = self.first.take().filter(|_| !self.several);
        (self.several, self.rows) = (false, 0);
        if let Some(writer) = self.current.take() {
            let referenced = first.map(|path| path.to_string());
            self.files.push(writer.close_deletes(referenced).await?);
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
}
