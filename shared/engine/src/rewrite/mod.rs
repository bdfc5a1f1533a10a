//! rewrite_data_files: plans, rewrites file groups side by side, commits them in batches.
//!
//! Either every input is sound and groups are committed as they finish, or the action fails before its first
//! commit. A group lost to another writer is dropped; any other failure ends the action. Files written and
//! not committed are removed, whatever ends the action short of the process dying.

mod group;
mod inputs;
mod output;
mod pending;
mod rows;
mod tally;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use snowpack_catalog::{Catalog, LoadedTable};
use snowpack_domain::{Action, Compaction, OptionError, Progress, Timestamp};
use snowpack_plan::{Arrangement, FileGroup, RewritePlan, TARGET_SUMMARY_KEY, plan_rewrite};
use snowpack_service::ports::{ActionStop, Supervisor};
use tokio::task::JoinSet;

use group::{RewriteContext, RewrittenGroup, rewrite_group};
use inputs::check_inputs;
use pending::Pending;
use tally::Tally;

use crate::arrange::SCRATCH_BYTES;
use crate::commit::{Committer, ManifestCache, Replacement, RewriteBase};
use crate::error::EngineError;
use crate::points;
use crate::report::Report;

/// Groups rewritten at once unless the job says: one uses all cores by itself, and a second one keeps them
/// busy while the first opens and closes files. More would only take more memory.
const GROUPS_AT_ONCE: usize = 2;
/// Bytes one core surely rewrites in a second, for cutting groups to the time that is left.
const BYTES_PER_SECOND: f64 = 8.0 * 1024.0 * 1024.0;
/// Share of the time left that one group may take: several must finish in every slice of a job.
const SHARE_OF_TIME: f64 = 0.25;

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
    /// What the commits' summaries say besides their counters.
    pub(crate) summary: BTreeMap<String, String>,
    /// The time now.
    pub(crate) now: N,
}

/// A group that came to an end.
type Ended = (FileGroup, Result<RewrittenGroup, EngineError>);

