//! Rewrites the file groups of a plan, a few side by side, and commits each batch as it fills. What a group is
//! made of, and how it is rewritten, is the action's business.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use snowpack_catalog::Catalog;
use snowpack_domain::{Action, Progress, Timestamp};
use snowpack_service::ports::{ActionStop, Supervisor};
use tokio::task::JoinSet;

use super::pending::Pending;
use crate::commit::{Committer, Replacement};
use crate::error::EngineError;
use crate::points;
use crate::write::WrittenFiles;

/// Groups rewritten at once unless the job says: one uses all cores by itself, and a second one keeps them
/// busy while the first opens and closes files. More would only take more memory.
const GROUPS_AT_ONCE: usize = 2;
/// Bytes one core surely rewrites in a second, for cutting groups to the time that is left.
const BYTES_PER_SECOND: f64 = 8.0 * 1024.0 * 1024.0;
/// Share of the time left that one group may take: several must finish in every slice of a job.
const SHARE_OF_TIME: f64 = 0.25;

/// Bytes a group may have to fit the time left, or no slice of the job would ever finish one. `None`: any.
pub(crate) fn bytes_in_time<S: Supervisor>(supervisor: &S) -> Option<u64> {
    let seconds = supervisor.seconds_left()?;
    Some((seconds.max(1.0) * SHARE_OF_TIME * BYTES_PER_SECOND) as u64)
}

/// How groups are run and committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Commit groups as they finish.
    pub(crate) partial_progress: bool,
    /// Most commits with partial progress.
    pub(crate) max_commits: usize,
    /// Failed commits tolerated with partial progress; absent: as many as `max_commits`.
    pub(crate) max_failed_commits: Option<usize>,
    /// Groups rewritten at once; absent: [`GROUPS_AT_ONCE`].
    pub(crate) max_concurrent_groups: Option<usize>,
}

/// Runs the groups of one action.
pub(crate) struct Drive<'a, C, S> {
    /// The action.
    pub(crate) action: Action,
    /// Commits to the table.
    pub(crate) committer: &'a Committer<'a, C, S>,
    /// The same supervisor as the committer's, to share with the groups' tasks.
    pub(crate) supervisor: &'a Arc<S>,
    /// How.
    pub(crate) pace: Pace,
}

type Running = JoinSet<Result<Replacement, EngineError>>;

impl<C: Catalog, S: Supervisor> Drive<'_, C, S> {
    /// Groups per commit: `max_commits` at most with partial progress, else all in one.
    pub(crate) fn batch_size(&self, groups: usize) -> usize {
        if self.pace.partial_progress {
            groups.div_ceil(self.pace.max_commits)
        } else {
            groups
        }
    }

    /// Rewrites all groups, in the order given, and commits them. `work` rewrites one, whose number is its
    /// place in `groups`, and notes what it writes. Afterwards nothing is left of what was not committed.
    ///
    /// # Errors
    /// Those of the first group that fails, and of commits; the supervisor's stop.
    pub(crate) async fn run<G, F, N>(
        &self,
        groups: Vec<G>,
        work: impl Fn(G, Arc<WrittenFiles>) -> F,
        pending: &mut Pending<'_, C, S, N>,
    ) -> Result<(), EngineError>
    where
        F: Future<Output = Result<Replacement, EngineError>> + Send + 'static,
        N: Fn() -> Timestamp + Send + Sync,
    {
        pending.max_failed_commits = self.max_failed_commits();
        let ended = self.rewrite_all(groups, work, pending).await;
        pending.discard_all().await;
        ended
    }

    fn max_failed_commits(&self) -> u64 {
        if !self.pace.partial_progress {
            return 0;
        }
        self.pace.max_failed_commits.unwrap_or(self.pace.max_commits) as u64
    }

    fn concurrency(&self) -> usize {
        self.pace.max_concurrent_groups.unwrap_or(GROUPS_AT_ONCE).max(1)
    }

    async fn rewrite_all<G, F, N>(
        &self,
        groups: Vec<G>,
        work: impl Fn(G, Arc<WrittenFiles>) -> F,
        pending: &mut Pending<'_, C, S, N>,
    ) -> Result<(), EngineError>
    where
        F: Future<Output = Result<Replacement, EngineError>> + Send + 'static,
        N: Fn() -> Timestamp + Send + Sync,
    {
        let (total, batch) = (groups.len() as u64, self.batch_size(groups.len()));
        let mut waiting: VecDeque<_> = groups.into_iter().enumerate().collect();
        let mut running = Running::new();
        let mut out_of_time = false;
        let mut done = 0;
        loop {
            while !out_of_time && running.len() < self.concurrency() && !waiting.is_empty() {
                match self.supervisor.poll() {
                    Ok(()) => {
                        if let Some((index, group)) = waiting.pop_front() {
                            running.spawn(work(group, pending.start(index)));
                        }
                    }
                    Err(ActionStop::OutOfTime) => out_of_time = true,
                    Err(stop) => return abandon(running, stop.into()).await,
                }
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            let finished = match ended? {
                Ok(replacement) => {
                    self.supervisor.reached(points::FILES_WRITTEN);
                    pending.finish(replacement)
                }
                Err(EngineError::Stopped(ActionStop::OutOfTime)) => {
                    out_of_time = true;
                    continue;
                }
                Err(error) => Err(error),
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

    /// Commits what is left to commit once no group runs any more.
    async fn end<N: Fn() -> Timestamp + Send + Sync>(
        &self,
        out_of_time: bool,
        pending: &mut Pending<'_, C, S, N>,
    ) -> Result<(), EngineError> {
        if out_of_time && !self.pace.partial_progress {
            return Err(self
                .too_slow()
                .unwrap_or(EngineError::Stopped(ActionStop::OutOfTime)));
        }
        pending.commit().await?;
        if !out_of_time {
            return Ok(());
        }
        if pending.tally.done.commits == 0
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
        deadline_came.then(|| EngineError::TooSlow {
            table: self.committer.table.to_string(),
            action: self.action,
        })
    }

    fn report_progress(&self, done: u64, total: u64) {
        self.supervisor.progress(Progress {
            action: self.action,
            done,
            total,
            unit: "file_groups".to_owned(),
        });
    }
}

/// Ends all running groups before their files are removed.
async fn abandon(mut running: Running, error: EngineError) -> Result<(), EngineError> {
    running.shutdown().await;
    Err(error)
}
