//! Rewrites one file group: reads its files, drops deleted rows, writes what is left into new files.
//!
//! Nothing is committed here. Every file created is noted in the caller's [`WrittenFiles`] first, so that the
//! caller can remove what it does not commit.

use std::num::NonZero;
use std::sync::Arc;

use arrow_array::RecordBatch;
use iceberg::io::FileIO;
use iceberg::spec::{
    DEFAULT_SCHEMA_NAME_MAPPING, DataFile, NameMapping, PartitionSpecRef, SchemaRef, TableMetadata,
};
use snowpack_catalog::LoadedTable;
use snowpack_domain::{OptionError, Verification};
use snowpack_plan::{Arrangement, FileGroup, ScanFile};
use snowpack_service::ports::Supervisor;

use super::output::{Output, RoutedOutput};
use super::rows::Rows;
use crate::arrange::SortKeys;
use crate::deletes::{DeleteReader, GroupDeletes};
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::points;
use crate::read::{
    Chunks, Payload, PrefetchLimits, ScanContext, ScanTask, rewrite_schema, table_arrow_schema,
};
use crate::verify::{Checksum, Content, RowHasher, as_scanned, rows_of};
use crate::watch::watched;
use crate::write::{FileWriterFactory, RawRowGroup, Splitter, WriteProperties, WrittenFiles};

/// Sum of the sizes of files read at the same time, beyond one. A reader holds a row group in memory.
const PREFETCH_BYTES: u64 = 64 * 1024 * 1024;

/// What the groups of one action have in common.
pub(crate) struct RewriteContext {
    io: FileIO,
    table: Arc<TableMetadata>,
    schema: SchemaRef,
    output_spec: PartitionSpecRef,
    name_mapping: Option<NameMapping>,
    write: WriteProperties,
    cores: usize,
    deletes: DeleteReader,
    arrangement: Arrangement,
    verify: Verification,
}

impl RewriteContext {
    /// Reads what the table says about reading and writing its files.
    ///
    /// # Errors
    /// A property cannot be used, or the table has no such spec; nothing was written yet.
    pub(crate) fn new(table: &LoadedTable, output_spec_id: i32) -> Result<Self, OptionError> {
        Self::of(Arc::clone(&table.metadata), table.io.clone(), output_spec_id)
    }

    /// Rows are written in this order; without it they stay as they are read.
    pub(crate) fn arranged(mut self, arrangement: Arrangement) -> Self {
        if let Arrangement::Sorted { order_id, .. } = arrangement {
            self.write.sort_order_id = order_id;
        }
        self.arrangement = arrangement;
        self
    }

    /// Deletes of the whole table are read once for all of these groups.
    pub(crate) fn sharing_deletes(mut self, groups: &[FileGroup]) -> Self {
        let files = groups.iter().flat_map(|group| &group.files);
        self.deletes = self.deletes.sharing(files);
        self
    }

    /// New files are checked like this; without it their rows are only counted.
    pub(crate) fn verified(self, verify: Verification) -> Self {
        Self { verify, ..self }
    }

    fn of(table: Arc<TableMetadata>, io: FileIO, output_spec_id: i32) -> Result<Self, OptionError> {
        let refuse = |option: &str, reason: String| OptionError {
            option: option.to_owned(),
            reason,
        };
        let output_spec = table.partition_spec_by_id(output_spec_id).ok_or_else(|| {
            refuse(
                "output-spec-id",
                format!("the table has no partition spec {output_spec_id}"),
            )
        })?;
        let name_mapping = match table.properties().get(DEFAULT_SCHEMA_NAME_MAPPING) {
            None => None,
            Some(json) => serde_json::from_str(json)
                .map_err(|e| refuse(DEFAULT_SCHEMA_NAME_MAPPING, format!("it is no name mapping: {e}")))?,
        };
        Ok(Self {
            deletes: DeleteReader::new(io.clone(), Arc::clone(&table), name_mapping.clone()),
            io,
            schema: rewrite_schema(&table).map_err(|e| refuse("schema", e.to_string()))?,
            output_spec: Arc::clone(output_spec),
            name_mapping,
            write: WriteProperties::of(&table)?,
            cores: std::thread::available_parallelism().map_or(1, NonZero::get),
            arrangement: Arrangement::AsRead,
            verify: Verification::default(),
            table,
        })
    }
}

