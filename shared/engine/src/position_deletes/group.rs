//! Rewrites one group of position-delete files: merges them, drops what applies to nothing, writes the rest.
//!
//! Nothing is committed here. Every file created is noted in the caller's [`WrittenFiles`] first.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, NestedField, PartitionSpecRef, PrimitiveType, Schema, SchemaRef, TableMetadata,
};
use snowpack_catalog::LoadedTable;
use snowpack_domain::{DeleteGranularity, OptionError, PositionDeleteCompaction, Verification};
use snowpack_plan::DeleteFileGroup;
use snowpack_service::ports::Supervisor;

use super::cursor::MergeStop;
use super::input::{DeleteReader, DeletedRows};
use super::merge::{Counts, Merge, unsorted_files};
use super::output::{Limits, Output};
use crate::commit::{Replacement, binding_schema};
use crate::deletes::{Budget, FILE_PATH, POS};
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::points;
use crate::verify::{Checksum, Content};
use crate::watch::watched;
use crate::write::{FileWriterFactory, WriteProperties, WrittenFiles};

/// Positions merged between two looks at the supervisor.
const STEP_ROWS: usize = 64 * 1024;
/// Positions decoded at once of a file that is read back.
const REREAD_ROWS: usize = 8 * 1024;
/// Encoding tasks of one output file: it has two columns.
const LANES: usize = 2;
/// Memory for files of a group that are not sorted, in bytes.
const SORT_BUDGET_BYTES: u64 = 128 * 1024 * 1024;

/// What the groups of one action have in common.
pub(super) struct DeleteContext {
    io: FileIO,
    table: Arc<TableMetadata>,
    write: WriteProperties,
    granularity: DeleteGranularity,
    verify: Verification,
    sort_budget_bytes: u64,
}

impl DeleteContext {
    /// Reads what the table says about writing delete files.
    ///
    /// # Errors
    /// A property cannot be used; nothing was written yet.
    pub(super) fn new(table: &LoadedTable, settings: &PositionDeleteCompaction) -> Result<Self, OptionError> {
        Ok(Self {
            io: table.io.clone(),
            table: Arc::clone(&table.metadata),
            write: WriteProperties::of_position_deletes(&table.metadata)?,
            granularity: settings.granularity,
            verify: settings.verify,
            sort_budget_bytes: SORT_BUDGET_BYTES,
        })
    }

    fn factory(&self, group: &DeleteFileGroup) -> Result<FileWriterFactory, OptionError> {
        let spec = self.spec(group)?;
        let partition_schema = binding_schema(&self.table, &spec);
        let write = self.write.clone().with_row_groups_up_to(group.max_output_bytes);
        let schema = position_delete_schema();
        let factory = FileWriterFactory::new(self.io.clone(), schema, spec, write, group.index, LANES)?;
        Ok(factory.of_position_deletes(partition_schema))
    }

    /// The spec of a group's files.
    fn spec(&self, group: &DeleteFileGroup) -> Result<PartitionSpecRef, OptionError> {
        let id = group.files.first().map_or(0, |file| file.spec_id);
        let spec = self.table.partition_spec_by_id(id).cloned();
        spec.ok_or_else(|| OptionError {
            option: "partition-specs".to_owned(),
            reason: format!("the table has delete files of partition spec {id}, but no such spec"),
        })
    }
}

/// The columns of position-delete files (spec, Position Delete Files).
fn position_delete_schema() -> SchemaRef {
    let path = NestedField::required(FILE_PATH.0, FILE_PATH.1, PrimitiveType::String.into())
        .with_doc("Path of a file in which a deleted row is stored");
    let position = NestedField::required(POS.0, POS.1, PrimitiveType::Long.into())
        .with_doc("Ordinal position of a deleted row in the data file");
    let schema = Schema::builder()
        .with_fields([path.into(), position.into()])
        .build();
    Arc::new(schema.expect("two columns with different ids and names"))
}

