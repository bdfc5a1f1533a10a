//! Decides, from a table's metadata alone, what an action would do. Reads manifests, never data.

mod applying;
mod arrangement;
mod assess;
mod deletes;
mod equality;
mod error;
mod estimate;
mod expire;
mod filter;
#[cfg(test)]
mod fixture;
mod forecast;
mod health;
mod live;
mod manifests;
mod partition;
mod position_deletes;
mod preview;
mod rewrite;
mod rewrite_all;
mod sizing;
mod slim;
mod state;
mod supported;
mod tables;
mod types;
mod vectors;

pub use applying::{DeleteList, DeleteReach, Deletes, SharedDeletes};
pub use arrangement::{Arrangement, SortTerm};
pub use assess::{Assessment, Intent};
pub use deletes::DeleteIndex;
pub use error::PlanError;
pub use estimate::NativeWork;
pub use expire::{ExpiryError, ExpiryPlan, deletes_forbidden, plan_expiry};
pub use forecast::{Forecast, Numbers, told};
pub use live::{plan_position_deletes, plan_rewrite, plan_vectors};
pub use manifests::{
    ManifestRun, ManifestShelf, PartitionKey, check_manifest_settings, partition_schema, plan_manifests,
    small_bytes,
};
pub use partition::promoted_partition;
pub use position_deletes::{DeleteFileGroup, DeletePlan, LiveTargets};
pub use rewrite::{ACTION_SUMMARY_KEY, TARGET_SUMMARY_KEY, plan};
pub use rewrite_all::{JOB_SUMMARY_KEY, snapshots_of};
pub use state::{NO_SNAPSHOT, TableState, read_manifest_list};
pub use supported::{check_files, check_metadata, check_position_delete_settings, check_settings};
pub use tables::CatalogTables;
pub use types::{FileGroup, LiveFile, RewritePlan, ScanFile, SkipReason};
pub use vectors::{Conversion, VectorGroup};
