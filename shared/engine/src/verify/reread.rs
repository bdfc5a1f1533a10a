//! Reads back what a group has written.

use std::sync::Arc;

use iceberg::spec::DataFile;
use snowpack_plan::{LiveFile, ScanFile};
use snowpack_service::ports::Supervisor;

use super::checksum::Checksum;
use crate::error::EngineError;
use crate::read::{Chunks, PrefetchLimits, ScanContext, ScanTask};
use crate::watch::watched;

/// New files, to be read like any other: nothing deletes from them yet.
pub(crate) fn as_scanned(files: &[DataFile], spec_id: i32) -> Vec<ScanFile> {
    let live = files.iter().map(|file| LiveFile {
        file: file.clone(),
        spec_id,
        snapshot_id: 0,
        sequence_number: 0,
        file_sequence_number: None,
    });
    live.map(|live| ScanFile::new(Arc::new(live))).collect()
}

/// The sum over the rows of files, in the eyes of a context that has a hasher.
///
/// # Errors
/// A file cannot be read (named), or the supervisor says stop.
pub(crate) async fn rows_of<S: Supervisor>(
    context: Arc<ScanContext>,
    files: Vec<ScanFile>,
    limits: PrefetchLimits,
    supervisor: &S,
) -> Result<Checksum, EngineError> {
    let files = files.into_iter().enumerate();
    let tasks = files.map(|(index, file)| ScanTask { index, file });
    let mut chunks = Chunks::new(context, tasks, limits);
    let mut sum = Checksum::default();
    while let Some(chunk) = watched(supervisor, chunks.next()).await?? {
        sum.add(chunk.checksum);
    }
    Ok(sum)
}
