//! rewrite_position_delete_files in format version 3: converts position-delete files to deletion vectors and
//! copies vectors from small Puffin files into larger ones.
//!
//! What is planned and why is in `snowpack_plan::VectorGroup`, what of it can still be committed in
//! [`Rewritten::Vectors`].

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;
use snowpack_catalog::{Catalog, LoadedTable};
use snowpack_domain::{Action, Timestamp, Verification};
use snowpack_plan::{Conversion, Forecast as _, LiveFile, VectorGroup, plan_vectors};
use snowpack_service::ports::Supervisor;

use super::PositionDeleteRewrite;
use super::convert::{PASS_BYTES, Share, collect, passes};
use super::puffin::{NewVector, PuffinOutput, VectorContext};
use crate::commit::{Done, Placed, Replacement, Rewritten};
use crate::deletes::vector::{encode, read, read_sound_blob};
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::points;
use crate::report::Report;
use crate::rewrite::{Pending, Tally, check_inputs};
use crate::verify::{Checksum, Content};
use crate::watch::watched;
use crate::write::WrittenFiles;

/// Vectors read at the same time: they are small, so waiting for storage dominates.
const CONCURRENT_READS: usize = 16;

impl<C: Catalog, S: Supervisor, N: Fn() -> Timestamp + Send + Sync> PositionDeleteRewrite<'_, C, S, N> {
    /// Runs the action on a table of format version 3.
    pub(super) async fn rewrite_vectors(&self, table: &LoadedTable) -> Result<Report, EngineError> {
        let plan = plan_vectors(table, &self.settings, self.job).await?;
        let before = Done::before(&table.metadata, Action::RewritePositionDeleteFiles, self.job);
        let tally = Tally::new(&plan.skipped, plan.forecast(), before);
        if plan.groups.is_empty() {
            let done = tally.has_commits().then(|| tally.packed());
            return Ok(
                done.unwrap_or_else(|| tally.nothing_to_do(plan.files_considered, "position delete file"))
            );
        }
        let drive = self.drive();
        if drive.batch_size(plan.groups.len()) < plan.groups.len() {
            let read = |group| VectorGroup::files(group);
            check_inputs(
                &table.io,
                plan.groups.iter().flat_map(read),
                self.supervisor.as_ref(),
            )
            .await?;
        }
        let start = (plan.snapshot_id, plan.sequence_number);
        let rewrite = self.base(table, start, Rewritten::Vectors);
        let context = Arc::new(VectorContext::new(table, self.settings.verify)?);
        let mut pending = Pending::new(self.committer, &rewrite, &table.io, &self.now, tally);
        let work = |group: VectorGroup, written: Arc<WrittenFiles>| {
            let (context, supervisor) = (Arc::clone(&context), Arc::clone(self.supervisor));
            async move { rewrite_group(&context, group, &written, supervisor.as_ref()).await }
        };
        drive.run(plan.groups, work, &mut pending).await?;
        Ok(pending.tally.packed())
    }
}

/// Rewrites a group.
///
/// # Errors
/// A file cannot be read or written (named), or the supervisor says stop. Files created until then are in
/// `written`.
async fn rewrite_group<S: Supervisor>(
    context: &VectorContext,
    group: VectorGroup,
    written: &WrittenFiles,
    supervisor: &S,
) -> Result<Replacement, EngineError> {
    let mut output = PuffinOutput::new(context, group.index, group.max_output_bytes, written);
    let mut shares = Vec::new();
    let mut read = (context.verify == Verification::Content).then(Checksum::default);
    for conversion in &group.conversions {
        shares.extend(convert(context, conversion, &mut output, &mut read, supervisor).await?);
        supervisor.reached(points::MID_READ);
    }
    copy(context, &group.copies, &mut output, supervisor).await?;
    let (added, placed) = watched(supervisor, output.finish()).await??;
    let content = match read {
        None => None,
        Some(mut read) => {
            let copied: Vec<_> = group.copies.iter().map(|vector| &vector.file).collect();
            read.add(positions_of(context, &copied, supervisor).await?);
            supervisor.reached(points::BEFORE_VERIFY);
            let added: Vec<_> = added.iter().collect();
            let written = positions_of(context, &added, supervisor).await?;
            Some(Content { read, written })
        }
    };
    let whole = group.copies.iter().chain(&group.dangling);
    let rows_read: u64 = shares.iter().map(|share| share.read).sum();
    let rows_read = rows_read + whole.map(|file| file.file.record_count()).sum::<u64>();
    let rows_out: u64 = added.iter().map(DataFile::record_count).sum();
    let without_use = shares.iter().filter(|share| share.applied == 0).count();
    Ok(Replacement {
        group: group.index,
        replaced: group.files().cloned().collect(),
        added,
        placed,
        rows_deleted: rows_read.saturating_sub(rows_out),
        dangling: (without_use + group.dangling.len()) as u64,
        content,
    })
}

