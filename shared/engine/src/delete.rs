//! Deletes objects. The only module of the project that does.
//!
//! Two kinds, kept apart: files of the table that nothing references any more, deleted only while the
//! caller's fence is confirmed, and files this process wrote and never committed, which it may always remove.

use iceberg::io::FileIO;
use serde::{Deserialize, Serialize};
use snowpack_catalog::is_in_table_bucket;
use snowpack_service::ports::{ActionStop, Supervisor};

use crate::points;

/// Objects per batch: what one S3 `DeleteObjects` request takes.
pub(crate) const BATCH: usize = 1000;
/// Single deletes in flight after a batch failed, to find out which files stay. The fence is confirmed again after so
/// many: each may be tried for seconds, and a cancelled worker has to stop within ten.
const SINGLE_DELETES: usize = 8;

/// A file that nothing references any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreferenced {
    /// As the table or a listing spells it.
    pub(crate) path: String,
    /// Its bytes, as far as they are known.
    pub(crate) bytes: u64,
}

/// How a deletion went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deletion {
    /// Files that are gone now; one that was missing before counts as gone.
    pub(crate) deleted: u64,
    /// Files that could not be deleted and stay.
    pub(crate) failed: u64,
    /// Bytes of the files that are gone.
    pub(crate) bytes: u64,
}

impl Deletion {
    /// Adds what another deletion did.
    pub(crate) fn add(&mut self, other: Self) {
        self.deleted += other.deleted;
        self.failed += other.failed;
        self.bytes += other.bytes;
    }

    fn count(&mut self, file: &Unreferenced, is_gone: bool) {
        self.deleted += u64::from(is_gone);
        self.failed += u64::from(!is_gone);
        self.bytes += if is_gone { file.bytes } else { 0 };
    }
}

/// Deletes at most [`BATCH`] files, after it has looked at the deadline and confirmed the fence.
///
/// # Errors
/// The supervisor's stop. Some of the files may be deleted then; deleting them once more does no harm.
pub(crate) async fn delete_unreferenced<S: Supervisor>(
    io: &FileIO,
    files: &[Unreferenced],
    supervisor: &S,
) -> Result<Deletion, ActionStop> {
    let mut deletion = Deletion::default();
    if files.is_empty() {
        return Ok(deletion);
    }
    supervisor.poll()?;
    supervisor.checkpoint().await?;
    let paths = files.iter().map(|file| file.path.clone()).collect();
    if delete_at_once(io, paths).await {
        files.iter().for_each(|file| deletion.count(file, true));
    } else {
        for few in files.chunks(SINGLE_DELETES) {
            supervisor.poll()?;
            supervisor.checkpoint().await?;
            let paths = few.iter().map(|file| file.path.clone()).collect();
            let gone = delete_one_by_one(io, paths).await;
            few.iter()
                .zip(gone)
                .for_each(|(file, is_gone)| deletion.count(file, is_gone));
        }
    }
    supervisor.reached(points::MID_DELETE);
    Ok(deletion)
}

/// Removes files that this process wrote and that no commit refers to. What cannot be removed is logged
/// and left to remove_orphan_files. S3 Tables lets nobody delete, and removes such files by itself.
pub(crate) async fn discard_uncommitted(io: &FileIO, paths: &[String]) {
    if paths.iter().any(|path| is_in_table_bucket(path)) {
        return;
    }
    for batch in paths.chunks(BATCH) {
        if !delete_at_once(io, batch.to_vec()).await {
            for few in batch.chunks(SINGLE_DELETES) {
                delete_one_by_one(io, few.to_vec()).await;
            }
        }
    }
}

/// Whether all of the files are gone.
async fn delete_at_once(io: &FileIO, paths: Vec<String>) -> bool {
    let files = paths.len();
    let deleted = io.delete_stream(futures::stream::iter(paths)).await;
    if let Err(error) = &deleted {
        tracing::warn!(files, %error, "a batch of deletes failed; deleting one by one");
    }
    deleted.is_ok()
}

