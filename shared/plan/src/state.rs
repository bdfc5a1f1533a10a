//! Reads what a snapshot holds: manifest list, then every manifest once, several at a time.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{Manifest, ManifestContentType, ManifestEntry, ManifestFile, ManifestStatus, Snapshot};
use snowpack_catalog::LoadedTable;
use snowpack_manifest::{ManifestError, read_manifest};
use tokio::task::JoinSet;

use crate::error::PlanError;
use crate::slim::slim;
use crate::types::LiveFile;

/// Manifests read at once: enough to hide the latency of object storage, few enough that their decoded
/// entries (a few MiB each) stay small beside the table's live files.
const MANIFESTS_IN_FLIGHT: usize = 8;

/// The snapshot id of a table that has no snapshot.
pub const NO_SNAPSHOT: i64 = -1;

/// The live files of one snapshot.
#[derive(Clone, Debug)]
pub struct TableState {
    /// The snapshot read, or [`NO_SNAPSHOT`].
    pub snapshot_id: i64,
    /// Its sequence number; 0 in v1 tables.
    pub sequence_number: i64,
    /// Live data files, in the order of the manifest list and of its manifests. Of statistics they carry NaN counts,
    /// and the rest only of the columns that equality deletes and a filter compare: to copy an entry, read its
    /// manifest again.
    pub data: Vec<Arc<LiveFile>>,
    /// Live delete files of every kind, in the same order.
    pub deletes: Vec<Arc<LiveFile>>,
    /// The manifest list, with the counts that v1 lists may leave out filled in.
    pub manifests: Vec<ManifestFile>,
}

impl TableState {
    /// The state of a table without a snapshot.
    pub fn empty() -> Self {
        Self {
            snapshot_id: NO_SNAPSHOT,
            sequence_number: 0,
            data: Vec::new(),
            deletes: Vec::new(),
            manifests: Vec::new(),
        }
    }

    /// Reads the table's current snapshot.
    ///
    /// # Errors
    /// As [`TableState::read_snapshot`].
    pub async fn read(table: &LoadedTable) -> Result<Self, PlanError> {
        Self::read_with(table, HashSet::new()).await
    }

    /// As [`TableState::read`], with the statistics of these columns too.
    ///
    /// # Errors
    /// As [`TableState::read_snapshot`].
    pub(crate) async fn read_with(table: &LoadedTable, columns: HashSet<i32>) -> Result<Self, PlanError> {
        match table.metadata.current_snapshot() {
            Some(snapshot) => Self::read_columns(table, snapshot, columns).await,
            None => Ok(Self::empty()),
        }
    }

    /// Reads one snapshot of the table.
    ///
    /// # Errors
    /// [`PlanError::Manifest`] naming the manifest or manifest list that could not be read.
    pub async fn read_snapshot(table: &LoadedTable, snapshot: &Snapshot) -> Result<Self, PlanError> {
        Self::read_columns(table, snapshot, HashSet::new()).await
    }

    async fn read_columns(
        table: &LoadedTable,
        snapshot: &Snapshot,
        columns: HashSet<i32>,
    ) -> Result<Self, PlanError> {
        let mut manifests = read_manifest_list(table, snapshot).await?;
        let contents = read_contents(table, &manifests, columns).await?;
        let mut state = Self {
            snapshot_id: snapshot.snapshot_id(),
            sequence_number: snapshot.sequence_number(),
            ..Self::empty()
        };
        for (manifest, content) in manifests.iter_mut().zip(contents) {
            content.counts.fill_in(manifest);
            match manifest.content {
                ManifestContentType::Data => state.data.extend(content.live),
                ManifestContentType::Deletes => state.deletes.extend(content.live),
            }
        }
        state.manifests = manifests;
        Ok(state)
    }
}

/// Reads a snapshot's manifest list.
///
/// # Errors
/// As [`TableState::read_snapshot`].
pub async fn read_manifest_list(
    table: &LoadedTable,
    snapshot: &Snapshot,
) -> Result<Vec<ManifestFile>, PlanError> {
    let read = snowpack_manifest::read_manifest_list(&table.io, &table.metadata, snapshot).await;
    read.map_err(|source| about(table, source))
}

fn about(table: &LoadedTable, source: ManifestError) -> PlanError {
    PlanError::Manifest {
        table: table.id.to_string(),
        source,
    }
}

