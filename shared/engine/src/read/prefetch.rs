//! Reads the files of a group ahead of their consumer, each in a task of its own, and hands their chunks out
//! in planned order.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

use super::scan::{Chunk, ScanContext, ScanTask, scan};
use crate::file_error::FileError;

/// Chunks that may wait for the consumer, per file.
const WAITING_CHUNKS: usize = 2;

/// What may be read ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrefetchLimits {
    /// Files read at the same time.
    pub(crate) readers: usize,
    /// Sum of the sizes of the files read at the same time, beyond the first: a reader holds a row group in
    /// memory, at most the whole file.
    pub(crate) bytes: u64,
}

/// The chunks of a group's files, in planned order. Dropping it stops the readers.
pub(crate) struct Chunks {
    context: Arc<ScanContext>,
    limits: PrefetchLimits,
    waiting: VecDeque<ScanTask>,
    reading: VecDeque<Reader>,
    reading_bytes: u64,
}

/// A file being read.
struct Reader {
    path: String,
    chunks: Receiver<Result<Chunk, FileError>>,
    task: JoinHandle<()>,
    bytes: u64,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Chunks {
    pub(crate) fn new(
        context: Arc<ScanContext>,
        tasks: impl IntoIterator<Item = ScanTask>,
        limits: PrefetchLimits,
    ) -> Self {
        let waiting = tasks.into_iter().collect();
        Self {
            context,
            limits,
            waiting,
            reading: VecDeque::new(),
            reading_bytes: 0,
        }
    }

    /// The next chunk; `None` after the last file's last.
    ///
    /// # Errors
    /// A file could not be read; the readers are stopped when `self` is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>, FileError> {
        loop {
            self.start_readers();
            let Some(reader) = self.reading.front_mut() else {
                return Ok(None);
            };
            if let Some(chunk) = reader.chunks.recv().await {
                return chunk.map(Some);
            }
            // A reader that panicked closes its channel too: its file must not pass for fully read.
            if let Err(panic) = (&mut reader.task).await {
                return Err(FileError::corrupt(
                    &reader.path,
                    format!("its reader gave up: {panic}"),
                ));
            }
            self.reading_bytes -= reader.bytes;
            self.reading.pop_front();
        }
    }

    fn start_readers(&mut self) {
        while self.reading.len() < self.limits.readers.max(1)
            && let Some(next) = self.waiting.front()
        {
            let path = next.file.data.file.file_path().to_owned();
            let bytes = next.file.data.file.file_size_in_bytes();
            if !self.reading.is_empty() && self.reading_bytes + bytes > self.limits.bytes {
                return;
            }
            let task = self.waiting.pop_front().expect("the front was just seen");
            let (sender, chunks) = channel(WAITING_CHUNKS);
            let task = tokio::spawn(scan(Arc::clone(&self.context), task, sender));
            self.reading.push_back(Reader {
                path,
                chunks,
                task,
                bytes,
            });
            self.reading_bytes += bytes;
        }
    }
}