/// Rewrites a group.
///
/// # Errors
/// A file cannot be read or written (named), files that are not sorted do not fit their memory, or the
/// supervisor says stop. Files created until then are in `written`.
pub(super) async fn rewrite_group<S: Supervisor>(
    context: &DeleteContext,
    group: DeleteFileGroup,
    written: &WrittenFiles,
    supervisor: &S,
) -> Result<Replacement, EngineError> {
    let factory = Arc::new(context.factory(&group)?);
    let run = Run {
        context,
        group: &group,
        written,
        supervisor,
        factory,
    };
    let merged = match run.merge(&HashSet::new()).await? {
        Some(merged) => Some(merged),
        None => {
            let unsorted = unsorted_files(&context.io, &group, supervisor).await?;
            tracing::info!(
                files = unsorted.len(),
                "position-delete files that are not sorted"
            );
            run.merge(&unsorted).await?
        }
    };
    let (added, counts, read) = merged.ok_or_else(|| {
        let path = group.files.first().map_or("", |file| file.file.file_path());
        FileError::corrupt(path, "it, or one merged with it, reads differently every time")
    })?;
    let content = match context.verify {
        Verification::Content => Some(Content {
            read,
            written: read_back(context, &added, supervisor).await?,
        }),
        Verification::Off | Verification::Counts => None,
    };
    let rows_out: u64 = added.iter().map(DataFile::record_count).sum();
    Ok(Replacement {
        group: group.index,
        replaced: group.files,
        added,
        rows_deleted: counts.read - rows_out,
        placed: Vec::new(),
        dangling: counts.dangling_files,
        content,
    })
}

/// New files, what became of the positions read, and their sum if that is wanted.
type Merged = (Vec<DataFile>, Counts, Checksum);

/// Sums up the positions of new files.
async fn read_back<S: Supervisor>(
    context: &DeleteContext,
    files: &[DataFile],
    supervisor: &S,
) -> Result<Checksum, EngineError> {
    supervisor.reached(points::BEFORE_VERIFY);
    let mut sum = Checksum::default();
    for file in files {
        let opened = DeleteReader::open(&context.io, file, REREAD_ROWS, DeletedRows::Refused);
        let mut reader = watched(supervisor, opened).await??;
        while let Some((paths, positions)) = watched(supervisor, reader.next()).await?? {
            for (path, position) in paths.iter().flatten().zip(positions.values()) {
                sum.add_position(path, *position);
            }
        }
    }
    Ok(sum)
}

/// A group being rewritten.
struct Run<'a, S> {
    context: &'a DeleteContext,
    group: &'a DeleteFileGroup,
    written: &'a WrittenFiles,
    supervisor: &'a S,
    factory: Arc<FileWriterFactory>,
}

impl<S: Supervisor> Run<'_, S> {
    /// Merges the group's files into new ones. `None` when one not in `unsorted` turns out not to be sorted;
    /// what was written until then is of no use.
    async fn merge(&self, unsorted: &HashSet<usize>) -> Result<Option<Merged>, EngineError> {
        match self.try_merge(unsorted).await? {
            Ok(merged) => Ok(Some(merged)),
            Err(MergeStop::Unsorted) => Ok(None),
            Err(MergeStop::File(error)) => Err(error.into()),
        }
    }

    async fn try_merge(&self, unsorted: &HashSet<usize>) -> Result<Result<Merged, MergeStop>, EngineError> {
        let budget = Budget::new(self.context.sort_budget_bytes);
        let opened = Merge::open(&self.context.io, self.group, unsorted, budget);
        let mut merge = match watched(self.supervisor, opened).await? {
            Ok(merge) => merge,
            Err(stop) => return Ok(Err(stop)),
        };
        let mut output = self.output();
        let mut sum = (self.context.verify == Verification::Content).then(Checksum::default);
        loop {
            match watched(self.supervisor, step(&mut merge, &mut output, &mut sum)).await? {
                Ok(true) => self.supervisor.reached(points::MID_READ),
                Ok(false) => break,
                Err(stop) => return Ok(Err(stop)),
            }
        }
        let files = watched(self.supervisor, output.finish()).await??;
        Ok(Ok((files, merge.counts(), sum.unwrap_or_default())))
    }

    fn output(&self) -> Output<'_> {
        let rows: u64 = self.group.files.iter().map(|file| file.file.record_count()).sum();
        let limits = Limits {
            granularity: self.context.granularity,
            // Output files of one data file each end where the next data file begins.
            rows: match self.context.granularity {
                DeleteGranularity::File => u64::MAX,
                DeleteGranularity::Partition => rows.div_ceil(self.group.output_files.max(1) as u64).max(1),
            },
            bytes: self.group.max_output_bytes,
        };
        let partition = self.group.files.first().map(|file| file.file.partition());
        let partition = partition.expect("a planned group has files");
        Output::new(Arc::clone(&self.factory), partition, limits, self.written)
    }
}

/// Merges some positions; whether more may follow.
async fn step(
    merge: &mut Merge,
    output: &mut Output<'_>,
    sum: &mut Option<Checksum>,
) -> Result<bool, MergeStop> {
    for _ in 0..STEP_ROWS {
        match merge.next().await? {
            Some(position) => {
                if let Some(sum) = sum {
                    sum.add_position(&position.0, position.1);
                }
                output.write(&position).await?;
            }
            None => return Ok(false),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
