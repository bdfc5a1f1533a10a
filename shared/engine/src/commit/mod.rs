//! Commits changes: propose on top of the newest metadata, compare-and-set, on conflict propose anew.
//!
//! Rules kept here (protocol.md, engine.md): the fence is confirmed right before every compare-and-set; an
//! answer that leaves open whether the commit was applied is settled by reading the table back, never by
//! trying again; files of an attempt that certainly was not applied are removed, all others stay.
//!
//! A conflict is no such certainty: a proxy that sends a request twice gets one for what it has just done. So the
//! table that is loaded for the next try says first what became of the attempts before.

pub(crate) mod change;
mod conflicts;
mod course;
mod dangling;
mod done;
mod manifests;
mod mark;
mod merge;
mod replace;
mod retry;
mod scope;
mod snapshot;
mod summary;
mod survey;
mod vectors;
mod workshop;

use std::future::Future;
use std::time::Duration;

use snowpack_catalog::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};
use snowpack_domain::TableId;
use snowpack_service::ports::Supervisor;
use snowpack_telemetry::events::{COMMIT_CONFLICT, TABLE_COMMITTED};

pub(crate) use conflicts::Conflict;
use course::Course;
pub(crate) use done::{Done, puffin_file};
pub(crate) use manifests::ManifestCache;
pub(crate) use mark::Mark;
use mark::Sent;
pub(crate) use replace::{Replace, Replacement, RewriteBase, Rewritten};
use retry::{Retries, RetryPolicy};
pub(crate) use summary::{ManifestCounts, SummaryBuilder};
pub(crate) use vectors::Placed;
pub(crate) use workshop::{Workshop, WrittenList, binding_schema};

use crate::delete::discard_uncommitted;
use crate::error::EngineError;
use crate::points;

/// Reads after an unclear answer (`commit.status-check.num-retries` of Iceberg).
const STATUS_CHECKS: u32 = 3;
/// Wait before the first of them, doubled each time (`commit.status-check.min-wait-ms`).
const STATUS_WAIT: Duration = Duration::from_secs(1);

/// Something to commit, proposed anew on every metadata it meets.
pub(crate) trait Proposal: Sync {
    /// What the caller learns about the proposal that was applied.
    type Outcome: Send;

    /// Builds the change on top of `base`. Every file path goes to `written` before the file is created.
    fn propose(
        &self,
        base: &LoadedTable,
        written: &mut Vec<String>,
    ) -> impl Future<Output = Result<Proposed<Self::Outcome>, EngineError>> + Send;
}

/// A proposal's answer to one state of the table.
#[derive(Debug)]
pub(crate) enum Proposed<T> {
    /// There is nothing to commit on top of it.
    Nothing(T),
    /// Commit this.
    Change {
        /// The change.
        change: TableChange,
        /// How to tell from metadata that it was applied.
        mark: Mark,
        /// What it does.
        outcome: T,
    },
}

/// How a commit ended.
#[derive(Debug)]
pub(crate) struct Committed<T> {
    /// What was proposed last, and applied unless there was nothing to apply.
    pub(crate) outcome: T,
    /// The table the change was applied to; absent when there was nothing to commit.
    pub(crate) base: Option<LoadedTable>,
    /// Compare-and-sets lost to other writers.
    pub(crate) conflicts: u64,
}

/// Commits to one table.
pub(crate) struct Committer<'a, C, S> {
    /// The table's catalog.
    pub(crate) catalog: &'a C,
    /// The table.
    pub(crate) table: &'a TableId,
    /// Asked before every compare-and-set.
    pub(crate) supervisor: &'a S,
}

/// How one attempt ended.
enum Attempt<T> {
    Nothing(T),
    /// The table as committed comes along.
    Applied(Sent<T>, LoadedTable),
    /// Another writer came first, says the catalog.
    Conflict(Sent<T>, String),
    /// The catalog did not say.
    Unclear(Sent<T>, String),
    /// Certainly not applied; trying again later may work.
    Unavailable(CatalogError),
}

