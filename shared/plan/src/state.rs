//! Reads what a snapshot holds: manifest list, then every manifest once, several at a time.
//!
//! Inheritance follows the specification (Manifest Inheritance): snapshot ids and sequence numbers an entry
//! does not carry come from the manifest list; everything v1 has sequence number 0.

use std::collections::HashSet;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, Manifest, ManifestContentType, ManifestEntry, ManifestFile, ManifestList,
};
use iceberg::spec::{ManifestStatus, Snapshot};
use snowpack_catalog::LoadedTable;
use tokio::task::{JoinSet, spawn_blocking};

use crate::error::{MetadataFile, PlanError};
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
    /// Live data files, in the order of the manifest list and of its manifests. They carry statistics only of
    /// the columns that equality deletes compare: to copy an entry, read its manifest again.
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
        match table.metadata.current_snapshot() {
            Some(snapshot) => Self::read_snapshot(table, snapshot).await,
            None => Ok(Self::empty()),
        }
    }

    /// Reads one snapshot of the table.
    ///
    /// # Errors
    /// [`PlanError::Damaged`] or [`PlanError::Unavailable`] naming the manifest or manifest list that could
    /// not be read, [`PlanError::Unsupported`] when it is encrypted.
    pub async fn read_snapshot(table: &LoadedTable, snapshot: &Snapshot) -> Result<Self, PlanError> {
        let mut manifests = read_manifest_list(table, snapshot).await?;
        let contents = read_contents(table, &manifests).await?;
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
    if snapshot.encryption_key_id().is_some() {
        return Err(PlanError::Unsupported {
            table: table.id.to_string(),
            reason: format!("snapshot {} is encrypted", snapshot.snapshot_id()),
        });
    }
    let file = MetadataFile {
        table: table.id.to_string(),
        what: "manifest list",
        location: snapshot.manifest_list().to_owned(),
    };
    let version = table.metadata.format_version();
    let list = read_and_decode(&table.io, &file, move |bytes| {
        ManifestList::parse_with_version(bytes, version)
    })
    .await?;
    Ok(list.consume_entries().into_iter().collect())
}

/// Reads delete manifests first: they tell which statistics of the data files are worth keeping.
async fn read_contents(table: &LoadedTable, manifests: &[ManifestFile]) -> Result<Vec<Content>, PlanError> {
    let (deletes, data): (Vec<_>, Vec<_>) = manifests
        .iter()
        .enumerate()
        .partition(|(_, manifest)| manifest.content == ManifestContentType::Deletes);
    let mut contents: Vec<_> = manifests.iter().map(|_| Content::default()).collect();
    read_manifests(table, deletes, &Arc::default(), &mut contents).await?;
    let live_deletes = contents.iter().flat_map(|content| &content.live);
    let compared = live_deletes
        .flat_map(|delete| delete.file.equality_ids().unwrap_or_default())
        .collect();
    read_manifests(table, data, &Arc::new(compared), &mut contents).await?;
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
            let (io, name) = (table.io.clone(), table.id.to_string());
            let (manifest, compared) = (manifest.clone(), Arc::clone(compared));
            reading.spawn(async move { (index, read_manifest(&io, name, manifest, compared).await) });
        }
        let Some(done) = reading.join_next().await else {
            return Ok(());
        };
        let (index, content) = done.expect("decoding panics are caught, and nothing aborts a reader");
        contents[index] = content?;
    }
}

async fn read_manifest(
    io: &FileIO,
    table: String,
    manifest: ManifestFile,
    compared: Arc<HashSet<i32>>,
) -> Result<Content, PlanError> {
    if manifest.key_metadata.is_some() {
        let reason = format!("manifest {} is encrypted", manifest.manifest_path);
        return Err(PlanError::Unsupported { table, reason });
    }
    let is_counted = manifest.deleted_files_count.is_some() && manifest.deleted_rows_count.is_some();
    if is_counted && !manifest.has_added_files() && !manifest.has_existing_files() {
        return Ok(Content::default());
    }
    let file = MetadataFile {
        table,
        what: "manifest",
        location: manifest.manifest_path.clone(),
    };
    let decode = move |bytes: &[u8]| Ok(content_of(Manifest::parse_avro(bytes)?, &manifest, &compared));
    read_and_decode(io, &file, decode)
        .await?
        .map_err(|reason| file.damaged(reason))
}

/// Reads a file and decodes it off the async threads. A panic of the decoder means a damaged file.
async fn read_and_decode<T: Send + 'static>(
    io: &FileIO,
    file: &MetadataFile,
    decode: impl FnOnce(&[u8]) -> iceberg::Result<T> + Send + 'static,
) -> Result<T, PlanError> {
    let input = io
        .new_input(&file.location)
        .map_err(|error| file.unreadable(&error))?;
    let bytes = input.read().await.map_err(|error| file.unreadable(&error))?;
    match spawn_blocking(move || decode(&bytes)).await {
        Ok(decoded) => decoded.map_err(|error| file.damaged(error.to_string())),
        Err(_panicked) => Err(file.damaged("it is not a valid Avro file")),
    }
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

/// The live entries of a manifest, or what is wrong with it.
fn content_of(
    decoded: Manifest,
    manifest: &ManifestFile,
    compared: &HashSet<i32>,
) -> Result<Content, String> {
    let (entries, _) = decoded.into_parts();
    let mut content = Content::default();
    for entry in entries {
        content.counts.add(&entry);
        if entry.is_alive() {
            check_kind(&entry, manifest.content)?;
            let mut live = inherit(Arc::unwrap_or_clone(entry), manifest)?;
            if manifest.content == ManifestContentType::Data {
                live.file = slim(&live.file, compared);
            }
            content.live.push(Arc::new(live));
        }
    }
    // Avro cannot tell a file cut at a block's end from a whole one; the manifest list can.
    let listed = u64::from(manifest.added_files_count.unwrap_or(0))
        + u64::from(manifest.existing_files_count.unwrap_or(0));
    if (content.live.len() as u64) < listed {
        return Err(format!(
            "it has {} live files where the manifest list counts {listed}",
            content.live.len()
        ));
    }
    Ok(content)
}

fn check_kind(entry: &ManifestEntry, kind: ManifestContentType) -> Result<(), String> {
    let is_data = entry.content_type() == DataContentType::Data;
    if is_data == (kind == ManifestContentType::Data) {
        return Ok(());
    }
    Err(format!(
        "a manifest of {kind} files lists {} as {:?}",
        entry.file_path(),
        entry.content_type()
    ))
}

fn inherit(entry: ManifestEntry, manifest: &ManifestFile) -> Result<LiveFile, String> {
    let may_inherit = entry.status == ManifestStatus::Added || manifest.sequence_number == 0;
    let inherited = may_inherit.then_some(manifest.sequence_number);
    let sequence_number = entry.sequence_number.or(inherited);
    Ok(LiveFile {
        spec_id: manifest.partition_spec_id,
        snapshot_id: entry.snapshot_id.unwrap_or(manifest.added_snapshot_id),
        sequence_number: sequence_number
            .ok_or_else(|| format!("the existing entry {} has no sequence number", entry.file_path()))?,
        file_sequence_number: entry.file_sequence_number.or(inherited),
        file: entry.data_file,
    })
}

#[cfg(test)]
mod tests;