impl RewriteContext {
    /// How files are read as the rows to write.
    async fn scan<S: Supervisor>(
        &self,
        files: &[ScanFile],
        supervisor: &S,
    ) -> Result<ScanContext, EngineError> {
        let refuse = |reason| OptionError {
            option: "schema".to_owned(),
            reason,
        };
        let deletes = GroupDeletes::load(&self.deletes, files, supervisor).await?;
        let arrow_schema = table_arrow_schema(&self.schema).map_err(refuse)?;
        let hasher = (self.verify == Verification::Content).then(|| RowHasher::new(&arrow_schema));
        Ok(ScanContext {
            io: self.io.clone(),
            table: Arc::clone(&self.table),
            schema: Arc::clone(&self.schema),
            hasher: hasher.transpose().map_err(|error| refuse(error.to_string()))?,
            arrow_schema,
            name_mapping: self.name_mapping.clone(),
            deletes,
            copy: None,
            lineage_as_stored: false,
        })
    }

    fn prefetch(&self) -> PrefetchLimits {
        PrefetchLimits {
            readers: self.cores + 1,
            bytes: PREFETCH_BYTES,
        }
    }

    /// What is to be compared, if rows were summed up; what was written is read later.
    fn content(&self, read: Checksum) -> Option<Content> {
        (self.verify == Verification::Content).then_some(Content {
            read,
            written: Checksum::default(),
        })
    }
}

/// A group's new files and what became of its rows.
#[derive(Debug)]
pub(crate) struct RewrittenGroup {
    /// The new data files; none when all rows were deleted.
    pub(crate) files: Vec<DataFile>,
    /// Rows that deletes removed, counted where they were dropped: what the manifests say of the files read,
    /// less these, has to be what was written.
    pub(crate) rows_deleted: u64,
    /// The rows read that are left, and those written, summed up if that is wanted.
    pub(crate) content: Option<Content>,
}

/// Rewrites a group.
///
/// # Errors
/// A file cannot be read or written (named), a value does not fit the current schema, the deletes do not fit
/// their memory, or the supervisor says stop. Files created until then are in `written`.
pub(crate) async fn rewrite_group<S: Supervisor>(
    context: &RewriteContext,
    group: &FileGroup,
    written: &WrittenFiles,
    supervisor: &S,
) -> Result<RewrittenGroup, EngineError> {
    let run = Run::start(context, group, written, supervisor).await?;
    let mut rewritten = if group.repartition {
        run.into_partitions().await?
    } else {
        run.into_one_partition().await?
    };
    if let Some(content) = &mut rewritten.content {
        content.written = read_back(context, &rewritten.files, supervisor).await?;
    }
    Ok(rewritten)
}

/// Sums up the rows of new files, as any reader finds them.
///
/// # Errors
/// A file cannot be read (named), or the supervisor says stop.
async fn read_back<S: Supervisor>(
    context: &RewriteContext,
    files: &[DataFile],
    supervisor: &S,
) -> Result<Checksum, EngineError> {
    supervisor.reached(points::BEFORE_VERIFY);
    let scans = as_scanned(files, context.output_spec.spec_id());
    let scan = ScanContext {
        lineage_as_stored: true,
        ..context.scan(&scans, supervisor).await?
    };
    rows_of(Arc::new(scan), scans, context.prefetch(), supervisor).await
}

/// A group being rewritten.
struct Run<'a, S> {
    context: &'a RewriteContext,
    group: &'a FileGroup,
    written: &'a WrittenFiles,
    supervisor: &'a S,
    scan: Arc<ScanContext>,
    factory: Arc<FileWriterFactory>,
}

impl<'a, S: Supervisor> Run<'a, S> {
    async fn start(
        context: &'a RewriteContext,
        group: &'a FileGroup,
        written: &'a WrittenFiles,
        supervisor: &'a S,
    ) -> Result<Self, EngineError> {
        let factory = FileWriterFactory::new(
            context.io.clone(),
            Arc::clone(&context.schema),
            Arc::clone(&context.output_spec),
            context
                .write
                .clone()
                .with_row_groups_up_to(group.max_output_bytes),
            group.index,
            context.cores,
        )?;
        let may_copy = !group.repartition
            && context.arrangement == Arrangement::AsRead
            && context.verify != Verification::Content;
        let scan = ScanContext {
            copy: may_copy.then(|| factory.copy_rules(group.output_files, group.input_bytes)),
            ..context.scan(&group.files, supervisor).await?
        };
        Ok(Self {
            context,
            group,
            written,
            supervisor,
            scan: Arc::new(scan),
            factory: Arc::new(factory),
        })
    }