impl<C: Catalog, S: Supervisor, N: Fn() -> Timestamp + Send + Sync> Rewrite<'_, C, S, N> {
    /// Runs the action on the table as just loaded.
    ///
    /// # Errors
    /// Those of planning, of the first file group that fails, and of commits; the supervisor's stop.
    pub(crate) async fn run(mut self, table: &LoadedTable) -> Result<Report, EngineError> {
        let arrangement = self.arrangement(table)?;
        self.cut_groups(&arrangement);
        let (_, plan) = plan_rewrite(table, &self.settings).await?;
        let tally = Tally::of(&plan);
        if plan.groups.is_empty() {
            return Ok(tally.nothing_to_do(plan.files_considered));
        }
        let batch = self.batch_size(plan.groups.len());
        if batch < plan.groups.len() {
            check_inputs(&table.io, &plan.groups, self.supervisor.as_ref()).await?;
        }
        let rewrite = self.base(table, &plan)?;
        let context = Arc::new(RewriteContext::new(table, plan.output_spec_id)?.arranged(arrangement));
        let mut pending = Pending::new(self.committer, &rewrite, &table.io, &self.now, tally);
        pending.max_failed_commits = self.max_failed_commits();
        let ended = self.rewrite_all(&context, plan.groups, batch, &mut pending).await;
        pending.discard_all().await;
        ended?;
        Ok(pending.tally.report())
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
        if let Some(seconds) = self.supervisor.seconds_left() {
            let bytes = (seconds.max(1.0) * SHARE_OF_TIME * BYTES_PER_SECOND) as u64;
            self.settings.max_group_bytes = self.settings.max_group_bytes.min(bytes);
        }
    }

    /// Groups per commit: `max_commits` at most with partial progress, else all in one.
    fn batch_size(&self, groups: usize) -> usize {
        if self.settings.partial_progress {
            groups.div_ceil(self.settings.max_commits)
        } else {
            groups
        }
    }

    fn max_failed_commits(&self) -> u64 {
        if !self.settings.partial_progress {
            return 0;
        }
        self.settings
            .max_failed_commits
            .unwrap_or(self.settings.max_commits) as u64
    }

    fn concurrency(&self) -> usize {
        self.settings
            .max_concurrent_groups
            .unwrap_or(GROUPS_AT_ONCE)
            .max(1)
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
            keep_sequence_number: self.settings.use_starting_sequence_number,
            output_spec: Arc::clone(spec.expect("the plan's output spec is one of the table's")),
            remove_dangling: self.settings.remove_dangling_deletes,
            summary,
            cache: ManifestCache::default(),
        })
    }

    /// Rewrites the groups, a few at a time, and commits each batch as it fills.
    async fn rewrite_all(
        &self,
        context: &Arc<RewriteContext>,
        groups: Vec<FileGroup>,
        batch: usize,
        pending: &mut Pending<'_, C, S, &N>,
    ) -> Result<(), EngineError> {
        let total = groups.len() as u64;
        let mut waiting = VecDeque::from(groups);
        let mut running = JoinSet::new();
        let mut out_of_time = false;
        let mut done = 0;
        loop {
            while !out_of_time && running.len() < self.concurrency() && !waiting.is_empty() {
                match self.supervisor.poll() {
                    Ok(()) => self.start(context, &mut waiting, &mut running, pending),
                    Err(ActionStop::OutOfTime) => out_of_time = true,
                    Err(stop) => return abandon(running, stop.into()).await,
                }
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            let finished = match ended? {
                (group, Ok(rewritten)) => {
                    self.supervisor.reached(points::FILES_WRITTEN);
                    pending.finish(replacement(group, rewritten))
                }
                (_, Err(EngineError::Stopped(ActionStop::OutOfTime))) => {
                    out_of_time = true;
                    continue;
                }
                (_, Err(error)) => Err(error),
            };
            let committed = match finished {
                Ok(count) if count >= batch => pending.commit().await,
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = committed {
                return abandon(running, error).await;
            }
            done += 1;
            self.report_progress(done, total);
        }
        self.end(out_of_time, pending).await
    }

    fn start(
        &self,
        context: &Arc<RewriteContext>,
        waiting: &mut VecDeque<FileGroup>,
        running: &mut JoinSet<Ended>,
        pending: &mut Pending<'_, C, S, &N>,
    ) {
        let Some(group) = waiting.pop_front() else { return };
        let written = pending.start(group.index);
        let (context, supervisor) = (Arc::clone(context), Arc::clone(self.supervisor));
        running.spawn(async move {
            let rewritten = rewrite_group(&context, &group, &written, supervisor.as_ref()).await;
            (group, rewritten)
        });
    }

    /// Commits what is left to commit once no group runs any more.
    async fn end(&self, out_of_time: bool, pending: &mut Pending<'_, C, S, &N>) -> Result<(), EngineError> {
        if out_of_time && !self.settings.partial_progress {
            return Err(self
                .too_slow()
                .unwrap_or(EngineError::Stopped(ActionStop::OutOfTime)));
        }
        pending.commit().await?;
        if !out_of_time {
            return Ok(());
        }
        if pending.tally.commits == 0
            && let Some(error) = self.too_slow()
        {
            return Err(error);
        }
        Err(EngineError::Stopped(ActionStop::OutOfTime))
    }

    /// The error of a slice that ran to its deadline for nothing: another one would do the same for ever.
    /// `None` when it was not the deadline that stopped it, but a shutdown.
    fn too_slow(&self) -> Option<EngineError> {
        let deadline_came = self
            .supervisor
            .seconds_left()
            .is_some_and(|seconds| seconds <= 0.0);
        deadline_came.then(|| EngineError::TooSlow(self.committer.table.to_string()))
    }

    fn report_progress(&self, done: u64, total: u64) {
        self.supervisor.progress(Progress {
            action: Action::RewriteDataFiles,
            done,
            total,
            unit: "file_groups".to_owned(),
        });
    }
}

/// Ends all running groups before their files are removed.
async fn abandon(mut running: JoinSet<Ended>, error: EngineError) -> Result<(), EngineError> {
    running.shutdown().await;
    Err(error)
}

fn replacement(group: FileGroup, rewritten: RewrittenGroup) -> Replacement {
    Replacement {
        group: group.index,
        replaced: group.files.into_iter().map(|scan| scan.data).collect(),
        added: rewritten.files,
        rows_deleted: rewritten.rows_deleted,
    }
}
