//! Collects every file a table references (Java's `ReachableFileUtil` and `BaseSparkAction`, and beyond them what
//! older metadata files still reach).
//!
//! Referenced is: every metadata file of the metadata log and the current one, the version hint, statistics, and
//! the manifest list, manifests and live data and delete files of every snapshot, in the current metadata and in
//! the older metadata files that still exist. A deletion vector's file is the Puffin file its entry names.
//! Nothing may be deleted when something referenced cannot be read, unless only older metadata references it and
//! it is gone: what an expiry removed is not missed.

use std::collections::HashSet;
use std::pin::pin;

use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{ManifestFile, SnapshotRef, TableMetadata};
use snowpack_catalog::LoadedTable;
use snowpack_manifest::{ManifestError, read_manifest, read_manifest_list};

use super::identity::{FileUri, Names, PathHash, Prefix};
use super::reached::{Reached, Verdict};
use super::visible::VERSION_HINT;
use crate::error::EngineError;

/// Manifest lists read at once: small files, of which only latency is to be hidden.
const LISTS: usize = 16;
/// Manifests read at once; each holds its files' paths until they are counted.
const MANIFESTS: usize = 8;

/// What a table references, as far as it was read.
#[derive(Debug)]
pub(crate) struct Reachability {
    names: Names,
    reached: Reached,
    /// Metadata files, manifest lists and manifests that were read. None of them ever changes.
    read: HashSet<(Prefix, PathHash)>,
}

/// Whether a file that is referenced may be gone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Fails,
    IsSkipped,
}

impl Reachability {
    pub(crate) fn new(names: Names) -> Self {
        Self {
            names,
            reached: Reached::default(),
            read: HashSet::new(),
        }
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Judges a listed file by its location.
    pub(crate) fn judge(&self, listed: &FileUri) -> Verdict {
        self.reached.judge(listed)
    }

    /// Adds everything a table references. What was read before is not read again.
    ///
    /// # Errors
    /// Something referenced cannot be read.
    pub(crate) async fn add(&mut self, table: &LoadedTable) -> Result<(), EngineError> {
        let current = self.key(&table.metadata_location);
        if self.read.contains(&current) {
            return Ok(());
        }
        self.insert(&table.metadata_location);
        let hint = format!("{}/metadata/{VERSION_HINT}", table.metadata.location());
        self.insert(&hint);
        self.add_metadata(table, Missing::Fails).await?;
        for entry in table.metadata.metadata_log() {
            self.insert(&entry.metadata_file);
            let key = self.key(&entry.metadata_file);
            if self.read.contains(&key) {
                continue;
            }
            if let Some(older) = table.at(&entry.metadata_file).await? {
                self.add_metadata(&older, Missing::IsSkipped).await?;
            }
            self.read.insert(key);
        }
        self.read.insert(current);
        Ok(())
    }

    async fn add_metadata(&mut self, table: &LoadedTable, missing: Missing) -> Result<(), EngineError> {
        for path in statistics(&table.metadata) {
            self.insert(path);
        }
        let mut snapshots = self.unread(table.metadata.snapshots(), |snapshot| snapshot.manifest_list());
        // Metadata keeps them in no order; runs that read in the same order can be repeated.
        snapshots.sort_unstable_by_key(|snapshot| (snapshot.sequence_number(), snapshot.snapshot_id()));
        let read = |snapshot: SnapshotRef| async move {
            let list = read_manifest_list(&table.io, &table.metadata, &snapshot).await;
            let path = snapshot.manifest_list().to_owned();
            tolerate(list, &table.io, &path, missing)
                .await
                .map(|list| (path, list))
        };
        let mut lists = pin!(futures::stream::iter(snapshots).map(read).buffer_unordered(LISTS));
        while let Some((path, list)) = lists.try_next().await? {
            self.insert(&path);
            let Some(manifests) = list else { continue };
            self.add_manifests(&table.io, &manifests, missing).await?;
            self.read.insert(self.key(&path));
        }
        Ok(())
    }

    async fn add_manifests(
        &mut self,
        io: &FileIO,
        manifests: &[ManifestFile],
        missing: Missing,
    ) -> Result<(), EngineError> {
        for manifest in manifests {
            self.insert(&manifest.manifest_path);
        }
        let unread = self.unread(manifests, |manifest| &manifest.manifest_path);
        let read = |manifest: ManifestFile| async move {
            let files = read_manifest(io, &manifest, |manifest| {
                let live = manifest.entries().iter().filter(|entry| entry.is_alive());
                Ok(live.map(|entry| entry.file_path().to_owned()).collect::<Vec<_>>())
            });
            let path = manifest.manifest_path.clone();
            tolerate(files.await, io, &path, missing)
                .await
                .map(|files| (path, files))
        };
        let mut files = pin!(
            futures::stream::iter(unread)
                .map(read)
                .buffer_unordered(MANIFESTS)
        );
        while let Some((manifest, files)) = files.try_next().await? {
            let Some(files) = files else { continue };
            for file in &files {
                self.insert(file);
            }
            self.read.insert(self.key(&manifest));
        }
        Ok(())
    }

    fn insert(&mut self, location: &str) {
        self.reached.insert(&self.names.reference(location));
    }

    fn key(&self, location: &str) -> (Prefix, PathHash) {
        let file = self.names.reference(location);
        let hash = file.path_hash();
        (file.prefix, hash)
    }

    fn unread<'a, T: Clone + 'a>(
        &self,
        all: impl IntoIterator<Item = &'a T>,
        path: impl Fn(&T) -> &str,
    ) -> Vec<T> {
        let unread = all
            .into_iter()
            .filter(|item| !self.read.contains(&self.key(path(item))));
        unread.cloned().collect()
    }
}

#[cfg(test)]
impl Reachability {
    /// Adds a reference, for tests.
    pub(crate) fn reference(&mut self, location: &str) {
        self.insert(location);
    }
}

fn statistics(metadata: &TableMetadata) -> impl Iterator<Item = &str> {
    let table = metadata.statistics_iter().map(|file| &file.statistics_path);
    let partition = metadata
        .partition_statistics_iter()
        .map(|file| &file.statistics_path);
    table.chain(partition).map(String::as_str)
}

/// `None` for a file that could not be read because it is gone, where that is allowed.
async fn tolerate<T>(
    read: Result<T, ManifestError>,
    io: &FileIO,
    path: &str,
    missing: Missing,
) -> Result<Option<T>, ManifestError> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(_) if missing == Missing::IsSkipped && matches!(io.exists(path).await, Ok(false)) => Ok(None),
        Err(error) => Err(error),
    }
}
