//! Reads position-delete files into one bitmap for each data file that they apply to.
//!
//! Bitmaps take no order of the files and no more memory than the data files' rows. Data files with more rows
//! than fit are taken in several passes over the same delete files.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::Array;
use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use roaring::RoaringTreemap;
use snowpack_catalog::normalize_location;
use snowpack_plan::{Conversion, LiveFile};

use super::input::{Batch, DeleteReader, DeletedRows};
use crate::file_error::FileError;

/// Memory for the bitmaps of one pass, in bytes: those of two thousand million rows.
pub(super) const PASS_BYTES: u64 = 256 * 1024 * 1024;
/// Files read at the same time: most are small, so waiting for storage dominates.
const CONCURRENT_FILES: usize = 16;
/// Rows decoded at once.
const BATCH_ROWS: usize = 8 * 1024;
/// Rows that one container of a bitmap is about, and what it takes besides its bits, in bytes.
const CONTAINER_ROWS: u64 = 64 * 1024;
const CONTAINER_BYTES: u64 = 64;
/// What the bitmap of one data file takes besides its containers, and its path in the index of a pass.
const BITMAP_BYTES: u64 = 512;

/// The positions deleted from one data file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) positions: RoaringTreemap,
    /// The highest data sequence number of the delete files they are from.
    pub(super) sequence_number: i64,
}

/// How much of a delete file was read, and how much of it applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) read: u64,
    pub(super) applied: u64,
}

/// Cuts the targets of a conversion into passes whose bitmaps fit `limit_bytes`.
pub(super) fn passes(targets: &[Arc<LiveFile>], limit_bytes: u64) -> Vec<Range<usize>> {
    let mut passes: Vec<Range<usize>> = Vec::new();
    let mut filled = 0_u64;
    for (index, target) in targets.iter().enumerate() {
        let bytes = most_bytes(target.file.record_count());
        match passes.last_mut() {
            Some(pass) if filled + bytes <= limit_bytes => {
                pass.end = index + 1;
                filled += bytes;
            }
            _ => {
                passes.push(index..index + 1);
                filled = bytes;
            }
        }
    }
    passes
}

/// The most memory that the bitmap of a data file can take.
fn most_bytes(rows: u64) -> u64 {
    BITMAP_BYTES + rows / 8 + rows.div_ceil(CONTAINER_ROWS) * CONTAINER_BYTES
}

/// Reads all delete files of a conversion for some of its targets. Returns what was found for each target, and
/// the share of each delete file.
///
/// # Errors
/// A delete file cannot be read; names it.
pub(super) async fn collect(
    io: &FileIO,
    conversion: &Conversion,
    targets: Range<usize>,
) -> Result<(Vec<Found>, Vec<Share>), FileError> {
    let pass = Pass::new(&conversion.targets[targets]);
    let deletes = conversion.deletes.iter().cloned();
    let reads = deletes.map(|delete| pass.read(io, delete));
    let shares = futures::stream::iter(reads).buffered(CONCURRENT_FILES);
    let shares = shares.try_collect().await?;
    let found = pass.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((found, shares))
}

/// The targets of one pass.
struct Pass<'a> {
    targets: &'a [Arc<LiveFile>],
    by_path: HashMap<String, usize>,
    found: Mutex<Vec<Found>>,
}

impl<'a> Pass<'a> {
    fn new(targets: &'a [Arc<LiveFile>]) -> Self {
        let path = |target: &Arc<LiveFile>| normalize_location(target.file.file_path()).into_owned();
        let by_path = targets.iter().enumerate();
        Self {
            targets,
            by_path: by_path.map(|(index, target)| (path(target), index)).collect(),
            found: Mutex::new(vec![Found::default(); targets.len()]),
        }
    }

    async fn read(&self, io: &FileIO, delete: Arc<LiveFile>) -> Result<Share, FileError> {
        let mut reader = DeleteReader::open(io, &delete.file, BATCH_ROWS, DeletedRows::Left).await?;
        let mut share = Share::default();
        while let Some(batch) = reader.next().await? {
            share.read += batch.0.len() as u64;
            share.applied += self.take(&batch, delete.sequence_number);
        }
        Ok(share)
    }

    /// Takes over the positions that apply, and counts them. Paths come in runs, so few are looked up.
    fn take(&self, (paths, positions): &Batch, sequence_number: i64) -> u64 {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut applied = 0;
        let mut last: Option<(&str, Option<usize>)> = None;
        for (path, position) in paths.iter().flatten().zip(positions.values()) {
            let target = match last {
                Some((known, target)) if known == path => target,
                _ => self.find(path, sequence_number),
            };
            last = Some((path, target));
            let Some((index, row)) = target.zip(u64::try_from(*position).ok()) else {
                continue;
            };
            // A position behind the last row deletes nothing.
            if row < self.targets[index].file.record_count() {
                found[index].positions.insert(row);
                found[index].sequence_number = found[index].sequence_number.max(sequence_number);
                applied += 1;
            }
        }
        applied
    }

    /// The target of a path, if deletes of this data sequence number apply to it.
    fn find(&self, path: &str, sequence_number: i64) -> Option<usize> {
        let index = *self.by_path.get(normalize_location(path).as_ref())?;
        (self.targets[index].sequence_number <= sequence_number).then_some(index)
    }
}

#[cfg(test)]
mod tests;
