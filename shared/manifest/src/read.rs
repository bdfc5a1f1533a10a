//! Reads manifest lists and manifests, checks them against each other, and fills in what entries inherit.
//!
//! Inheritance follows the specification (Manifest Inheritance): snapshot ids and sequence numbers an entry
//! does not carry come from the manifest list; everything v1 has sequence number 0.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, FormatVersion, Manifest, ManifestContentType, ManifestEntry, ManifestFile, ManifestList,
    ManifestMetadata, ManifestStatus, Snapshot, TableMetadata,
};
use tokio::task::spawn_blocking;

use crate::container::Container;
use crate::error::{ManifestError, MetadataKind};
use crate::names;
use crate::row_ids::inherit_first_row_ids;

/// Files up to this size, in bytes, are decoded where they were read: handing them to another thread costs more.
const DECODED_IN_PLACE: usize = 16 * 1024;

/// Reads the manifest list of a snapshot.
///
/// # Errors
/// [`ManifestError`] naming the manifest list.
pub async fn read_manifest_list(
    io: &FileIO,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
) -> Result<Vec<ManifestFile>, ManifestError> {
    let (kind, path) = (MetadataKind::ManifestList, snapshot.manifest_list());
    if snapshot.encryption_key_id().is_some() {
        let location = path.to_owned();
        return Err(ManifestError::Encrypted { kind, location });
    }
    let bytes = read_bytes(io, kind, path).await?;
    let version = metadata.format_version();
    decode(kind, path, bytes.len(), move || {
        decode_manifest_list(&bytes, version)
    })
    .await
}

/// Reads a manifest, its entries' snapshot ids and sequence numbers inherited, and hands it to `then` on the
/// thread that decoded it.
///
/// # Errors
/// [`ManifestError`] naming the manifest, when it cannot be read or `then` finds it wrong.
pub async fn read_manifest<T: Send + 'static>(
    io: &FileIO,
    file: &ManifestFile,
    then: impl FnOnce(Manifest) -> Result<T, String> + Send + 'static,
) -> Result<T, ManifestError> {
    let (kind, path) = (MetadataKind::Manifest, &file.manifest_path);
    if file.key_metadata.is_some() {
        let location = path.clone();
        return Err(ManifestError::Encrypted { kind, location });
    }
    let bytes = read_bytes(io, kind, path).await?;
    let listed = file.clone();
    decode(kind, path, bytes.len(), move || {
        then(decode_manifest(&bytes, &listed)?)
    })
    .await
}

/// Decodes a manifest list.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub fn decode_manifest_list(bytes: &[u8], version: FormatVersion) -> Result<Vec<ManifestFile>, String> {
    let plain = Container::parse(bytes)?.into_plain()?;
    let list = ManifestList::parse_with_version(&plain, version).map_err(|error| error.to_string())?;
    Ok(list.consume_entries().into_iter().collect())
}

/// Decodes a manifest that a manifest list lists as `file`.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub fn decode_manifest(bytes: &[u8], file: &ManifestFile) -> Result<Manifest, String> {
    let readable = names::readable(bytes)?;
    let manifest = Manifest::parse_avro(&readable.bytes).map_err(|error| error.to_string())?;
    let (entries, metadata) = manifest.into_parts();
    let metadata = ManifestMetadata {
        partition_spec: readable.spec,
        ..metadata
    };
    let mut entries = entries
        .into_iter()
        .map(|entry| inherit(Arc::unwrap_or_clone(entry), file))
        .collect::<Result<Vec<_>, _>>()?;
    check_count(&entries, file)?;
    inherit_first_row_ids(&mut entries, file)?;
    Ok(Manifest::new(metadata, entries))
}

async fn read_bytes(io: &FileIO, kind: MetadataKind, path: &str) -> Result<Bytes, ManifestError> {
    let unreadable = |error| ManifestError::unreadable(kind, path, error);
    io.new_input(path)
        .map_err(unreadable)?
        .read()
        .await
        .map_err(unreadable)
}

/// Decodes: a large file off the async threads, on all cores. A panic of the decoder means a damaged file.
async fn decode<T: Send + 'static>(
    kind: MetadataKind,
    path: &str,
    bytes: usize,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, ManifestError> {
    let work = || catch_unwind(AssertUnwindSafe(work));
    let decoded = match bytes {
        0..=DECODED_IN_PLACE => work(),
        _ => spawn_blocking(work)
            .await
            .unwrap_or_else(|ended| Err(Box::new(ended))),
    };
    match decoded {
        Ok(decoded) => decoded.map_err(|reason| ManifestError::damaged(kind, path, reason)),
        Err(_panicked) => Err(ManifestError::damaged(kind, path, "it is not a valid Avro file")),
    }
}

fn inherit(mut entry: ManifestEntry, file: &ManifestFile) -> Result<ManifestEntry, String> {
    let is_data = entry.content_type() == DataContentType::Data;
    if is_data != (file.content == ManifestContentType::Data) {
        return Err(format!(
            "a manifest of {} files lists {} as {:?}",
            file.content,
            entry.file_path(),
            entry.content_type()
        ));
    }
    let may_inherit = entry.status == ManifestStatus::Added || file.sequence_number == 0;
    let inherited = may_inherit.then_some(file.sequence_number);
    entry.snapshot_id.get_or_insert(file.added_snapshot_id);
    entry.sequence_number = entry.sequence_number.or(inherited);
    entry.file_sequence_number = entry.file_sequence_number.or(inherited);
    if entry.is_alive() && entry.sequence_number.is_none() {
        return Err(format!(
            "the existing entry {} has no sequence number",
            entry.file_path()
        ));
    }
    Ok(entry)
}

/// Avro cannot tell a file cut at a block's end from a whole one; the manifest list can.
fn check_count(entries: &[ManifestEntry], file: &ManifestFile) -> Result<(), String> {
    let live = entries.iter().filter(|entry| entry.is_alive()).count();
    let listed =
        u64::from(file.added_files_count.unwrap_or(0)) + u64::from(file.existing_files_count.unwrap_or(0));
    if (live as u64) < listed {
        return Err(format!(
            "it has {live} live files where the manifest list counts {listed}"
        ));
    }
    Ok(())
}
