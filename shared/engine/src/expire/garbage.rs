//! Finds the files that only expired snapshots reach, always from the full metadata (Java's
//! `ReachableFileCleanup`; its incremental shortcut is not taken).
//!
//! Candidates are what the manifests of expired snapshots list as live. Everything any snapshot of the newest
//! metadata reaches is struck off. Whatever cannot be read proves nothing: an unreadable file on the expired
//! side is skipped, one on the kept side stops the search.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;

use futures::{Stream, StreamExt, TryStreamExt};
use iceberg::spec::{DataContentType, ManifestFile, SnapshotRef, TableMetadata};
use snowpack_catalog::{LoadedTable, normalize_location};
use snowpack_manifest::{ManifestError, read_manifest_list};

use crate::commit::ManifestCache;

/// Manifest lists read at once: small files, of which only latency is to be hidden.
const LISTS: usize = 16;

/// Files of one kind that nothing reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unreached {
    /// Locations as the table spells them.
    pub(crate) paths: Vec<String>,
    /// Their bytes as far as metadata tells.
    pub(crate) bytes: u64,
}

impl Unreached {
    fn push(&mut self, path: String, bytes: u64) {
        self.paths.push(path);
        self.bytes += bytes;
    }
}

/// Files that nothing reaches, in the order in which they are to be deleted: what is listed before what
/// lists it, so that a stopped deletion leaves the lists to find the rest by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Garbage {
    /// Data files.
    pub(crate) data_files: Unreached,
    /// Delete files.
    pub(crate) delete_files: Unreached,
    /// Manifests.
    pub(crate) manifests: Unreached,
    /// Manifest lists.
    pub(crate) manifest_lists: Unreached,
    /// Table and partition statistics.
    pub(crate) statistics_files: Unreached,
}

/// A file that may be garbage.
#[derive(Debug)]
struct Candidate {
    path: String,
    bytes: u64,
    content: DataContentType,
}

/// Finds what the snapshots `removed` from `before` reached and nothing in `after` reaches.
///
/// # Errors
/// [`ManifestError`] when something `after` reaches cannot be read: nothing may be deleted then.
pub(crate) async fn find_garbage(
    before: &LoadedTable,
    after: &LoadedTable,
    removed: &[i64],
) -> Result<Garbage, ManifestError> {
    let expired: Vec<SnapshotRef> = removed
        .iter()
        .filter(|id| after.metadata.snapshot_by_id(**id).is_none())
        .filter_map(|id| before.metadata.snapshot_by_id(*id).cloned())
        .collect();
    let mut garbage = Garbage {
        manifest_lists: unreached_lists(&expired, &after.metadata),
        statistics_files: unreached_statistics(&before.metadata, &after.metadata),
        ..Garbage::default()
    };
    let mut doomed = expired_manifests(before, expired).await;
    let kept = kept_manifests(after).await?;
    doomed.retain(|key, _| !kept.contains_key(key));
    let candidates = listed_files(before, &doomed).await;
    for file in strike_off(after, kept.into_values().collect(), candidates).await? {
        let kind = match file.content {
            DataContentType::Data => &mut garbage.data_files,
            _ => &mut garbage.delete_files,
        };
        kind.push(file.path, file.bytes);
    }
    for manifest in doomed.into_values() {
        let bytes = u64::try_from(manifest.manifest_length).unwrap_or(0);
        garbage.manifests.push(manifest.manifest_path, bytes);
    }
    Ok(garbage)
}

fn key(path: &str) -> String {
    normalize_location(path).into_owned()
}

fn unreached_lists(expired: &[SnapshotRef], after: &TableMetadata) -> Unreached {
    let mut seen: HashSet<_> = after.snapshots().map(|kept| key(kept.manifest_list())).collect();
    let mut lists = Unreached::default();
    for snapshot in expired {
        if seen.insert(key(snapshot.manifest_list())) {
            lists.push(snapshot.manifest_list().to_owned(), 0);
        }
    }
    lists
}

fn unreached_statistics(before: &TableMetadata, after: &TableMetadata) -> Unreached {
    let mut seen: HashSet<_> = statistics(after).map(|(path, _)| key(path)).collect();
    let mut files = Unreached::default();
    for (path, bytes) in statistics(before) {
        if seen.insert(key(path)) {
            files.push(path.to_owned(), bytes);
        }
    }
    files
}

