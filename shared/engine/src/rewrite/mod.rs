//! rewrite_data_files: plans, rewrites file groups side by side, commits them in batches.
//!
//! Either every input is sound and groups are committed as they finish, or the action fails before its first
//! commit. A group lost to another writer is dropped; any other failure ends the action. Files written and
//! not committed are removed, whatever ends the action short of the process dying.

mod drive;
mod group;
mod inputs;
mod output;
mod pending;
mod rows;
mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;

use snowpack_catalog::{Catalog, LoadedTable};
use snowpack_domain::{Action, Compaction, JobId, OptionError, Timestamp};
use snowpack_plan::{
    Arrangement, FileGroup, Forecast as _, LiveFile, RewritePlan, SharedDeletes, TARGET_SUMMARY_KEY,
    plan_rewrite,
};
use snowpack_service::ports::Supervisor;

pub(crate) use drive::{Drive, Pace, bytes_in_time};
use group::{RewriteContext, RewrittenGroup, rewrite_group};
pub(crate) use inputs::check_inputs;
pub(crate) use pending::Pending;
pub(crate) use tally::Tally;

use crate::arrange::SCRATCH_BYTES;
use crate::commit::{Committer, Done, ManifestCache, Replacement, RewriteBase, Rewritten};
use crate::error::EngineError;
use crate::report::Report;
use crate::write::WrittenFiles;

/// How many times its size in the table a group may take on disk while it is sorted: rows are decoded there.
const EXPANSION: u64 = 8;

/// What a rewrite needs besides its table.
pub(crate) struct Rewrite<'a, C, S, N> {
    /// Commits to the table.
    pub(crate) committer: &'a Committer<'a, C, S>,
    /// The same supervisor as the committer's, to share with the groups' tasks.
    pub(crate) supervisor: &'a Arc<S>,
    /// What to rewrite and how.
    pub(crate) settings: Compaction,
    /// The job this run is a part of, if it is one.
    pub(crate) job: Option<&'a JobId>,
    /// What the commits' summaries say besides their counters.
    pub(crate) summary: BTreeMap<String, String>,
    /// The time now.
    pub(crate) now: N,
}

impl<C: Catalog, S: Supervisor, N: Fn() -> Timestamp + Send + Sync> Rewrite<'_, C, S, N> {
    /// Runs the action on the table as just loaded.
    ///
    /// # Errors
    /// Those of planning, of the first file group that fails, and of commits; the supervisor's stop.
    pub(crate) async fn run(mut self, table: &LoadedTable) -> Result<Report, EngineError> {
        let arrangement = self.arrangement(table)?;
        self.cut_groups(&arrangement);
        let (_, plan) = plan_rewrite(table, &self.settings, self.job).await?;
        let before = Done::before(&table.metadata, Action::RewriteDataFiles, self.job);
        let tally = Tally::new(&plan.skipped, plan.forecast(), before);
        if plan.groups.is_empty() {
            let done = tally.has_commits().then(|| tally.compacted());
            return Ok(done.unwrap_or_else(|| tally.nothing_to_do(plan.files_considered, "data file")));
        }
        let drive = self.drive();
        if drive.batch_size(plan.groups.len()) < plan.groups.len() {
            check_inputs(
                &table.io,
                group_files(&plan.groups).iter(),
                self.supervisor.as_ref(),
            )
            .await?;
        }
        let rewrite = self.base(table, &plan)?;
        let context = RewriteContext::new(table, plan.output_spec_id)?;
        let context = context.arranged(arrangement).verified(self.settings.verify);
        let context = Arc::new(context.sharing_deletes(&plan.groups));
        let mut pending = Pending::new(self.committer, &rewrite, &table.io, &self.now, tally);
        let work = |group: FileGroup, written: Arc<WrittenFiles>| {
            let (context, supervisor) = (Arc::clone(&context), Arc::clone(self.supervisor));
            async move {
                let rewritten = rewrite_group(&context, &group, &written, supervisor.as_ref()).await?;
                Ok(replacement(group, rewritten))
            }
        };
        drive.run(plan.groups, work, &mut pending).await?;
        Ok(pending.tally.compacted())
    }

    fn arrangement(&self, table: &LoadedTable) -> Result<Arrangement, OptionError> {
        Arrangement::resolve(&self.settings, &table.metadata).map_err(|(option, reason)| OptionError {
            option: format!("{}.{option}", Action::RewriteDataFiles),
            reason,
        })
    }

    /// A group must fit the time left, or no slice of the job would ever finish one, and the scratch space.
    fn cut_groups(&mut self, arrangement: &Arrangement) {
        if *arrangement != Arrangement::AsRead {
            let bytes = SCRATCH_BYTES / EXPANSION;
            self.settings.max_group_bytes = self.settings.max_group_bytes.min(bytes);
        }
        if let Some(bytes) = bytes_in_time(self.supervisor.as_ref()) {
            self.settings.max_group_bytes = self.settings.max_group_bytes.min(bytes);
        }
    }

    fn drive(&self) -> Drive<'_, C, S> {
        Drive {
            action: Action::RewriteDataFiles,
            committer: self.committer,
            supervisor: self.supervisor,
            pace: Pace {
                partial_progress: self.settings.partial_progress,
                max_commits: self.settings.max_commits,
                max_failed_commits: self.settings.max_failed_commits,
                max_concurrent_groups: self.settings.max_concurrent_groups,
            },
        }
    }

    fn base(&self, table: &LoadedTable, plan: &RewritePlan) -> Result<RewriteBase, EngineError> {
        let spec = table.metadata.partition_spec_by_id(plan.output_spec_id);
        let mut summary = self.summary.clone();
        summary.insert(
            TARGET_SUMMARY_KEY.to_owned(),
            self.settings.target_file_bytes.to_string(),
        );
        Ok(RewriteBase {
            uuid: table.metadata.uuid(),
            snapshot_id: plan.snapshot_id,
            sequence_number: plan.starting_sequence_number,
            files: Rewritten::Data {
                output_spec: Arc::clone(spec.expect("the plan's output spec is one of the table's")),
                keep_sequence_number: self.settings.use_starting_sequence_number,
            },
            remove_dangling: self.settings.remove_dangling_deletes,
            verify: self.settings.verify,
            summary,
            cache: ManifestCache::default(),
        })
    }
}

/// Every file that a plan reads, deletes once for all the data files they apply to.
fn group_files(groups: &[FileGroup]) -> Vec<Arc<LiveFile>> {
    let scans = groups.iter().flat_map(|group| &group.files);
    let deletes = scans
        .clone()
        .flat_map(|scan| [&scan.position_deletes, &scan.equality_deletes]);
    let deletes = SharedDeletes::of(deletes);
    let deletes = deletes.iter().flat_map(|list| list.files().map(|(_, file)| file));
    scans.map(|scan| &scan.data).chain(deletes).cloned().collect()
}

fn replacement(group: FileGroup, rewritten: RewrittenGroup) -> Replacement {
    Replacement {
        group: group.index,
        replaced: group.files.into_iter().map(|scan| scan.data).collect(),
        added: rewritten.files,
        rows_deleted: rewritten.rows_deleted,
        placed: Vec::new(),
        dangling: 0,
        content: rewritten.content,
    }
}
