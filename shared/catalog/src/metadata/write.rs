//! Writing the next metadata file of a table, and what follows a commit: old files or the new one go.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use iceberg::io::FileIO;
use iceberg::spec::{SnapshotReference, TableMetadata};
use serde_json::Value;
use snowpack_domain::TableId;

use super::apply::{Next, dropped_files};
use super::fidelity::{Residue, complete};
use super::location::{Codec, next_location};
use crate::port::{CatalogError, LoadedTable};
use crate::storage;

/// New metadata in a file that no catalog points at yet.
#[derive(Debug)]
pub(crate) struct Staged {
    table: LoadedTable,
    /// Files that left the metadata log and are to be deleted after the commit.
    dropped: Vec<String>,
}

impl Staged {
    /// Writes `next`, which follows `base`, to a fresh file.
    pub(crate) async fn write(base: &LoadedTable, next: Next) -> Result<Self, CatalogError> {
        let dropped = if deletes_after_commit(&next.metadata) {
            dropped_files(&base.metadata, &next.metadata)
        } else {
            Vec::new()
        };
        let table = LoadedTable {
            metadata: Arc::new(next.metadata),
            refs: Arc::new(next.refs),
            ..base.clone()
        };
        let table = write_file(table, Some(&base.metadata_location)).await?;
        Ok(Self { table, dropped })
    }

    /// Where the new metadata is.
    pub(crate) fn location(&self) -> &str {
        &self.table.metadata_location
    }

    /// The new metadata.
    pub(crate) fn metadata(&self) -> &TableMetadata {
        &self.table.metadata
    }

    /// The catalog points at the new file: deletes what left the metadata log, as far as possible.
    pub(crate) async fn committed(self) -> LoadedTable {
        for file in &self.dropped {
            remove(&self.table, file).await;
        }
        self.table
    }

    /// The catalog certainly does not point at the new file: removes it, as far as possible.
    pub(crate) async fn discard(self) {
        remove(&self.table, self.location()).await;
    }
}

/// Writes the first metadata file of a new table.
pub(crate) async fn write_first(
    id: TableId,
    metadata: TableMetadata,
    io: FileIO,
) -> Result<LoadedTable, CatalogError> {
    let table = LoadedTable::new(id, Arc::new(metadata), String::new(), io);
    write_file(table, None).await
}

async fn write_file(mut table: LoadedTable, previous: Option<&str>) -> Result<LoadedTable, CatalogError> {
    let refuse = |reason: String| CatalogError::Rejected(format!("metadata of {}: {reason}", table.id));
    let codec = Codec::of(table.metadata.properties()).map_err(refuse)?;
    let body = encode(&table.metadata, &table.refs, &table.residue, codec);
    let body = body.map_err(|error| refuse(error.to_string()))?;
    table.metadata_location = next_location(&table.metadata, previous, codec);
    let written = match table.io.new_output(&table.metadata_location) {
        Ok(output) => output.write(body).await,
        Err(error) => Err(error),
    };
    written.map_err(|error| write_error(&table, &error))?;
    Ok(table)
}

fn write_error(table: &LoadedTable, error: &iceberg::Error) -> CatalogError {
    let what = format!(
        "writing the metadata of {} to {}: {error}",
        table.id, table.metadata_location
    );
    if storage::is_denied(error) {
        CatalogError::AccessDenied(what)
    } else {
        CatalogError::Unavailable(what)
    }
}

/// The bytes of a metadata file.
pub(super) fn encode(
    metadata: &TableMetadata,
    refs: &BTreeMap<String, SnapshotReference>,
    residue: &Residue,
    codec: Codec,
) -> std::io::Result<Bytes> {
    let mut document = serde_json::to_value(metadata)?;
    residue.restore(&mut document);
    if let Value::Object(members) = &mut document {
        complete(members, metadata.format_version(), refs)?;
    }
    let text = serde_json::to_vec(&document)?;
    match codec {
        Codec::Plain => Ok(text.into()),
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&text)?;
            Ok(encoder.finish()?.into())
        }
    }
}

/// Java deletes when `write.metadata.delete-after-commit.enabled` is set; Snowpack also wants `gc.enabled`,
/// which forbids every physical delete.
fn deletes_after_commit(metadata: &TableMetadata) -> bool {
    let is = |name: &str, value: &str| {
        metadata
            .properties()
            .get(name)
            .is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    is("write.metadata.delete-after-commit.enabled", "true") && !is("gc.enabled", "false")
}

async fn remove(table: &LoadedTable, file: &str) {
    if let Err(error) = table.io.delete(file).await {
        tracing::warn!(table = %table.id, file, %error, "a metadata file could not be deleted");
    }
}
