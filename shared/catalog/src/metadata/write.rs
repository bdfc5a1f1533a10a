//! Writing the next metadata file of a table, and what follows a commit: old files or the new one go.

use std::io::Write;
use std::time::SystemTime;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use iceberg::io::FileIO;
use iceberg::spec::{MetadataLog, TableMetadata};
use serde_json::{Value, json};
use snowpack_domain::TableId;

use super::apply::{Next, apply};
use super::location::{Codec, next_location};
use super::read::{parse, written_form};
use crate::port::{CatalogError, CommitError, LoadedTable, TableChange};
use crate::storage;

/// New metadata in a file that no catalog points at yet.
#[derive(Debug)]
pub(crate) struct Staged {
    table: LoadedTable,
    /// Files that left the metadata log and are to be deleted after the commit.
    dropped: Vec<String>,
}

impl Staged {
    /// Applies `change` to `base` and writes what comes of it to a fresh file; `None` when it changes nothing.
    pub(crate) async fn prepare(
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<Option<Self>, CommitError> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        match apply(base, change, now_ms)? {
            Some(next) => Ok(Some(Self::write(base, next).await?)),
            None => Ok(None),
        }
    }

    async fn write(base: &LoadedTable, next: Next) -> Result<Self, CatalogError> {
        let dropped = if deletes_after_commit(&next.document.metadata) {
            deletable_files(base, &next.document.metadata)
        } else {
            Vec::new()
        };
        let raw = next.raw.to_string().into();
        let location = String::new();
        let table = LoadedTable::from_document(base.id.clone(), location, next.document, base.io.clone());
        let table = write_file(table.with_raw(raw), Some(&base.metadata_location)).await?;
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
    metadata: &TableMetadata,
    io: FileIO,
) -> Result<LoadedTable, CatalogError> {
    let (mut raw, _) = written_form(metadata);
    // Java always writes these, and older readers insist on them; `iceberg` leaves out what is empty.
    let empty = [
        ("current-snapshot-id", json!(-1)),
        ("properties", json!({})),
        ("refs", json!({})),
        ("snapshots", json!([])),
        ("statistics", json!([])),
        ("partition-statistics", json!([])),
        ("snapshot-log", json!([])),
        ("metadata-log", json!([])),
    ];
    if let Value::Object(members) = &mut raw {
        for (name, value) in empty {
            members.entry(name).or_insert(value);
        }
    }
    let document = parse(&id, "the new metadata", &raw)?;
    let table = LoadedTable::from_document(id, String::new(), document, io);
    write_file(table.with_raw(raw.to_string().into()), None).await
}

async fn write_file(mut table: LoadedTable, previous: Option<&str>) -> Result<LoadedTable, CatalogError> {
    let refuse = |reason: String| CatalogError::Rejected(format!("metadata of {}: {reason}", table.id));
    let codec = Codec::of(table.metadata.properties()).map_err(refuse)?;
    let body = encode(&table.raw, codec).map_err(|error| refuse(error.to_string()))?;
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

fn encode(text: &Bytes, codec: Codec) -> std::io::Result<Bytes> {
    if codec == Codec::Plain {
        return Ok(text.clone());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text)?;
    Ok(encoder.finish()?.into())
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
    is("write.metadata.delete-after-commit.enabled", "true")
        && !is("gc.enabled", "false")
        && !storage::is_in_table_bucket(metadata.location())
}

/// The dropped files that are in the table's own places. A log may name others: where the table was before, or in
/// whatever table it was once registered from.
fn deletable_files(base: &LoadedTable, next: &TableMetadata) -> Vec<String> {
    let own = storage::OwnPlaces::of([base.metadata.as_ref(), next]);
    let mut dropped = dropped_files(&base.metadata, next);
    dropped.retain(|file| {
        let is_own = own.contain(file);
        if !is_own {
            tracing::warn!(table = %base.id, file, "a metadata file outside of the table's own places is left");
        }
        is_own
    });
    dropped
}

/// Metadata files that `base` still listed and `next` does not (`CatalogUtil.deleteRemovedMetadataFiles`).
pub(super) fn dropped_files(base: &TableMetadata, next: &TableMetadata) -> Vec<String> {
    let kept = |file: &MetadataLog| {
        next.metadata_log()
            .iter()
            .any(|log| log.metadata_file == file.metadata_file)
    };
    let dropped = base.metadata_log().iter().filter(|file| !kept(file));
    dropped.map(|file| file.metadata_file.clone()).collect()
}

async fn remove(table: &LoadedTable, file: &str) {
    if storage::is_in_table_bucket(file) {
        return;
    }
    if let Err(error) = table.io.delete(file).await {
        tracing::warn!(table = %table.id, file, %error, "a metadata file could not be deleted");
    }
}
