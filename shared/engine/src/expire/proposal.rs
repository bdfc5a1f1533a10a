//! The metadata change of an expiry: which refs, snapshots, statistics, schemas and specs go.

use std::collections::HashSet;

use iceberg::{TableRequirement, TableUpdate};
use snowpack_catalog::{LoadedTable, TableChange};
use snowpack_domain::{Expiry, Timestamp};
use snowpack_manifest::read_manifest_list;
use snowpack_plan::{ExpiryPlan, Forecast, Numbers, plan_expiry};
use uuid::Uuid;

use crate::commit::{Mark, Proposal, Proposed};
use crate::error::EngineError;
use crate::file_error::FileError;

/// An expiry, planned anew on every metadata it is proposed to.
#[derive(Debug)]
pub(crate) struct ExpireProposal {
    /// The table's identity when the action began.
    pub(crate) uuid: Uuid,
    /// What to expire.
    pub(crate) settings: Expiry,
    /// Ages count up to this instant, the same on every attempt.
    pub(crate) now: Timestamp,
}

impl ExpireProposal {
    /// What is expected of it on the table as just loaded.
    ///
    /// # Errors
    /// As planning.
    pub(crate) fn forecast(&self, table: &LoadedTable) -> Result<Numbers, EngineError> {
        let plan = plan_expiry(&table.metadata, table.refs(), &self.settings, self.now)?;
        Ok(plan.forecast())
    }
}

/// What an expiry removed from the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    /// Snapshots.
    pub(crate) snapshots: Vec<i64>,
    /// Snapshots that stay.
    pub(crate) kept: u64,
}

/// Schemas and specs that nothing uses.
#[derive(Debug, Default)]
struct Unused {
    schemas: Vec<i32>,
    specs: Vec<i32>,
}

impl Proposal for ExpireProposal {
    type Outcome = Expired;

    async fn propose(
        &self,
        base: &LoadedTable,
        _: &mut Vec<String>,
    ) -> Result<Proposed<Expired>, EngineError> {
        if base.metadata.uuid() != self.uuid {
            return Err(EngineError::TableReplaced(base.id.to_string()));
        }
        let plan = plan_expiry(&base.metadata, base.refs(), &self.settings, self.now)?;
        let unused = if self.settings.clean_expired_metadata {
            unused(base, &plan).await?
        } else {
            Unused::default()
        };
        let outcome = Expired {
            kept: (base.metadata.snapshots().len() - plan.snapshots.len()) as u64,
            snapshots: plan.snapshots.clone(),
        };
        if plan.is_empty() && unused.schemas.is_empty() && unused.specs.is_empty() {
            return Ok(Proposed::Nothing(outcome));
        }
        Ok(Proposed::Change {
            change: TableChange {
                requirements: requirements(base),
                updates: updates(base, &plan, &unused),
            },
            mark: Mark::Removed {
                snapshots: plan.snapshots,
                refs: plan.refs,
                schemas: unused.schemas,
                specs: unused.specs,
            },
            outcome,
        })
    }
}

/// Every ref must still be where it was: a branch that moved keeps other snapshots.
fn requirements(base: &LoadedTable) -> Vec<TableRequirement> {
    let uuid = TableRequirement::UuidMatch {
        uuid: base.metadata.uuid(),
    };
    let refs = base
        .refs()
        .iter()
        .map(|(name, reference)| TableRequirement::RefSnapshotIdMatch {
            r#ref: name.clone(),
            snapshot_id: Some(reference.snapshot_id),
        });
    std::iter::once(uuid).chain(refs).collect()
}

/// The updates in the order of Java's `TableMetadata.Builder`: refs, statistics, snapshots, specs, schemas.
fn updates(base: &LoadedTable, plan: &ExpiryPlan, unused: &Unused) -> Vec<TableUpdate> {
    let metadata = &base.metadata;
    let mut updates: Vec<_> = plan
        .refs
        .iter()
        .map(|name| TableUpdate::RemoveSnapshotRef {
            ref_name: name.clone(),
        })
        .collect();
    for id in plan.snapshots.iter().copied() {
        if metadata.statistics_for_snapshot(id).is_some() {
            updates.push(TableUpdate::RemoveStatistics { snapshot_id: id });
        }
        if metadata.partition_statistics_for_snapshot(id).is_some() {
            updates.push(TableUpdate::RemovePartitionStatistics { snapshot_id: id });
        }
    }
    if !plan.snapshots.is_empty() {
        updates.push(TableUpdate::RemoveSnapshots {
            snapshot_ids: plan.snapshots.clone(),
        });
    }
    if !unused.specs.is_empty() {
        updates.push(TableUpdate::RemovePartitionSpecs {
            spec_ids: unused.specs.clone(),
        });
    }
    if !unused.schemas.is_empty() {
        updates.push(TableUpdate::RemoveSchemas {
            schema_ids: unused.schemas.clone(),
        });
    }
    updates
}

/// Schemas no kept snapshot was written with and specs no kept manifest was written with
/// (`RemoveSnapshots.cleanExpiredMetadata`); the current ones stay.
async fn unused(base: &LoadedTable, plan: &ExpiryPlan) -> Result<Unused, FileError> {
    let metadata = &base.metadata;
    let expired: HashSet<_> = plan.snapshots.iter().copied().collect();
    let mut schemas = HashSet::from([metadata.current_schema_id()]);
    let mut specs = HashSet::from([metadata.default_partition_spec_id()]);
    for snapshot in metadata
        .snapshots()
        .filter(|snapshot| !expired.contains(&snapshot.snapshot_id()))
    {
        schemas.extend(snapshot.schema_id());
        if specs.len() < metadata.partition_specs_iter().len() {
            let manifests = read_manifest_list(&base.io, metadata, snapshot).await?;
            specs.extend(manifests.iter().map(|manifest| manifest.partition_spec_id));
        }
    }
    let schema_ids = metadata.schemas_iter().map(|schema| schema.schema_id());
    let spec_ids = metadata.partition_specs_iter().map(|spec| spec.spec_id());
    Ok(Unused {
        schemas: schema_ids.filter(|id| !schemas.contains(id)).collect(),
        specs: spec_ids.filter(|id| !specs.contains(id)).collect(),
    })
}
