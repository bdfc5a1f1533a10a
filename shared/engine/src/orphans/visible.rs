//! Which listed files are looked at by their path alone: hidden ones are not, and other tables' are recognised.

use std::collections::HashSet;

use iceberg::spec::TableMetadata;

use super::identity::{FileUri, Names};

/// Where a table keeps its metadata files unless told otherwise.
const METADATA_FOLDER: &str = "metadata";
/// Points at the newest metadata file of tables without a catalog.
pub(crate) const VERSION_HINT: &str = "version-hint.text";

/// Tells hidden paths (Java's `HiddenPathFilter`, and its `PartitionAwareHiddenPathFilter`).
#[derive(Debug)]
pub(crate) struct Visibility {
    /// `name=` of partition fields whose folders look hidden and are not.
    partitions: Vec<String>,
}

impl Visibility {
    pub(crate) fn of(metadata: &TableMetadata) -> Self {
        let fields = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
        let partitions = fields
            .filter(|field| field.name.starts_with(['_', '.']))
            .map(|field| format!("{}=", field.name));
        Self {
            partitions: partitions.collect(),
        }
    }

    /// Shows folders that start so, for tests.
    #[cfg(test)]
    pub(crate) fn with(partition: &str) -> Self {
        Self {
            partitions: vec![partition.to_owned()],
        }
    }

    /// Whether a path, relative to the folder that was listed, is hidden or inside something hidden.
    pub(crate) fn is_hidden(&self, path: &str) -> bool {
        path.split('/').any(|name| {
            name.starts_with(['_', '.'])
                && !self
                    .partitions
                    .iter()
                    .any(|partition| name.starts_with(partition))
        })
    }
}

/// The location of the table that a file looks like the metadata of: two folders up.
pub(crate) fn table_of(file: &FileUri) -> Option<FileUri> {
    let (folder, name) = file.path.rsplit_once('/')?;
    let is_metadata =
        name.ends_with(".metadata.json") || name.ends_with(".metadata.json.gz") || name == VERSION_HINT;
    let root = folder.strip_suffix(METADATA_FOLDER)?.strip_suffix('/')?;
    is_metadata.then(|| FileUri {
        prefix: file.prefix.clone(),
        path: if root.is_empty() { "/" } else { root }.to_owned(),
    })
}

/// The locations whose metadata files are this table's: where it is, and where its metadata is or was written.
pub(crate) fn own_roots(
    metadata: &TableMetadata,
    metadata_location: &str,
    names: &Names,
) -> HashSet<FileUri> {
    let log = metadata
        .metadata_log()
        .iter()
        .map(|entry| entry.metadata_file.as_str());
    let written = metadata.properties().get("write.metadata.path");
    let hint = written.map(|folder| format!("{folder}/{VERSION_HINT}"));
    let files = std::iter::once(metadata_location)
        .chain(log)
        .chain(hint.as_deref());
    let roots = files.filter_map(|file| table_of(&names.place(file)));
    roots.chain([names.place(metadata.location())]).collect()
}
