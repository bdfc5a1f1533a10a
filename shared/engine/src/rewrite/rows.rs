//! The rows of a file group in the order in which they are written: as they are read, or sorted.

use arrow_array::RecordBatch;
use snowpack_plan::FileGroup;
use snowpack_service::ports::Supervisor;

use crate::arrange::{SortKeys, SortedRows, Sorter};
use crate::error::EngineError;
use crate::points;
use crate::read::{Chunk, Chunks, Payload};
use crate::verify::Checksum;
use crate::watch::watched;

/// Rows on their way to the output.
pub(super) struct Rows<'a, S> {
    source: Source,
    group: &'a FileGroup,
    supervisor: &'a S,
    tally: RowTally,
    /// What the weights of all stretches sum up to.
    pub(super) total_weight: u64,
}

/// Rows that follow each other.
pub(super) struct Stretch {
    /// The rows; may be none.
    pub(super) payload: Payload,
    /// Their share of the group's [`Rows::total_weight`], with deleted rows between them.
    pub(super) weight: f64,
    /// The file they are from, for errors; rows from many files after a sort.
    pub(super) origin: String,
}

/// Rows read so far.
#[derive(Default)]
struct RowTally {
    scanned: u64,
    deleted: u64,
    checksum: Checksum,
}

enum Source {
    AsRead(Chunks),
    /// The first rows came out while the last went in.
    Sorted(Option<RecordBatch>, SortedRows),
}

impl<'a, S: Supervisor> Rows<'a, S> {
    /// Rows as they are read.
    pub(super) fn as_read(chunks: Chunks, group: &'a FileGroup, supervisor: &'a S) -> Self {
        Self {
            source: Source::AsRead(chunks),
            group,
            supervisor,
            tally: RowTally::default(),
            total_weight: group
                .files
                .iter()
                .map(|file| file.data.file.file_size_in_bytes())
                .sum(),
        }
    }

    /// Reads all rows and sorts them.
    ///
    /// # Errors
    /// A file cannot be read, the sort fails, or the supervisor says stop.
    pub(super) async fn sort(
        mut self,
        keys: SortKeys,
        schema: &arrow_schema::Schema,
    ) -> Result<Self, EngineError> {
        let (sorter, mut sorted) = Sorter::start(keys, schema)?;
        let feed = async {
            // Moved in, so that the sort learns when the last row was given.
            let sorter = sorter;
            while let Some(stretch) = self.next().await? {
                watched(self.supervisor, sorter.push(&stretch.payload.into_rows())).await??;
            }
            Ok::<_, EngineError>(())
        };
        let (fed, first) = futures::join!(feed, sorted.next());
        fed?;
        self.total_weight = self.tally.scanned - self.tally.deleted;
        self.source = Source::Sorted(first?, sorted);
        Ok(self)
    }

    /// The next rows; `None` after the last.
    ///
    /// # Errors
    /// As [`Rows::sort`].
    pub(super) async fn next(&mut self) -> Result<Option<Stretch>, EngineError> {
        match &mut self.source {
            Source::AsRead(chunks) => {
                let Some(chunk) = watched(self.supervisor, chunks.next()).await?? else {
                    return Ok(None);
                };
                self.count(&chunk);
                let file = &self.group.files[chunk.file].data.file;
                let row_bytes = file.file_size_in_bytes() as f64 / file.record_count().max(1) as f64;
                Ok(Some(Stretch {
                    weight: row_bytes * chunk.rows_scanned as f64,
                    payload: chunk.payload,
                    origin: file.file_path().to_owned(),
                }))
            }
            Source::Sorted(first, sorted) => {
                let batch = match first.take() {
                    Some(batch) => Some(batch),
                    None => watched(self.supervisor, sorted.next()).await??,
                };
                Ok(batch.map(|batch| Stretch {
                    weight: batch.num_rows() as f64,
                    payload: Payload::Rows(batch),
                    origin: "a sorted row".to_owned(),
                }))
            }
        }
    }

    /// Rows that deletes removed; all of them once [`Rows::next`] has answered `None`.
    pub(super) fn deleted(&self) -> u64 {
        self.tally.deleted
    }

    /// The sum over the rows read, as [`ScanContext::hasher`](crate::read::ScanContext::hasher) has it; of all
    /// rows once [`Rows::next`] has answered `None`.
    pub(super) fn checksum(&self) -> Checksum {
        self.tally.checksum
    }

    /// Counts a chunk. From the second on, the group is in the middle of its work.
    fn count(&mut self, chunk: &Chunk) {
        if self.tally.scanned > 0 {
            self.supervisor.reached(points::MID_READ);
        }
        self.tally.scanned += chunk.rows_scanned;
        self.tally.checksum.add(chunk.checksum);
        self.tally.deleted += chunk.rows_scanned - chunk.payload.rows();
    }
}
