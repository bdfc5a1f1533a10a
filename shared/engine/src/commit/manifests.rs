//! Reads manifests, a few at a time, and keeps what fits for the next commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{Manifest, ManifestContentType, ManifestFile};
use snowpack_manifest::{ManifestError, read_manifest};

/// Manifests read at once: enough to hide an object store's latency, few enough to stay small.
const READS: usize = 8;
/// Bytes of manifests, as stored, kept between the commits of one action. Parsed they take a few times that.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// A snapshot's manifests by what they list, in the order of the manifest list.
#[derive(Debug, Default)]
pub(crate) struct SnapshotManifests {
    /// Manifests of data files.
    pub(crate) data: Vec<ManifestFile>,
    /// Manifests of delete files.
    pub(crate) deletes: Vec<ManifestFile>,
}

impl SnapshotManifests {
    /// Sorts a manifest list's entries by content.
    pub(crate) fn split(manifests: Vec<ManifestFile>) -> Self {
        let (data, deletes) = manifests
            .into_iter()
            .partition(|manifest| manifest.content == ManifestContentType::Data);
        Self { data, deletes }
    }
}

/// Those with entries that are not deleted.
pub(crate) fn with_live_files(manifests: &[ManifestFile]) -> Vec<ManifestFile> {
    manifests
        .iter()
        .filter(|manifest| has_live_files(manifest))
        .cloned()
        .collect()
}

/// Whether a manifest has entries that are not deleted.
pub(crate) fn has_live_files(manifest: &ManifestFile) -> bool {
    manifest.has_added_files() || manifest.has_existing_files()
}

/// Manifests by path. A path never gets other content, so what was read stays true.
#[derive(Debug)]
pub(crate) struct ManifestCache {
    kept: Mutex<Kept>,
    limit_bytes: u64,
}

impl Default for ManifestCache {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            limit_bytes: CACHE_BYTES,
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    manifests: HashMap<String, Arc<Manifest>>,
    bytes: u64,
}

impl ManifestCache {
    /// Keeps nothing, for manifests that are read once.
    pub(crate) fn none() -> Self {
        Self {
            limit_bytes: 0,
            ..Self::default()
        }
    }

    /// Reads one manifest, its entries' sequence numbers and snapshot ids inherited.
    ///
    /// # Errors
    /// [`ManifestError`] naming the manifest.
    pub(crate) async fn load(
        &self,
        io: &FileIO,
        file: &ManifestFile,
    ) -> Result<Arc<Manifest>, ManifestError> {
        if let Some(manifest) = self.lock().manifests.get(&file.manifest_path) {
            return Ok(Arc::clone(manifest));
        }
        let manifest = Arc::new(read_manifest(io, file, Ok).await?);
        self.keep(file, &manifest);
        Ok(manifest)
    }

    /// Reads manifests in order, several at once.
    pub(crate) fn stream<'a>(
        &'a self,
        io: &'a FileIO,
        files: Vec<ManifestFile>,
    ) -> impl Stream<Item = Result<(ManifestFile, Arc<Manifest>), ManifestError>> + Send + 'a {
        let read = move |file: ManifestFile| async move {
            let manifest = self.load(io, &file).await?;
            Ok((file, manifest))
        };
        futures::stream::iter(files).map(read).buffered(READS)
    }

    /// Sets the counts that manifest lists of v1 tables may leave out and those of v2 tables must have.
    ///
    /// # Errors
    /// [`ManifestError`] naming a manifest that had to be read and could not be.
    pub(crate) async fn fill_in_counts(
        &self,
        io: &FileIO,
        files: &mut [ManifestFile],
    ) -> Result<(), ManifestError> {
        for file in files.iter_mut().filter(|file| lacks_counts(file)) {
            let manifest = self.load(io, file).await?;
            let mut counts = [(0, 0); 3];
            for entry in manifest.entries() {
                let (files, rows) = &mut counts[entry.status() as usize];
                *files += 1;
                *rows += entry.record_count();
            }
            let [existing, added, deleted] = counts;
            (file.added_files_count, file.added_rows_count) = (Some(added.0), Some(added.1));
            (file.existing_files_count, file.existing_rows_count) = (Some(existing.0), Some(existing.1));
            (file.deleted_files_count, file.deleted_rows_count) = (Some(deleted.0), Some(deleted.1));
        }
        Ok(())
    }

    fn keep(&self, file: &ManifestFile, manifest: &Arc<Manifest>) {
        let mut kept = self.lock();
        let bytes = kept.bytes + u64::try_from(file.manifest_length).unwrap_or(0);
        if bytes <= self.limit_bytes {
            kept.bytes = bytes;
            kept.manifests
                .insert(file.manifest_path.clone(), Arc::clone(manifest));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lacks_counts(file: &ManifestFile) -> bool {
    let files = [
        file.added_files_count,
        file.existing_files_count,
        file.deleted_files_count,
    ];
    let rows = [
        file.added_rows_count,
        file.existing_rows_count,
        file.deleted_rows_count,
    ];
    files.contains(&None) || rows.contains(&None)
}