/// Which of a few files are gone, in their order.
async fn delete_one_by_one(io: &FileIO, paths: Vec<String>) -> Vec<bool> {
    let delete_one = |path: String| async move {
        let deleted = io.delete(&path).await;
        if let Err(error) = &deleted {
            tracing::warn!(path, %error, "a file could not be deleted and stays");
        }
        deleted.is_ok()
    };
    futures::future::join_all(paths.into_iter().map(delete_one)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeSupervisor;
    use crate::fake::stubborn::stubborn;

    async fn files(io: &FileIO, count: u64) -> Vec<Unreferenced> {
        let mut files = Vec::new();
        for bytes in 0..count {
            let path = format!("memory:///t/{bytes:04}");
            io.new_output(&path).unwrap().write("x".into()).await.unwrap();
            files.push(Unreferenced { path, bytes });
        }
        files
    }

    async fn left(io: &FileIO, files: &[Unreferenced]) -> usize {
        let mut left = 0;
        for file in files {
            left += usize::from(io.exists(&file.path).await.unwrap());
        }
        left
    }

    async fn delete(
        io: &FileIO,
        files: &[Unreferenced],
        supervisor: &FakeSupervisor,
    ) -> Result<Deletion, ActionStop> {
        delete_unreferenced(io, files, supervisor).await
    }

    #[tokio::test]
    async fn nothing_is_deleted_without_the_fence_or_after_the_deadline() {
        let io = FileIO::new_with_memory();
        let files = files(&io, 3).await;
        let revoked = FakeSupervisor {
            revoke_at: Some(0),
            ..FakeSupervisor::default()
        };
        let stop = delete(&io, &files, &revoked).await;
        assert!(matches!(stop, Err(ActionStop::Revoked)));
        let late = FakeSupervisor {
            batches_in_time: Some(0),
            ..FakeSupervisor::default()
        };
        let stop = delete(&io, &files, &late).await;
        assert!(matches!(stop, Err(ActionStop::OutOfTime)));
        assert_eq!(left(&io, &files).await, files.len());
        let supervisor = FakeSupervisor::default();
        assert_eq!(delete(&io, &files, &supervisor).await.unwrap().deleted, 3);
        assert_eq!(left(&io, &files).await, 0);
    }

    #[tokio::test]
    async fn only_what_is_gone_counts() {
        let (io, storage) = stubborn();
        let files = files(&io, 20).await;
        io.delete(&files[4].path).await.unwrap();
        for stays in [&files[3], &files[19]] {
            storage.refuse(&stays.path);
        }
        let done = delete(&io, &files, &FakeSupervisor::default()).await.unwrap();
        let expected = Deletion {
            deleted: 18,
            failed: 2,
            bytes: (0..20).sum::<u64>() - 3 - 19,
        };
        assert_eq!(done, expected, "one that was missing before is gone, too");
    }

    #[tokio::test]
    async fn a_worker_stops_soon_while_it_deletes_one_by_one() {
        let (io, storage) = stubborn();
        let files = files(&io, 100).await;
        storage.refuse(&files[99].path);
        let revoked = FakeSupervisor {
            revoke_at: Some(3),
            ..FakeSupervisor::default()
        };
        let stop = delete(&io, &files, &revoked).await;
        assert!(matches!(stop, Err(ActionStop::Revoked)));
        assert_eq!(left(&io, &files).await, files.len() - 2 * SINGLE_DELETES);
    }

    #[tokio::test]
    async fn what_was_never_committed_goes_whatever_stays() {
        let (io, storage) = stubborn();
        let files = files(&io, 30).await;
        storage.refuse(&files[7].path);
        let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
        discard_uncommitted(&io, &paths).await;
        assert_eq!(left(&io, &files).await, 1);
    }

    #[tokio::test]
    async fn nobody_tries_to_delete_what_s3_tables_keeps() {
        let (io, storage) = stubborn();
        let paths = ["s3://63a8e430--table-s3/data/x".to_owned()];
        discard_uncommitted(&io, &paths).await;
        assert_eq!(storage.asked(), 0);
    }
}
