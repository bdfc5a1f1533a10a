//! Commits changes: propose on top of the newest metadata, compare-and-set, on conflict propose anew.
//!
//! Rules kept here (protocol.md, engine.md): the fence is confirmed right before every compare-and-set; an
//! answer that leaves open whether the commit was applied is settled by reading the table back, never by
//! trying again; files of an attempt that certainly was not applied are removed, all others stay.

pub(crate) mod change;
mod conflicts;
mod dangling;
mod done;
mod manifests;
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

use iceberg::TableRequirement;
use snowpack_catalog::{Catalog, CommitError, LoadedTable, TableChange};
use snowpack_domain::TableId;
use snowpack_service::ports::Supervisor;
use snowpack_telemetry::events::{COMMIT_CONFLICT, TABLE_COMMITTED};

pub(crate) use conflicts::Conflict;
pub(crate) use done::{Done, puffin_file};
pub(crate) use manifests::ManifestCache;
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
    fn is_on(&self, table: &LoadedTable) -> bool {
        let metadata = &table.metadata;
        match self {
            Self::SnapshotAdded(id) => metadata.snapshot_by_id(*id).is_some(),
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
    Applied(T),
    /// Certainly not applied; trying again may work.
    Lost {
        reason: String,
        conflict: bool,
    },
}

impl<C: Catalog, S: Supervisor> Committer<'_, C, S> {
    /// Commits `proposal`, trying again as `commit.retry.*` says.
    ///
    /// # Errors
    /// Those of the proposal, the supervisor's stop, [`EngineError::Contended`] when retries ran out,
    /// [`EngineError::Unknown`] when it cannot be told whether the commit was applied.
    pub(crate) async fn commit<P: Proposal>(
        &self,
        proposal: &P,
    ) -> Result<Committed<P::Outcome>, EngineError> {
        let mut retries = Retries::new(RetryPolicy::of(&Default::default()));
        let mut conflicts = 0;
        loop {
            let base = self.load(&mut retries).await?;
            retries.follow(RetryPolicy::of(base.metadata.properties()));
            let (outcome, base) = match self.attempt(&base, proposal).await? {
                Attempt::Nothing(outcome) => (outcome, None),
                Attempt::Applied(outcome) => {
                    tracing::info!(event = TABLE_COMMITTED.name, table = %self.table);
                    (outcome, Some(base))
                }
                Attempt::Lost { reason, conflict } => {
                    conflicts += u64::from(conflict);
                    if conflict {
                        tracing::info!(event = COMMIT_CONFLICT.name, table = %self.table, cause = reason);
                    } else {
                        tracing::warn!(table = %self.table, reason, "a commit was not applied");
                    }
                    if retries.wait().await {
                        continue;
                    }
                    return Err(EngineError::Contended {
                        table: self.table.to_string(),
                        attempts: retries.used() + 1,
                        last: reason,
                    });
                }
            };
            return Ok(Committed {
                outcome,
                base,
                conflicts,
            });
        }
    }

    async fn load(&self, retries: &mut Retries) -> Result<LoadedTable, EngineError> {
        loop {
            match self.catalog.load(self.table).await {
                Err(error) if error.is_transient() && retries.wait().await => {}
                loaded => return Ok(loaded?),
            }
        }
    }

    async fn attempt<P: Proposal>(
        &self,
        base: &LoadedTable,
        proposal: &P,
    ) -> Result<Attempt<P::Outcome>, EngineError> {
        let mut written = Vec::new();
        let attempted = self.try_once(base, proposal, &mut written).await;
        let certainly_not_applied = match &attempted {
            Ok(Attempt::Applied(_)) | Err(EngineError::Unknown { .. }) => false,
            Ok(Attempt::Nothing(_) | Attempt::Lost { .. }) | Err(_) => true,
        };
        if certainly_not_applied {
            discard_uncommitted(&base.io, &written).await;
        }
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
        let requirements = change.requirements.clone();
        self.supervisor.reached(points::BEFORE_COMMIT);
        self.supervisor.checkpoint().await?;
        let answer = self.catalog.commit(base, change).await;
        let applied = match answer {
            Ok(_) => true,
            Err(CommitError::Conflict(reason)) => {
                return Ok(Attempt::Lost {
                    reason,
                    conflict: true,
                });
            }
            Err(CommitError::Failed(error)) if error.is_transient() => {
                let reason = error.to_string();
                return Ok(Attempt::Lost {
                    reason,
                    conflict: false,
                });
            }
            Err(CommitError::Failed(error)) => return Err(error.into()),
            Err(CommitError::Unknown(cause)) => self.settle(&mark, &requirements, cause).await?,
        };
        if !applied {
            let reason = "an unclear commit turned out not to be applied".to_owned();
            return Ok(Attempt::Lost {
                reason,
                conflict: true,
            });
        }
        self.supervisor.reached(points::AFTER_COMMIT);
        Ok(Attempt::Applied(outcome))
    }

    /// Finds out whether an unclear commit was applied. It was not, and never will be, once the table has
    /// moved on so that a requirement of the commit fails.
    async fn settle(
        &self,
        mark: &Mark,
        requirements: &[TableRequirement],
        cause: String,
    ) -> Result<bool, EngineError> {
        let mut wait = STATUS_WAIT;
        for check in 0..=STATUS_CHECKS {
            match self.catalog.load(self.table).await {
                Ok(table) if mark.is_on(&table) => return Ok(true),
                Ok(table) if !requirements.iter().all(|requirement| holds(requirement, &table)) => {
                    return Ok(false);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(table = %self.table, %error, "cannot read back after a commit"),
            }
            if check < STATUS_CHECKS {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
        }
        Err(EngineError::Unknown {
            table: self.table.to_string(),
            cause,
        })
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

#[cfg(test)]
pub(crate) mod tests;
