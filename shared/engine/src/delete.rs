//! Deletes objects. The only module of the project that does.
//!
//! Two kinds, kept apart: files of the table that nothing references any more, deleted only while the
//! caller's fence is confirmed, and files this process wrote and never committed, which it may always remove.

use futures::StreamExt;
use iceberg::io::FileIO;
use snowpack_service::ports::{ActionStop, Supervisor};

use crate::points;

/// Objects per batch: what one S3 `DeleteObjects` request takes.
pub(crate) const BATCH: usize = 1000;
/// Single deletes in flight after a batch failed, to find out which files stay.
const SINGLE_DELETES: usize = 8;

/// How a deletion went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deletion {
    /// Files that are gone now; one that was missing before counts as gone.
    pub(crate) deleted: u64,
    /// Files that could not be deleted and stay.
    pub(crate) failed: u64,
}

/// Deletes `paths` in batches and confirms the fence before each.
///
/// # Errors
/// What the checkpoint answered; the batches before it are deleted.
pub(crate) async fn delete_unreferenced<S: Supervisor>(
    io: &FileIO,
    paths: &[String],
    supervisor: &S,
) -> Result<Deletion, ActionStop> {
    let mut total = Deletion::default();
    for batch in paths.chunks(BATCH) {
        supervisor.checkpoint().await?;
        let failed = delete_batch(io, batch).await;
        total.failed += failed;
        total.deleted += batch.len() as u64 - failed;
        supervisor.reached(points::MID_DELETE);
    }
    Ok(total)
}

/// Removes files that this process wrote and that no commit refers to. What cannot be removed is logged
/// and left to remove_orphan_files.
pub(crate) async fn discard_uncommitted(io: &FileIO, paths: &[String]) {
    for batch in paths.chunks(BATCH) {
        delete_batch(io, batch).await;
    }
}

/// Deletes one batch and returns how many files stayed.
async fn delete_batch(io: &FileIO, paths: &[String]) -> u64 {
    let stream = futures::stream::iter(paths.to_vec());
    let Err(error) = io.delete_stream(stream).await else {
        return 0;
    };
    tracing::warn!(files = paths.len(), %error, "a batch of deletes failed; deleting one by one");
    let delete_one = |path: String| async move {
        let deleted = io.delete(&path).await;
        if let Err(error) = &deleted {
            tracing::warn!(path, %error, "a file could not be deleted and stays");
        }
        u64::from(deleted.is_err())
    };
    let singles = futures::stream::iter(paths.to_vec())
        .map(delete_one)
        .buffer_unordered(SINGLE_DELETES);
    singles
        .fold(0, |failed, one| std::future::ready(failed + one))
        .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use snowpack_domain::Progress;

    use super::*;

    /// Allows a number of checkpoints, then revokes.
    struct Allows(AtomicUsize);

    impl Supervisor for Allows {
        async fn checkpoint(&self) -> Result<(), ActionStop> {
            let left = self.0.load(Ordering::SeqCst);
            if left == 0 {
                return Err(ActionStop::Revoked);
            }
            self.0.store(left - 1, Ordering::SeqCst);
            Ok(())
        }
        fn poll(&self) -> Result<(), ActionStop> {
            Ok(())
        }
        fn progress(&self, _: Progress) {}
        fn seconds_left(&self) -> Option<f64> {
            None
        }
    }

    async fn files(io: &FileIO, count: usize) -> Vec<String> {
        let paths: Vec<_> = (0..count).map(|i| format!("memory:///t/{i}")).collect();
        for path in &paths {
            io.new_output(path)
                .unwrap()
                .write(Bytes::from_static(b"x"))
                .await
                .unwrap();
        }
        paths
    }

    #[tokio::test]
    async fn stops_between_batches_once_the_fence_is_lost() {
        let io = FileIO::new_with_memory();
        let paths = files(&io, BATCH + 1).await;
        let stop = delete_unreferenced(&io, &paths, &Allows(AtomicUsize::new(1))).await;
        assert!(matches!(stop, Err(ActionStop::Revoked)));
        assert!(!io.exists(&paths[BATCH - 1]).await.unwrap());
        assert!(io.exists(&paths[BATCH]).await.unwrap());
    }

    #[tokio::test]
    async fn missing_files_are_fine_and_undeletable_ones_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let io = FileIO::new_with_fs();
        let there = dir.path().join("there").display().to_string();
        std::fs::write(&there, "x").unwrap();
        let folder = dir.path().join("folder").display().to_string();
        std::fs::create_dir(&folder).unwrap();
        let missing = dir.path().join("missing").display().to_string();
        let paths = [missing, folder, there.clone()];
        let done = delete_unreferenced(&io, &paths, &Allows(AtomicUsize::new(9)))
            .await
            .unwrap();
        assert_eq!(
            done,
            Deletion {
                deleted: 2,
                failed: 1
            }
        );
        assert!(!std::path::Path::new(&there).exists());
    }
}
