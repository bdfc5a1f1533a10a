//! Applying a change to a loaded table in memory: requirements, then updates, by Java's rules.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use iceberg::spec::{MetadataLog, SnapshotReference, TableMetadata, TableMetadataBuildResult};
use iceberg::{TableRequirement, TableUpdate};

use crate::port::{CatalogError, CommitError, LoadedTable, TableChange};

/// The metadata a change leads to.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) metadata: TableMetadata,
    pub(crate) refs: BTreeMap<String, SnapshotReference>,
}

/// Checks the requirements against `base` and applies the updates. `None` when they change nothing: such a
/// commit writes nothing (`TableOperations.commit`).
///
/// # Errors
/// [`CommitError::Conflict`] for a requirement that does not hold, [`CatalogError::Rejected`] for an update
/// that contradicts the table.
pub(crate) fn apply(base: &LoadedTable, change: TableChange) -> Result<Option<Next>, CommitError> {
    for requirement in &change.requirements {
        check(base, requirement).map_err(|reason| CommitError::Conflict(format!("{}: {reason}", base.id)))?;
    }
    let refs = next_refs(&base.refs, &change.updates);
    let refs_changed = refs != *base.refs;
    // The builder asserts some of what it takes for granted; see `read`.
    let built = catch_unwind(AssertUnwindSafe(|| build(base, change.updates)))
        .unwrap_or_else(|_| Err("it contradicts the metadata".to_owned()));
    let built = built.map_err(|reason| {
        CatalogError::Rejected(format!("the change cannot be applied to {}: {reason}", base.id))
    })?;
    let changed = !built.changes.is_empty() || refs_changed;
    Ok(changed.then_some(Next {
        metadata: built.metadata,
        refs,
    }))
}

fn check(base: &LoadedTable, requirement: &TableRequirement) -> Result<(), String> {
    let TableRequirement::RefSnapshotIdMatch { r#ref, snapshot_id } = requirement else {
        return requirement
            .check(Some(&base.metadata))
            .map_err(|error| error.message().to_owned());
    };
    // Looked up here because `TableMetadata` does not know the tags and branches of v1 tables.
    let found = base.refs.get(r#ref).map(|reference| reference.snapshot_id);
    if found == *snapshot_id {
        return Ok(());
    }
    Err(format!(
        "{ref} is at snapshot {found:?}, expected {snapshot_id:?}"
    ))
}

fn build(base: &LoadedTable, updates: Vec<TableUpdate>) -> Result<TableMetadataBuildResult, String> {
    let mut builder = base
        .metadata
        .as_ref()
        .clone()
        .into_builder(Some(base.metadata_location.clone()));
    for update in updates {
        // Java removes both with the snapshot (`TableMetadata.Builder.rewriteSnapshotsInternal`), the builder
        // would leave them dangling.
        if let TableUpdate::RemoveSnapshots { snapshot_ids } = &update {
            for id in snapshot_ids {
                builder = builder.remove_statistics(*id).remove_partition_statistics(*id);
            }
        }
        builder = update
            .apply(builder)
            .map_err(|error| error.message().to_owned())?;
    }
    builder.build().map_err(|error| error.message().to_owned())
}

/// Branches and tags after the updates. A ref goes with its snapshot, as in Java.
fn next_refs(
    refs: &BTreeMap<String, SnapshotReference>,
    updates: &[TableUpdate],
) -> BTreeMap<String, SnapshotReference> {
    let mut refs = refs.clone();
    for update in updates {
        match update {
            TableUpdate::SetSnapshotRef { ref_name, reference } => {
                refs.insert(ref_name.clone(), reference.clone());
            }
            TableUpdate::RemoveSnapshotRef { ref_name } => {
                refs.remove(ref_name);
            }
            TableUpdate::RemoveSnapshots { snapshot_ids } => {
                let removed: HashSet<_> = snapshot_ids.iter().collect();
                refs.retain(|_, reference| !removed.contains(&reference.snapshot_id));
            }
            _ => {}
        }
    }
    refs
}

/// Metadata files that `base` still listed and `next` does not (`CatalogUtil.deleteRemovedMetadataFiles`).
pub(crate) fn dropped_files(base: &TableMetadata, next: &TableMetadata) -> Vec<String> {
    let kept = |file: &MetadataLog| {
        next.metadata_log()
            .iter()
            .any(|log| log.metadata_file == file.metadata_file)
    };
    let dropped = base.metadata_log().iter().filter(|file| !kept(file));
    dropped.map(|file| file.metadata_file.clone()).collect()
}
