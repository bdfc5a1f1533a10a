//! Walks through the positions of one delete file that still apply, in order of path and position.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::Array;
use iceberg::io::FileIO;
use snowpack_plan::{LiveFile, LiveTargets};

use super::input::{Batch, DeleteReader, DeletedRows};
use crate::deletes::Budget;
use crate::file_error::FileError;

/// What one position takes in memory while a file is sorted, in bytes: itself, and the slack of growing lists.
const SORTED_POSITION_BYTES: u64 = 16;

/// What ends a merge early.
#[derive(Debug)]
pub(super) enum MergeStop {
    /// A file that was taken for sorted is not.
    Unsorted,
    /// A file cannot be used.
    File(FileError),
}

impl From<FileError> for MergeStop {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// Where positions come from.
enum Source {
    /// The file itself, as sorted as the specification wants it.
    Stream(Box<Stream>),
    /// Memory, where they were sorted.
    Sorted(Box<dyn Iterator<Item = (Arc<str>, i64)> + Send>),
}

/// A file read row by row.
struct Stream {
    reader: DeleteReader,
    batch: Option<Batch>,
    row: usize,
}

impl Stream {
    async fn next(&mut self) -> Result<Option<(&str, i64)>, FileError> {
        while self
            .batch
            .as_ref()
            .is_none_or(|(paths, _)| self.row == paths.len())
        {
            self.batch = self.reader.next().await?;
            self.row = 0;
            if self.batch.is_none() {
                return Ok(None);
            }
        }
        let row = self.row;
        self.row += 1;
        let batch = self.batch.as_ref();
        Ok(batch.map(|(paths, positions)| (paths.value(row), positions.value(row))))
    }
}

/// A delete file being merged.
pub(super) struct Cursor {
    source: Source,
    targets: Arc<LiveTargets>,
    sequence_number: i64,
    path: Arc<str>,
    position: i64,
    /// Whether deletes of the current path apply.
    applies: bool,
    /// Positions read so far.
    pub(super) read: u64,
    /// Those of them that apply.
    pub(super) live: u64,
}

impl Cursor {
    /// Opens a file that is taken for sorted.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) async fn open(
        io: &FileIO,
        file: &LiveFile,
        targets: Arc<LiveTargets>,
        batch_rows: usize,
    ) -> Result<Self, FileError> {
        let stream = Stream {
            reader: DeleteReader::open(io, &file.file, batch_rows, DeletedRows::Refused).await?,
            batch: None,
            row: 0,
        };
        let source = Source::Stream(Box::new(stream));
        Ok(Self::new(source, targets, file.sequence_number))
    }

    /// Reads a file whole and sorts it.
    ///
    /// # Errors
    /// The file cannot be read, or does not fit `budget`.
    pub(super) async fn sort(
        io: &FileIO,
        file: &LiveFile,
        targets: Arc<LiveTargets>,
        batch_rows: usize,
        budget: &mut Budget,
    ) -> Result<Self, FileError> {
        let mut reader = DeleteReader::open(io, &file.file, batch_rows, DeletedRows::Refused).await?;
        let mut found: BTreeMap<Arc<str>, Vec<i64>> = BTreeMap::new();
        while let Some((paths, positions)) = reader.next().await? {
            let bytes = positions.len() as u64 * SORTED_POSITION_BYTES;
            budget.take(bytes, file.file.file_path())?;
            for (path, position) in paths.iter().flatten().zip(positions.values()) {
                match found.get_mut(path) {
                    Some(known) => known.push(*position),
                    None => {
                        budget.take(path.len() as u64, file.file.file_path())?;
                        found.insert(Arc::from(path), vec![*position]);
                    }
                }
            }
        }
        let sorted = found.into_iter().flat_map(|(path, mut positions)| {
            positions.sort_unstable();
            positions
                .into_iter()
                .map(move |position| (Arc::clone(&path), position))
        });
        let source = Source::Sorted(Box::new(sorted));
        Ok(Self::new(source, targets, file.sequence_number))
    }

    fn new(source: Source, targets: Arc<LiveTargets>, sequence_number: i64) -> Self {
        Self {
            source,
            targets,
            sequence_number,
            path: Arc::from(""),
            position: -1,
            applies: false,
            read: 0,
            live: 0,
        }
    }

    /// The path of the position the cursor is at, as the delete file spells it.
    pub(super) fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// The position the cursor is at.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Goes to the next position that applies to a live data file; `false` after the last.
    ///
    /// # Errors
    /// [`MergeStop::Unsorted`] when it is before the last one, or the file cannot be read.
    pub(super) async fn advance(&mut self) -> Result<bool, MergeStop> {
        while self.step().await? {
            self.read += 1;
            if self.applies {
                self.live += 1;
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn step(&mut self) -> Result<bool, MergeStop> {
        match &mut self.source {
            Source::Sorted(positions) => {
                let Some((path, position)) = positions.next() else {
                    return Ok(false);
                };
                if path != self.path {
                    self.applies = self.targets.reaches(&path, self.sequence_number);
                    self.path = path;
                }
                self.position = position;
                Ok(true)
            }
            Source::Stream(stream) => {
                let Some((path, position)) = stream.next().await? else {
                    return Ok(false);
                };
                if (path, position) < (self.path.as_ref(), self.position) {
                    return Err(MergeStop::Unsorted);
                }
                if *path != *self.path {
                    self.applies = self.targets.reaches(path, self.sequence_number);
                    self.path = Arc::from(path);
                }
                self.position = position;
                Ok(true)
            }
        }
    }
}