/// Writes a vector for every target that the delete files apply to; returns the share of each of them.
async fn convert<S: Supervisor>(
    context: &VectorContext,
    conversion: &Conversion,
    output: &mut PuffinOutput<'_>,
    sum: &mut Option<Checksum>,
    supervisor: &S,
) -> Result<Vec<Share>, EngineError> {
    let mut shares = vec![Share::default(); conversion.deletes.len()];
    for pass in passes(&conversion.targets, PASS_BYTES) {
        let targets = &conversion.targets[pass.clone()];
        let collected = collect(&context.io, conversion, pass);
        let (found, of_pass) = watched(supervisor, collected).await??;
        for (share, of_pass) in shares.iter_mut().zip(of_pass) {
            // Every pass reads all rows.
            share.read = of_pass.read;
            share.applied += of_pass.applied;
        }
        let found = targets.iter().zip(found);
        for (target, found) in found.filter(|(_, found)| !found.positions.is_empty()) {
            let path = target.file.file_path();
            if let Some(sum) = sum {
                add_positions(sum, path, &found.positions);
            }
            let vector = NewVector {
                data_file: path.to_owned(),
                partition: target.file.partition(),
                placed: Placed {
                    spec_id: target.spec_id,
                    sequence_number: found.sequence_number,
                },
                cardinality: found.positions.len(),
                blob: encode(&found.positions).map_err(|reason| FileError::encode(path, reason))?,
            };
            watched(supervisor, output.add(vector)).await??;
        }
    }
    Ok(shares)
}

/// The sum over the positions of vectors, read anew.
async fn positions_of<S: Supervisor>(
    context: &VectorContext,
    vectors: &[&DataFile],
    supervisor: &S,
) -> Result<Checksum, EngineError> {
    let mut sum = Checksum::default();
    for file in vectors {
        let positions = watched(supervisor, read(&context.io, file)).await??;
        add_positions(
            &mut sum,
            &file.referenced_data_file().unwrap_or_default(),
            &positions,
        );
    }
    Ok(sum)
}

fn add_positions(sum: &mut Checksum, path: &str, positions: &RoaringTreemap) {
    for position in positions {
        sum.add_position(path, position.cast_signed());
    }
}

/// Copies vectors as they are, checked.
async fn copy<S: Supervisor>(
    context: &VectorContext,
    vectors: &[Arc<LiveFile>],
    output: &mut PuffinOutput<'_>,
    supervisor: &S,
) -> Result<(), EngineError> {
    let reads = vectors.iter().cloned().map(|vector| async move {
        let blob = read_sound_blob(&context.io, &vector.file).await?;
        Ok::<_, FileError>((vector, blob))
    });
    let mut reads = futures::stream::iter(reads).buffered(CONCURRENT_READS);
    while let Some((vector, blob)) = watched(supervisor, reads.try_next()).await?? {
        let copy = NewVector {
            data_file: vector.file.referenced_data_file().unwrap_or_default(),
            partition: vector.file.partition(),
            placed: Placed {
                spec_id: vector.spec_id,
                sequence_number: vector.sequence_number,
            },
            cardinality: vector.file.record_count(),
            blob: blob.into(),
        };
        watched(supervisor, output.add(copy)).await??;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
