//! How a table tells whether a change that was sent to its catalog has been applied.

use iceberg::TableRequirement;
use snowpack_catalog::LoadedTable;

/// What metadata looks like once a change was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It has this snapshot.
    SnapshotAdded(i64),
    /// It has none of these snapshots, refs and schemas.
    Removed {
        /// Snapshot ids.
        snapshots: Vec<i64>,
        /// Branches and tags.
        refs: Vec<String>,
        /// Schema ids.
        schemas: Vec<i32>,
        /// Partition spec ids.
        specs: Vec<i32>,
    },
}

impl Mark {
    /// Whether the change was applied. Of a removal, also when somebody else removed the same: what it leaves to do
    /// is the same then.
    fn is_on(&self, table: &LoadedTable) -> bool {
        let metadata = &table.metadata;
        match self {
            // Once others have built upon the snapshot, it may have been expired already.
            Self::SnapshotAdded(id) => metadata
                .snapshots()
                .any(|found| found.snapshot_id() == *id || found.parent_snapshot_id() == Some(*id)),
            Self::Removed {
                snapshots,
                refs,
                schemas,
                specs,
            } => {
                snapshots.iter().all(|id| metadata.snapshot_by_id(*id).is_none())
                    && refs.iter().all(|name| !table.refs().contains_key(name))
                    && schemas.iter().all(|id| metadata.schema_by_id(*id).is_none())
                    && specs
                        .iter()
                        .all(|id| metadata.partition_spec_by_id(*id).is_none())
            }
        }
    }
}

/// What became of a change that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The table has it.
    Applied,
    /// The table moved on without it, so that a requirement of it fails: it never will be applied.
    Refused,
    /// The table is as it was: the request may still be on its way.
    Open,
}

/// A change that was sent to the catalog, and what was prepared for it.
#[derive(Debug)]
pub(super) struct Sent<T> {
    /// The table it was proposed to.
    pub(super) base: LoadedTable,
    pub(super) requirements: Vec<TableRequirement>,
    pub(super) mark: Mark,
    /// Files created for it.
    pub(super) written: Vec<String>,
    pub(super) outcome: T,
}

impl<T> Sent<T> {
    /// What a later state of the table says about it.
    pub(super) fn fate(&self, table: &LoadedTable) -> Fate {
        if self.mark.is_on(table) {
            Fate::Applied
        } else if self.requirements.iter().all(|one| holds(one, table)) {
            Fate::Open
        } else {
            Fate::Refused
        }
    }
}

/// Whether a requirement of ours holds. Refs are looked up in the table's own list, which v1 tables need.
fn holds(requirement: &TableRequirement, table: &LoadedTable) -> bool {
    match requirement {
        TableRequirement::RefSnapshotIdMatch { r#ref, snapshot_id } => {
            table.refs().get(r#ref).map(|found| found.snapshot_id) == *snapshot_id
        }
        other => other.check(Some(&table.metadata)).is_ok(),
    }
}
