//! rewrite_position_delete_files: plans, merges groups of position-delete files side by side, commits them.
//!
//! Deletes that apply to no live data file are dropped, all others kept as they are spelled, in files of the
//! same partition. What the table holds never changes by it: see [`Rewritten::PositionDeletes`] for why the new
//! files' sequence number is right. In format version 3 deletion vectors are written instead (`vectors`).

mod convert;
mod cursor;
mod group;
mod input;
mod merge;
mod output;
mod puffin;
mod vectors;

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::FormatVersion;
use snowpack_catalog::{Catalog, LoadedTable};
use snowpack_domain::{Action, JobId, PositionDeleteCompaction, Timestamp};
use snowpack_plan::{DeleteFileGroup, Forecast as _, TARGET_SUMMARY_KEY, plan_position_deletes};
use snowpack_service::ports::Supervisor;

use group::{DeleteContext, rewrite_group};

use crate::commit::{Committer, Done, ManifestCache, RewriteBase, Rewritten};
use crate::error::EngineError;
use crate::report::Report;
use crate::rewrite::{Drive, Pace, Pending, Tally, bytes_in_time, check_inputs};
use crate::write::WrittenFiles;

/// What a rewrite of position-delete files needs besides its table.
pub(crate) struct PositionDeleteRewrite<'a, C, S, N> {
    /// Commits to the table.
    pub(crate) committer: &'a Committer<'a, C, S>,
    /// The same supervisor as the committer's, to share with the groups' tasks.
    pub(crate) supervisor: &'a Arc<S>,
    /// What to rewrite and how.
    pub(crate) settings: PositionDeleteCompaction,
    /// The job this run is a part of, if it is one.
    pub(crate) job: Option<&'a JobId>,
    /// What the commits' summaries say besides their counters.
    pub(crate) summary: BTreeMap<String, String>,
    /// The time now.
    pub(crate) now: N,
}

impl<C: Catalog, S: Supervisor, N: Fn() -> Timestamp + Send + Sync> PositionDeleteRewrite<'_, C, S, N> {
    /// Runs the action on the table as just loaded.
    ///
    /// # Errors
    /// Those of planning, of the first file group that fails, and of commits; the supervisor's stop.
    pub(crate) async fn run(mut self, table: &LoadedTable) -> Result<Report, EngineError> {
        if let Some(bytes) = bytes_in_time(self.supervisor.as_ref()) {
            self.settings.max_group_bytes = self.settings.max_group_bytes.min(bytes);
        }
        if table.metadata.format_version() >= FormatVersion::V3 {
            return self.rewrite_vectors(table).await;
        }
        let plan = plan_position_deletes(table, &self.settings, self.job).await?;
        let before = Done::before(&table.metadata, Action::RewritePositionDeleteFiles, self.job);
        let tally = Tally::new(&plan.skipped, plan.forecast(), before);
        if plan.groups.is_empty() {
            let done = tally.has_commits().then(|| tally.packed());
            return Ok(
                done.unwrap_or_else(|| tally.nothing_to_do(plan.files_considered, "position delete file"))
            );
        }
        let drive = self.drive();
        if drive.batch_size(plan.groups.len()) < plan.groups.len() {
            let files = plan.groups.iter().flat_map(|group| &group.files);
            check_inputs(&table.io, files, self.supervisor.as_ref()).await?;
        }
        let start = (plan.snapshot_id, plan.sequence_number);
        let rewrite = self.base(table, start, Rewritten::PositionDeletes);
        let context = Arc::new(DeleteContext::new(table, &self.settings)?);
        let mut pending = Pending::new(self.committer, &rewrite, &table.io, &self.now, tally);
        let work = |group: DeleteFileGroup, written: Arc<WrittenFiles>| {
            let (context, supervisor) = (Arc::clone(&context), Arc::clone(self.supervisor));
            async move { rewrite_group(&context, group, &written, supervisor.as_ref()).await }
        };
        drive.run(plan.groups, work, &mut pending).await?;
        Ok(pending.tally.packed())
    }

    fn drive(&self) -> Drive<'_, C, S> {
        Drive {
            action: Action::RewritePositionDeleteFiles,
            committer: self.committer,
            supervisor: self.supervisor,
            pace: Pace {
                partial_progress: self.settings.partial_progress,
                max_commits: self.settings.max_commits,
                max_failed_commits: None,
                max_concurrent_groups: self.settings.max_concurrent_groups,
            },
        }
    }

    /// `start` is the snapshot planned from and its sequence number.
    fn base(&self, table: &LoadedTable, start: (i64, i64), files: Rewritten) -> RewriteBase {
        let mut summary = self.summary.clone();
        summary.insert(
            TARGET_SUMMARY_KEY.to_owned(),
            self.settings.sizes.target_bytes.to_string(),
        );
        RewriteBase {
            uuid: table.metadata.uuid(),
            snapshot_id: start.0,
            sequence_number: start.1,
            files,
            remove_dangling: false,
            verify: self.settings.verify,
            summary,
            cache: ManifestCache::default(),
        }
    }
}

#[cfg(test)]
mod tests;
