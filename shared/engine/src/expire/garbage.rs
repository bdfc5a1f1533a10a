//! Finds the files that only expired snapshots reach, always from the full metadata (Java's
//! `ReachableFileCleanup`; its incremental shortcut is not taken).
//!
//! Candidates are what the manifests of expired snapshots list as live. Everything any snapshot of the newest
//! metadata reaches is struck off. What is gone or damaged proves nothing: such a file on the expired side is
//! skipped, one on the kept side stops the search. What lies outside of the table's own places is somebody else's,
//! whoever listed it (Spark's `add_files`), and stays.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;

use futures::{Stream, StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{DataContentType, Manifest, ManifestFile, SnapshotRef, TableMetadata};
use serde::{Deserialize, Serialize};
use snowpack_catalog::{LoadedTable, OwnPlaces, normalize_location};
use snowpack_manifest::{ManifestError, read_manifest, read_manifest_list};
use tokio::sync::Semaphore;

use crate::delete::Unreferenced;

/// Manifest lists read at once: small files, of which only latency is to be hidden. A table may have a hundred
/// thousand of them.
const LISTS: usize = 64;
/// Manifests read at once, if they are small.
const MANIFESTS: usize = 32;
/// Room for the manifests read at once, in KiB as stored; parsed they take a few times that. Eight of Iceberg's
/// default size.
const ROOM_KIB: u32 = 64 * 1024;

/// What a file is, in the order in which files are to be deleted: what is listed before what lists it, so that a
/// stopped deletion leaves the lists to find the rest by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A data file.
    Data,
    /// A delete file.
    Delete,
    /// A manifest.
    Manifest,
    /// A manifest list.
    ManifestList,
    /// Table or partition statistics.
    Statistics,
}

/// A place in the order of deletion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Mark {
    kind: Kind,
    path: String,
}

impl Mark {
    /// The place of a file, however it is spelled.
    pub(crate) fn of(kind: Kind, file: &Unreferenced) -> Self {
        let path = key(&file.path);
        Self { kind, path }
    }
}

/// Files that nothing reaches, in the order in which they are to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Garbage {
    /// The files.
    pub(crate) files: Vec<(Kind, Unreferenced)>,
    /// What stays, because it is outside of the table's own places.
    pub(crate) outside: Outside,
}

/// Files outside of a table's own places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outside {
    /// How many.
    pub(crate) files: u64,
    /// One of them.
    pub(crate) example: Option<String>,
}

impl Garbage {
    /// Sorts what is to be deleted from what stays. `done` was deleted before, and everything in front of it.
    fn sort(found: Vec<(Kind, Unreferenced)>, own: &OwnPlaces, done: Option<&Mark>) -> Self {
        let mut garbage = Self::default();
        for (kind, file) in found {
            if !own.contain(&file.path) {
                garbage.outside.files += 1;
                garbage.outside.example.get_or_insert(file.path);
            } else if done.is_none_or(|done| Mark::of(kind, &file) > *done) {
                garbage.files.push((kind, file));
            }
        }
        garbage.files.sort_unstable_by(|(one, first), (other, second)| {
            let paths = || normalize_location(&first.path).cmp(&normalize_location(&second.path));
            one.cmp(other).then_with(paths)
        });
        garbage
    }
}

/// A file that a manifest lists as live.
#[derive(Debug)]
struct Candidate {
    path: String,
    bytes: u64,
    content: DataContentType,
}

/// Finds what the snapshots `removed` from `before` reached and nothing in `after` reaches. `done` is the last file
/// that an earlier deletion came to.
///
/// # Errors
/// [`ManifestError`] when something `after` reaches cannot be read, or anything cannot be read for now: nothing may be
/// deleted then.
pub(crate) async fn find_garbage(
    before: &LoadedTable,
    after: &LoadedTable,
    removed: &[i64],
    done: Option<&Mark>,
) -> Result<Garbage, ManifestError> {
    let expired: Vec<SnapshotRef> = removed
        .iter()
        .filter(|id| after.metadata.snapshot_by_id(**id).is_none())
        .filter_map(|id| before.metadata.snapshot_by_id(*id).cloned())
        .collect();
    let is_left = |kind| done.is_none_or(|done| done.kind <= kind);
    let mut found = unreached_statistics(&before.metadata, &after.metadata);
    found.extend(unreached_lists(&expired, &after.metadata));
    if is_left(Kind::Manifest) {
        let mut doomed = expired_manifests(before, expired).await?;
        let kept = kept_manifests(after).await?;
        doomed.retain(|key, _| !kept.contains_key(key));
        if is_left(Kind::Delete) {
            let candidates = listed_files(before, &doomed).await?;
            found.extend(strike_off(after, kept.into_values().collect(), candidates).await?);
        }
        found.extend(doomed.into_values().map(unreached_manifest));
    }
    let own = OwnPlaces::of([before.metadata.as_ref(), &after.metadata]);
    Ok(Garbage::sort(found, &own, done))
}