impl<C: Catalog, S: Supervisor> Committer<'_, C, S> {
    /// Commits `proposal`, trying again as `commit.retry.*` says, and waiting for a catalog that is not available.
    ///
    /// # Errors
    /// Those of the proposal and the catalog, the supervisor's stop, [`EngineError::Contended`] when races were lost
    /// until retries ran out, [`EngineError::Unknown`] when it cannot be told whether the commit was applied.
    pub(crate) async fn commit<P: Proposal>(
        &self,
        proposal: &P,
    ) -> Result<Committed<P::Outcome>, EngineError> {
        let retries = Retries::new(self.supervisor, RetryPolicy::of(&Default::default()));
        let mut course = Course::new(retries);
        let ended = self.try_until_done(proposal, &mut course).await;
        match ended {
            // Whoever asked must not remove what the table may come to have.
            Err(error) if !course.doubts.is_empty() => Err(self.unknown(error.to_string())),
            ended => ended,
        }
    }

    async fn try_until_done<P: Proposal>(
        &self,
        proposal: &P,
        course: &mut Course<'_, S, P::Outcome>,
    ) -> Result<Committed<P::Outcome>, EngineError> {
        loop {
            let base = self.load(&mut course.retries).await?;
            if let Some(sent) = course.judge(&base).await {
                return Ok(self.applied(sent, course.conflicts));
            }
            course.retries.follow(RetryPolicy::of(base.metadata.properties()));
            let lost = match self.attempt(&base, proposal).await? {
                Attempt::Nothing(outcome) => {
                    return Ok(Committed {
                        outcome,
                        base: None,
                        conflicts: course.conflicts,
                    });
                }
                Attempt::Applied(sent, table) => {
                    // No attempt before can be applied any more.
                    course.judge(&table).await;
                    return Ok(self.applied(sent, course.conflicts));
                }
                Attempt::Unavailable(error) => {
                    self.wait_out(&mut course.retries, error).await?;
                    continue;
                }
                Attempt::Conflict(sent, reason) => {
                    course.doubts.push(sent);
                    self.lost(course, reason).await?
                }
                Attempt::Unclear(sent, cause) => {
                    course.doubts.push(sent);
                    match self.settle(course, cause).await? {
                        Some(applied) => Some(applied),
                        None => {
                            let reason = "an unclear commit turned out not to be applied";
                            self.lost(course, reason.to_owned()).await?
                        }
                    }
                }
            };
            if let Some(sent) = lost {
                return Ok(self.applied(sent, course.conflicts));
            }
        }
    }

    /// Counts a lost race and waits for the next try. `Some` when it turns out that nothing was lost.
    ///
    /// # Errors
    /// [`EngineError::Contended`] when there is no other try; the supervisor's stop.
    async fn lost<T>(
        &self,
        course: &mut Course<'_, S, T>,
        reason: String,
    ) -> Result<Option<Sent<T>>, EngineError> {
        course.conflicts += 1;
        tracing::info!(event = COMMIT_CONFLICT.name, table = %self.table, cause = reason);
        let again = course.retries.after_conflict().await;
        if matches!(again, Ok(true)) {
            return Ok(None);
        }
        // No other try loads the table.
        if let Some(sent) = self.settle(course, reason.clone()).await? {
            return Ok(Some(sent));
        }
        again?;
        Err(EngineError::Contended {
            table: self.table.to_string(),
            attempts: course.retries.used() + 1,
            last: reason,
        })
    }

    fn applied<T>(&self, sent: Sent<T>, conflicts: u64) -> Committed<T> {
        tracing::info!(event = TABLE_COMMITTED.name, table = %self.table);
        self.supervisor.reached(points::AFTER_COMMIT);
        Committed {
            outcome: sent.outcome,
            base: Some(sent.base),
            conflicts,
        }
    }

    fn unknown(&self, cause: String) -> EngineError {
        EngineError::Unknown {
            table: self.table.to_string(),
            cause,
        }
    }

    async fn load(&self, retries: &mut Retries<'_, S>) -> Result<LoadedTable, EngineError> {
        loop {
            match self.catalog.load(self.table).await {
                Err(error) if error.is_transient() => self.wait_out(retries, error).await?,
                loaded => return Ok(loaded?),
            }
        }
    }

    /// Waits before a catalog that is not available is asked again.
    ///
    /// # Errors
    /// `error` once that is not worth it; the supervisor's stop.
    async fn wait_out(&self, retries: &mut Retries<'_, S>, error: CatalogError) -> Result<(), EngineError> {
        tracing::warn!(table = %self.table, %error, "waiting for the catalog");
        match retries.after_outage().await? {
            true => Ok(()),
            false => Err(error.into()),
        }
    }

    async fn attempt<P: Proposal>(
        &self,
        base: &LoadedTable,
        proposal: &P,
    ) -> Result<Attempt<P::Outcome>, EngineError> {
        let mut written = Vec::new();
        let attempted = self.try_once(base, proposal, &mut written).await;
        // What may have been applied has taken its files along.
        discard_uncommitted(&base.io, &written).await;
        attempted
    }

    async fn try_once<P: Proposal>(
        &self,
        base: &LoadedTable,
        proposal: &P,
        written: &mut Vec<String>,
    ) -> Result<Attempt<P::Outcome>, EngineError> {
        let (change, mark, outcome) = match proposal.propose(base, written).await? {
            Proposed::Nothing(outcome) => return Ok(Attempt::Nothing(outcome)),
            Proposed::Change {
                change,
                mark,
                outcome,
            } => (change, mark, outcome),
        };
        self.supervisor.reached(points::BEFORE_COMMIT);
        self.supervisor.checkpoint().await?;
        let requirements = change.requirements.clone();
        let answer = self.catalog.commit(base, change).await;
        let sent = Sent {
            base: base.clone(),
            requirements,
            mark,
            written: match answer {
                Err(CommitError::Failed(_)) => Vec::new(),
                _ => std::mem::take(written),
            },
            outcome,
        };
        match answer {
            Ok(table) => Ok(Attempt::Applied(sent, table)),
            Err(CommitError::Conflict(reason)) => Ok(Attempt::Conflict(sent, reason)),
            Err(CommitError::Unknown(cause)) => Ok(Attempt::Unclear(sent, cause)),
            Err(CommitError::Failed(error)) if error.is_transient() => Ok(Attempt::Unavailable(error)),
            Err(CommitError::Failed(error)) => Err(error.into()),
        }
    }

    /// Reads the table back until it tells what became of the attempts in doubt.
    ///
    /// # Errors
    /// [`EngineError::Unknown`] when it does not tell, or there is no time.
    async fn settle<T>(
        &self,
        course: &mut Course<'_, S, T>,
        cause: String,
    ) -> Result<Option<Sent<T>>, EngineError> {
        if course.doubts.is_empty() {
            return Ok(None);
        }
        let mut wait = STATUS_WAIT;
        for check in 0..=STATUS_CHECKS {
            match self.catalog.load(self.table).await {
                Ok(table) => {
                    let applied = course.judge(&table).await;
                    if applied.is_some() || course.doubts.is_empty() {
                        return Ok(applied);
                    }
                }
                Err(error) => tracing::warn!(table = %self.table, %error, "cannot read back after a commit"),
            }
            // However it ends, what may have been applied stays.
            if check == STATUS_CHECKS || !matches!(course.retries.pause(wait).await, Ok(true)) {
                break;
            }
            wait *= 2;
        }
        Err(self.unknown(cause))
    }
}

#[cfg(test)]
pub(crate) mod tests;