/// Reads delete manifests first: they tell which statistics of the data files are worth keeping besides those of
/// `columns`.
async fn read_contents(
    table: &LoadedTable,
    manifests: &[ManifestFile],
    mut columns: HashSet<i32>,
) -> Result<Vec<Content>, PlanError> {
    let (deletes, data): (Vec<_>, Vec<_>) = manifests
        .iter()
        .enumerate()
        .partition(|(_, manifest)| manifest.content == ManifestContentType::Deletes);
    let mut contents: Vec<_> = manifests.iter().map(|_| Content::default()).collect();
    read_manifests(table, deletes, &Arc::default(), &mut contents).await?;
    let live_deletes = contents.iter().flat_map(|content| &content.live);
    columns.extend(live_deletes.flat_map(|delete| delete.file.equality_ids().unwrap_or_default()));
    read_manifests(table, data, &Arc::new(columns), &mut contents).await?;
    Ok(contents)
}

/// Reads manifests into their places, several at a time.
async fn read_manifests(
    table: &LoadedTable,
    manifests: Vec<(usize, &ManifestFile)>,
    compared: &Arc<HashSet<i32>>,
    contents: &mut [Content],
) -> Result<(), PlanError> {
    let mut waiting = manifests.into_iter();
    let mut reading = JoinSet::new();
    loop {
        while reading.len() < MANIFESTS_IN_FLIGHT
            && let Some((index, manifest)) = waiting.next()
        {
            let (io, manifest, compared) = (table.io.clone(), manifest.clone(), Arc::clone(compared));
            reading.spawn(async move { (index, read_content(&io, &manifest, compared).await) });
        }
        let Some(done) = reading.join_next().await else {
            return Ok(());
        };
        let (index, content) = done.expect("decoding panics are caught, and nothing aborts a reader");
        contents[index] = content.map_err(|source| about(table, source))?;
    }
}

async fn read_content(
    io: &FileIO,
    manifest: &ManifestFile,
    compared: Arc<HashSet<i32>>,
) -> Result<Content, ManifestError> {
    let is_counted = manifest.deleted_files_count.is_some() && manifest.deleted_rows_count.is_some();
    if is_counted && !manifest.has_added_files() && !manifest.has_existing_files() {
        return Ok(Content::default());
    }
    let spec_id = manifest.partition_spec_id;
    read_manifest(io, manifest, move |decoded| {
        Ok(content_of(decoded, spec_id, &compared))
    })
    .await
}

/// What one manifest holds.
#[derive(Debug, Default)]
struct Content {
    live: Vec<Arc<LiveFile>>,
    counts: Counts,
}

/// Files and rows of a manifest's entries.
#[derive(Debug, Default)]
struct Counts {
    files: [u32; 3],
    rows: [u64; 3],
}

impl Counts {
    fn add(&mut self, entry: &ManifestEntry) {
        self.files[entry.status() as usize] += 1;
        self.rows[entry.status() as usize] += entry.record_count();
    }

    /// Sets the counts the manifest list did not have.
    fn fill_in(&self, manifest: &mut ManifestFile) {
        let at = |status: ManifestStatus| status as usize;
        let (added, existing, deleted) = (
            at(ManifestStatus::Added),
            at(ManifestStatus::Existing),
            at(ManifestStatus::Deleted),
        );
        manifest.added_files_count.get_or_insert(self.files[added]);
        manifest.existing_files_count.get_or_insert(self.files[existing]);
        manifest.deleted_files_count.get_or_insert(self.files[deleted]);
        manifest.added_rows_count.get_or_insert(self.rows[added]);
        manifest.existing_rows_count.get_or_insert(self.rows[existing]);
        manifest.deleted_rows_count.get_or_insert(self.rows[deleted]);
    }
}

/// The live entries of a manifest.
fn content_of(decoded: Manifest, spec_id: i32, compared: &HashSet<i32>) -> Content {
    let (entries, metadata) = decoded.into_parts();
    let mut content = Content::default();
    for entry in entries {
        content.counts.add(&entry);
        if entry.is_alive() {
            let mut live = live_file(Arc::unwrap_or_clone(entry), spec_id);
            if *metadata.content() == ManifestContentType::Data {
                live.file = slim(&live.file, compared);
            }
            content.live.push(Arc::new(live));
        }
    }
    content
}

fn live_file(entry: ManifestEntry, spec_id: i32) -> LiveFile {
    const READ: &str = "a manifest that was read has inherited it";
    LiveFile {
        spec_id,
        snapshot_id: entry.snapshot_id.expect(READ),
        sequence_number: entry.sequence_number.expect(READ),
        file_sequence_number: entry.file_sequence_number,
        file: entry.data_file,
    }
}

#[cfg(test)]
mod tests;
