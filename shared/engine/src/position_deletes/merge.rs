//! Merges the position-delete files of a group into one sorted run without repeats.
//!
//! Every file is streamed, so memory does not grow with the positions. That needs files in the order the
//! specification wants. One that is not, which shows while it is read, is sorted in memory, within a budget.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use snowpack_plan::DeleteFileGroup;
use snowpack_service::ports::Supervisor;

use super::cursor::{Cursor, MergeStop};
use super::input::{DeleteReader, DeletedRows};
use crate::deletes::Budget;
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::watch::watched;

/// Files opened at the same time: most are small, so waiting for storage dominates.
const CONCURRENT_OPENS: usize = 16;
/// Decoded rows of all files of a group together: about 64 MiB with paths of 100 bytes.
const DECODED_ROWS: usize = 512 * 1024;
/// Rows decoded at once of one file, at least and at most.
const MIN_BATCH_ROWS: usize = 64;
const MAX_BATCH_ROWS: usize = 8 * 1024;

/// A position of a data file: path as the delete file spells it, and row.
pub(super) type Position = (Arc<str>, i64);

/// The merge of a group's files.
pub(super) struct Merge {
    cursors: Vec<Cursor>,
    /// Where each cursor is that is not at its end.
    heads: BinaryHeap<Reverse<(Position, usize)>>,
    last: Option<Position>,
}

/// What became of the positions read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Positions read.
    pub(super) read: u64,
    /// Files in which no position applied.
    pub(super) dangling_files: u64,
}

impl Merge {
    /// Opens all files of a group; those at the indices `unsorted` are sorted in memory within `budget`.
    ///
    /// # Errors
    /// A file cannot be read or does not fit the budget, or one is not sorted after all.
    pub(super) async fn open(
        io: &FileIO,
        group: &DeleteFileGroup,
        unsorted: &HashSet<usize>,
        mut budget: Budget,
    ) -> Result<Self, MergeStop> {
        let rows = batch_rows(group.files.len());
        let files = group.files.iter().cloned().enumerate();
        let opens = files.map(|(index, file)| {
            let (is_unsorted, targets) = (unsorted.contains(&index), Arc::clone(&group.targets));
            async move {
                if is_unsorted {
                    return Ok(None);
                }
                let mut cursor = Cursor::open(io, &file, targets, rows).await?;
                let more = cursor.advance().await?;
                Ok::<_, MergeStop>(Some((cursor, more)))
            }
        });
        let opened = futures::stream::iter(opens);
        let opened: Vec<_> = opened.buffered(CONCURRENT_OPENS).try_collect().await?;
        let mut merge = Self {
            cursors: Vec::with_capacity(opened.len()),
            heads: BinaryHeap::with_capacity(opened.len()),
            last: None,
        };
        for (file, opened) in group.files.iter().zip(opened) {
            let (cursor, more) = match opened {
                Some(opened) => opened,
                None => {
                    let targets = Arc::clone(&group.targets);
                    let mut cursor = Cursor::sort(io, file, targets, rows, &mut budget).await?;
                    let more = cursor.advance().await?;
                    (cursor, more)
                }
            };
            merge.cursors.push(cursor);
            if more {
                merge.push_head(merge.cursors.len() - 1);
            }
        }
        Ok(merge)
    }

    fn push_head(&mut self, index: usize) {
        let cursor = &self.cursors[index];
        let head = (Arc::clone(cursor.path()), cursor.position());
        self.heads.push(Reverse((head, index)));
    }

    /// The next position that still applies; each comes once.
    ///
    /// # Errors
    /// A file cannot be read, or is not sorted.
    pub(super) async fn next(&mut self) -> Result<Option<Position>, MergeStop> {
        while let Some(Reverse((head, index))) = self.heads.pop() {
            if self.cursors[index].advance().await? {
                self.push_head(index);
            }
            if self.last.as_ref() != Some(&head) {
                self.last = Some(head.clone());
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// What was read until now.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            read: self.cursors.iter().map(|cursor| cursor.read).sum(),
            dangling_files: self.cursors.iter().filter(|cursor| cursor.live == 0).count() as u64,
        }
    }
}

/// Reads all files of a group, to learn which are not sorted.
///
/// # Errors
/// A file cannot be read, or the supervisor says stop.
pub(super) async fn unsorted_files<S: Supervisor>(
    io: &FileIO,
    group: &DeleteFileGroup,
    supervisor: &S,
) -> Result<HashSet<usize>, EngineError> {
    let rows = batch_rows(group.files.len());
    let checks = group
        .files
        .iter()
        .cloned()
        .enumerate()
        .map(|(index, file)| async move {
            let reader = DeleteReader::open(io, &file.file, rows, DeletedRows::Refused).await?;
            let sorted = is_sorted(reader).await?;
            Ok::<_, FileError>((!sorted).then_some(index))
        });
    let checks = futures::stream::iter(checks).buffer_unordered(CONCURRENT_OPENS);
    let unsorted: Vec<_> = watched(supervisor, checks.try_collect()).await??;
    Ok(unsorted.into_iter().flatten().collect())
}

async fn is_sorted(mut reader: DeleteReader) -> Result<bool, FileError> {
    let mut last = (String::new(), -1);
    while let Some((paths, positions)) = reader.next().await? {
        for (path, position) in paths.iter().flatten().zip(positions.values()) {
            if (path, *position) < (last.0.as_str(), last.1) {
                return Ok(false);
            }
            if path != last.0 {
                path.clone_into(&mut last.0);
            }
            last.1 = *position;
        }
    }
    Ok(true)
}

fn batch_rows(files: usize) -> usize {
    (DECODED_ROWS / files.max(1)).clamp(MIN_BATCH_ROWS, MAX_BATCH_ROWS)
}
