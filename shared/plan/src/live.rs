//! Plans on a loaded table: check it, read its snapshot, decide.

use snowpack_catalog::LoadedTable;
use snowpack_domain::{Compaction, JobId, PositionDeleteCompaction};

use crate::error::PlanError;
use crate::filter::FileFilter;
use crate::position_deletes::{self, DeleteFileGroup, DeletePlan};
use crate::rewrite::plan;
use crate::state::TableState;
use crate::supported::{
    check_files, check_metadata, check_position_delete_files, check_position_delete_settings, check_settings,
    unsupported,
};
use crate::types::RewritePlan;
use crate::vectors::{self, VectorGroup};

/// Reads the current snapshot and plans its rewrite by `job`, if it is one. A table without a snapshot has an empty plan.
///
/// # Errors
/// [`PlanError`] when the table or an option is not supported, or a metadata file cannot be read.
pub async fn plan_rewrite(
    table: &LoadedTable,
    settings: &Compaction,
    job: Option<&JobId>,
) -> Result<(TableState, RewritePlan), PlanError> {
    check_metadata(table)?;
    check_settings(table, settings)?;
    let filter = FileFilter::checked(settings.filter.as_deref(), &table.metadata);
    let columns = filter.map(|filter| filter.columns()).unwrap_or_default();
    let state = TableState::read_with(table, columns).await?;
    check_files(table, &state)?;
    let plan = plan(&state, &table.metadata, settings, job);
    Ok((state, plan))
}

/// Reads the current snapshot and plans the rewrite of its position-delete files. A table without a snapshot
/// has an empty plan.
///
/// # Errors
/// [`PlanError`] when the table or an option is not supported, or a metadata file cannot be read.
pub async fn plan_position_deletes(
    table: &LoadedTable,
    settings: &PositionDeleteCompaction,
    job: Option<&JobId>,
) -> Result<DeletePlan<DeleteFileGroup>, PlanError> {
    check_metadata(table)?;
    check_position_delete_settings(table, settings)?;
    let state = TableState::read(table).await?;
    check_position_delete_files(table, &state)?;
    Ok(position_deletes::plan(&state, &table.metadata, settings, job))
}

/// The same for a table of format version 3, whose position deletes become deletion vectors.
///
/// # Errors
/// As [`plan_position_deletes`], and when two vectors are about one data file.
pub async fn plan_vectors(
    table: &LoadedTable,
    settings: &PositionDeleteCompaction,
    job: Option<&JobId>,
) -> Result<DeletePlan<VectorGroup>, PlanError> {
    check_metadata(table)?;
    check_position_delete_settings(table, settings)?;
    let state = TableState::read(table).await?;
    check_position_delete_files(table, &state)?;
    vectors::plan(&state, &table.metadata, settings, job).map_err(|reason| unsupported(table, reason))
}