fn key(path: &str) -> String {
    normalize_location(path).into_owned()
}

fn unreached_manifest(manifest: ManifestFile) -> (Kind, Unreferenced) {
    let file = Unreferenced {
        path: manifest.manifest_path,
        bytes: u64::try_from(manifest.manifest_length).unwrap_or(0),
    };
    (Kind::Manifest, file)
}

fn unreached_lists(expired: &[SnapshotRef], after: &TableMetadata) -> Vec<(Kind, Unreferenced)> {
    let kept = after.snapshots().map(|kept| key(kept.manifest_list())).collect();
    let lists = expired.iter().map(|snapshot| (snapshot.manifest_list(), 0));
    unreached(Kind::ManifestList, kept, lists)
}

fn unreached_statistics(before: &TableMetadata, after: &TableMetadata) -> Vec<(Kind, Unreferenced)> {
    let kept = statistics(after).map(|(path, _)| key(path)).collect();
    unreached(Kind::Statistics, kept, statistics(before))
}

/// The files that are not among those `kept`, each once.
fn unreached<'a>(
    kind: Kind,
    mut kept: HashSet<String>,
    files: impl Iterator<Item = (&'a str, u64)>,
) -> Vec<(Kind, Unreferenced)> {
    let unreached = files.filter(|(path, _)| kept.insert(key(path)));
    let file = |(path, bytes): (&str, u64)| {
        let path = path.to_owned();
        (kind, Unreferenced { path, bytes })
    };
    unreached.map(file).collect()
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
) -> Result<BTreeMap<String, ManifestFile>, ManifestError> {
    let mut manifests = BTreeMap::new();
    let mut lists = pin!(lists(before, expired));
    while let Some((snapshot, list)) = lists.next().await {
        match list {
            Ok(list) => manifests.extend(list.into_iter().map(|file| (key(&file.manifest_path), file))),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                tracing::warn!(table = %before.id, snapshot, %error, "files only this snapshot had are left");
            }
        }
    }
    Ok(manifests)
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

/// Reads the live files of manifests in order, as many manifests at once as there is room for.
fn live_files<'a>(
    io: &'a FileIO,
    manifests: Vec<ManifestFile>,
    room: &'a Semaphore,
) -> impl Stream<Item = Result<Vec<Candidate>, ManifestError>> + Send + 'a {
    let read = move |manifest: ManifestFile| async move {
        let kib = u32::try_from(manifest.manifest_length / 1024).unwrap_or(ROOM_KIB);
        let _taken = room.acquire_many(kib.min(ROOM_KIB)).await;
        read_manifest(io, &manifest, |manifest| Ok(live(&manifest))).await
    };
    futures::stream::iter(manifests).map(read).buffered(MANIFESTS)
}

fn live(manifest: &Manifest) -> Vec<Candidate> {
    let live = manifest.entries().iter().filter(|entry| entry.is_alive());
    let candidates = live.map(|entry| Candidate {
        path: entry.file_path().to_owned(),
        bytes: entry.file_size_in_bytes(),
        content: entry.content_type(),
    });
    candidates.collect()
}

/// The live files of manifests. A manifest that is gone cannot tell, and is skipped.
async fn listed_files(
    before: &LoadedTable,
    manifests: &BTreeMap<String, ManifestFile>,
) -> Result<BTreeMap<String, Candidate>, ManifestError> {
    let room = Semaphore::new(ROOM_KIB as usize);
    let mut files = BTreeMap::new();
    let mut stream = pin!(live_files(
        &before.io,
        manifests.values().cloned().collect(),
        &room
    ));
    while let Some(read) = stream.next().await {
        match read {
            Ok(live) => files.extend(live.into_iter().map(|file| (key(&file.path), file))),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                tracing::warn!(table = %before.id, %error, "files only this manifest lists are left");
            }
        }
    }
    Ok(files)
}

/// Removes from `candidates` what the kept manifests list as live.
async fn strike_off(
    after: &LoadedTable,
    kept: Vec<ManifestFile>,
    mut candidates: BTreeMap<String, Candidate>,
) -> Result<impl Iterator<Item = (Kind, Unreferenced)>, ManifestError> {
    let room = Semaphore::new(ROOM_KIB as usize);
    let mut stream = pin!(live_files(&after.io, kept, &room));
    while !candidates.is_empty()
        && let Some(live) = stream.try_next().await?
    {
        for file in live {
            candidates.remove(normalize_location(&file.path).as_ref());
        }
    }
    Ok(candidates.into_values().map(|file| {
        let kind = match file.content {
            DataContentType::Data => Kind::Data,
            _ => Kind::Delete,
        };
        let (path, bytes) = (file.path, file.bytes);
        (kind, Unreferenced { path, bytes })
    }))
}
