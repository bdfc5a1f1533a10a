//! Applying a change to a loaded table in memory: requirements, then updates, by Java's rules.

use iceberg::TableRequirement;
use serde_json::Value;

use super::draft::Draft;
use super::read::{Document, parse};
use crate::port::{CatalogError, CommitError, LoadedTable, TableChange};

/// The metadata a change leads to: as a document to write, and read back from it.
pub(crate) struct Next {
    pub(super) raw: Value,
    pub(super) document: Document,
}

/// Checks the requirements against `base` and applies the updates at `now_ms`. `None` when they change
/// nothing: such a commit writes nothing (`TableOperations.commit`).
///
/// # Errors
/// [`CommitError::Conflict`] for a requirement that does not hold, [`CatalogError::Rejected`] for an update
/// that contradicts the table or that no maintenance needs.
pub(crate) fn apply(
    base: &LoadedTable,
    change: TableChange,
    now_ms: i64,
) -> Result<Option<Next>, CommitError> {
    for requirement in &change.requirements {
        check(base, requirement).map_err(|reason| CommitError::Conflict(format!("{}: {reason}", base.id)))?;
    }
    let reject = |reason: String| {
        CatalogError::Rejected(format!("the change cannot be applied to {}: {reason}", base.id))
    };
    let mut draft = Draft::new(base, now_ms).map_err(reject)?;
    for update in change.updates {
        draft.apply(update).map_err(reject)?;
    }
    let Some(raw) = draft.finish(base).map_err(reject)? else {
        return Ok(None);
    };
    let document = parse(&base.id, "the new metadata", &raw).map_err(|error| reject(error.to_string()))?;
    Ok(Some(Next { raw, document }))
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