fn statistics(metadata: &TableMetadata) -> impl Iterator<Item = (&str, u64)> {
    let table = metadata
        .statistics_iter()
        .map(|file| (file.statistics_path.as_str(), file.file_size_in_bytes));
    let partition = metadata
        .partition_statistics_iter()
        .map(|file| (file.statistics_path.as_str(), file.file_size_in_bytes));
    table
        .chain(partition)
        .map(|(path, bytes)| (path, u64::try_from(bytes).unwrap_or(0)))
}

/// Reads manifest lists, several at once; the answers are in no order.
fn lists<'a>(
    table: &'a LoadedTable,
    snapshots: Vec<SnapshotRef>,
) -> impl Stream<Item = (i64, Result<Vec<ManifestFile>, ManifestError>)> + Send + 'a {
    let read = move |snapshot: SnapshotRef| async move {
        let list = read_manifest_list(&table.io, &table.metadata, &snapshot).await;
        (snapshot.snapshot_id(), list)
    };
    futures::stream::iter(snapshots).map(read).buffer_unordered(LISTS)
}

/// The manifests of expired snapshots. A manifest list that is gone cannot tell, and is skipped.
async fn expired_manifests(
    before: &LoadedTable,
    expired: Vec<SnapshotRef>,
) -> BTreeMap<String, ManifestFile> {
    let mut manifests = BTreeMap::new();
    let mut lists = pin!(lists(before, expired));
    while let Some((snapshot, list)) = lists.next().await {
        match list {
            Ok(list) => manifests.extend(list.into_iter().map(|file| (key(&file.manifest_path), file))),
            Err(error) => {
                tracing::warn!(table = %before.id, snapshot, %error, "files only this snapshot had are left");
            }
        }
    }
    manifests
}

async fn kept_manifests(after: &LoadedTable) -> Result<BTreeMap<String, ManifestFile>, ManifestError> {
    let mut manifests = BTreeMap::new();
    let mut lists = pin!(lists(after, in_order(&after.metadata)));
    while let Some((_, list)) = lists.next().await {
        manifests.extend(list?.into_iter().map(|file| (key(&file.manifest_path), file)));
    }
    Ok(manifests)
}

/// Every snapshot, always in the same order: metadata keeps them in none.
fn in_order(metadata: &TableMetadata) -> Vec<SnapshotRef> {
    let mut snapshots: Vec<_> = metadata.snapshots().cloned().collect();
    snapshots.sort_unstable_by_key(|snapshot| (snapshot.sequence_number(), snapshot.snapshot_id()));
    snapshots
}

/// The live files of manifests. A manifest that cannot be read cannot tell, and is skipped.
async fn listed_files(
    before: &LoadedTable,
    manifests: &BTreeMap<String, ManifestFile>,
) -> BTreeMap<String, Candidate> {
    let cache = ManifestCache::none();
    let mut files = BTreeMap::new();
    let mut stream = pin!(cache.stream(&before.io, manifests.values().cloned().collect()));
    while let Some(read) = stream.next().await {
        let manifest = match read {
            Ok((_, manifest)) => manifest,
            Err(error) => {
                tracing::warn!(table = %before.id, %error, "files only this manifest lists are left");
                continue;
            }
        };
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let candidate = Candidate {
                path: entry.file_path().to_owned(),
                bytes: entry.file_size_in_bytes(),
                content: entry.content_type(),
            };
            files.insert(key(entry.file_path()), candidate);
        }
    }
    files
}

/// Removes from `candidates` what the kept manifests list as live.
async fn strike_off(
    after: &LoadedTable,
    kept: Vec<ManifestFile>,
    mut candidates: BTreeMap<String, Candidate>,
) -> Result<Vec<Candidate>, ManifestError> {
    let cache = ManifestCache::none();
    let mut stream = pin!(cache.stream(&after.io, kept));
    while !candidates.is_empty()
        && let Some((_, manifest)) = stream.try_next().await?
    {
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            candidates.remove(normalize_location(entry.file_path()).as_ref());
        }
    }
    Ok(candidates.into_values().collect())
}