    fn chunks(&self) -> Chunks {
        let files = self.group.files.iter().cloned().enumerate();
        let tasks = files.map(|(index, file)| ScanTask { index, file });
        Chunks::new(Arc::clone(&self.scan), tasks, self.context.prefetch())
    }

    /// The rows in the order to write them.
    async fn rows(&self) -> Result<Rows<'_, S>, EngineError> {
        let rows = Rows::as_read(self.chunks(), self.group, self.supervisor);
        let schema = &self.scan.arrow_schema;
        let keys = SortKeys::new(&self.context.arrangement, schema).map_err(|reason| OptionError {
            option: "sort_order".to_owned(),
            reason,
        })?;
        match keys {
            Some(keys) => rows.sort(keys, schema).await,
            None => Ok(rows),
        }
    }

    /// All rows belong to the group's partition: as many files as planned, of about the same size.
    async fn into_one_partition(self) -> Result<RewrittenGroup, EngineError> {
        let limit = self.group.max_output_bytes;
        let mut output = Output::new(Arc::clone(&self.factory), self.group.partition.clone(), limit);
        let mut rows = self.rows().await?;
        let mut splitter = Splitter::new(rows.total_weight, self.group.output_files);
        while let Some(stretch) = rows.next().await? {
            match stretch.payload {
                Payload::Rows(batch) => {
                    let cuts = splitter.cuts(stretch.weight, batch.num_rows());
                    self.write_rows(&mut output, &batch, &cuts).await?;
                }
                Payload::RowGroup(row_group) => {
                    let rows = usize::try_from(row_group.rows()).expect("a row group fits memory");
                    let cuts = splitter.cuts(stretch.weight, rows);
                    self.copy_row_group(&mut output, row_group, &cuts).await?;
                }
            }
        }
        let files = watched(self.supervisor, output.finish()).await??;
        Ok(RewrittenGroup {
            files,
            rows_deleted: rows.deleted(),
            content: self.context.content(rows.checksum()),
        })
    }

    /// A new file begins at each of the rows `cuts`.
    async fn write_rows(
        &self,
        output: &mut Output,
        batch: &RecordBatch,
        cuts: &[usize],
    ) -> Result<(), EngineError> {
        let mut start = 0;
        for cut in cuts {
            let part = batch.slice(start, cut - start);
            watched(self.supervisor, output.write(&part, self.written)).await??;
            watched(self.supervisor, output.roll()).await??;
            start = *cut;
        }
        let rest = batch.slice(start, batch.num_rows() - start);
        Ok(watched(self.supervisor, output.write(&rest, self.written)).await??)
    }

    /// A new file begins at the end of the row group that is nearer to the cut.
    async fn copy_row_group(
        &self,
        output: &mut Output,
        row_group: RawRowGroup,
        cuts: &[usize],
    ) -> Result<(), EngineError> {
        let middle = row_group.rows() / 2;
        if cuts.iter().any(|cut| (*cut as u64) < middle) {
            watched(self.supervisor, output.roll()).await??;
        }
        watched(self.supervisor, output.copy(row_group, self.written)).await??;
        if cuts.iter().any(|cut| *cut as u64 >= middle) {
            watched(self.supervisor, output.roll()).await??;
        }
        Ok(())
    }

    /// Rows go to the partitions of the output spec, in as many passes over the input as that takes.
    async fn into_partitions(self) -> Result<RewrittenGroup, EngineError> {
        let limit = self.group.max_output_bytes;
        let factory = Arc::clone(&self.factory);
        let mut output = RoutedOutput::new(factory, &self.context.output_spec, &self.context.schema, limit)
            .map_err(|reason| OptionError {
            option: "output-spec-id".to_owned(),
            reason,
        })?;
        loop {
            let mut rows = self.rows().await?;
            while let Some(stretch) = rows.next().await? {
                let routed = output
                    .route(&stretch.payload.into_rows())
                    .map_err(|e| FileError::schema(&stretch.origin, e))?;
                watched(self.supervisor, output.write(routed, self.written)).await??;
            }
            if !watched(self.supervisor, output.end_pass()).await?? {
                return Ok(RewrittenGroup {
                    files: output.into_files(),
                    rows_deleted: rows.deleted(),
                    content: self.context.content(rows.checksum()),
                });
            }
        }
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod copy_tests;
#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
