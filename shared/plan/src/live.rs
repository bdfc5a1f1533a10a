//! Plans on a loaded table: check it, read its snapshot, decide.

use snowpack_catalog::LoadedTable;
use snowpack_domain::Compaction;

use crate::error::PlanError;
use crate::rewrite::plan;
use crate::state::TableState;
use crate::supported::{check_files, check_metadata, check_settings};
use crate::types::RewritePlan;

/// Reads the current snapshot and plans its rewrite. A table without a snapshot has an empty plan.
///
/// # Errors
/// [`PlanError`] when the table or an option is not supported, or a metadata file cannot be read.
pub async fn plan_rewrite(
    table: &LoadedTable,
    settings: &Compaction,
) -> Result<(TableState, RewritePlan), PlanError> {
    check_metadata(table)?;
    check_settings(table, settings)?;
    let state = TableState::read(table).await?;
    check_files(table, &state)?;
    let plan = plan(&state, &table.metadata, settings);
    Ok((state, plan))
}
