//! Deletes the files of expired snapshots, and goes on with what an earlier slice or attempt left unfinished.

use snowpack_catalog::{Catalog, LoadedTable};
use snowpack_domain::{Action, Progress};
use snowpack_plan::deletes_forbidden;
use snowpack_service::ports::{ActionStop, Supervisor};

use super::garbage::{Garbage, find_garbage};
use super::journal::Journal;
use super::summary;
use crate::commit::Committer;
use crate::delete::{BATCH, delete_unreferenced};
use crate::error::EngineError;
use crate::watch::watched;

/// Deletes what a committed expiry left to be deleted.
pub(crate) struct Cleanup<'a, C, S> {
    pub(crate) committer: &'a Committer<'a, C, S>,
    pub(crate) journal: &'a Journal<'a, S>,
}

impl<C: Catalog, S: Supervisor> Cleanup<'_, C, S> {
    /// Goes on with the expiry that the journal has as unfinished, if there is one and it was committed. Whether there
    /// is time for another one.
    ///
    /// # Errors
    /// As [`Cleanup::run`].
    pub(crate) async fn resume(&self, table: &LoadedTable) -> Result<bool, EngineError> {
        let mut has_time = true;
        let Some(unfinished) = self.journal.unfinished() else {
            return Ok(has_time);
        };
        match watched(self.committer.supervisor, table.at(&unfinished.before)).await? {
            Ok(Some(before)) => {
                let ids = before.metadata.snapshots().map(|snapshot| snapshot.snapshot_id());
                let removed: Vec<_> = ids
                    .filter(|id| table.metadata.snapshot_by_id(*id).is_none())
                    .collect();
                if unfinished.is_counted || !removed.is_empty() {
                    self.journal.committed(removed.len() as u64);
                    has_time = self.go_on(&before, &removed).await?;
                }
            }
            Err(error) if error.is_transient() => return Err(self.unfinished(error.into())),
            Ok(None) if unfinished.is_counted => self.leave("older metadata is gone"),
            Err(error) if unfinished.is_counted => self.leave(&error.to_string()),
            // Nothing tells whether anything was committed.
            Ok(None) | Err(_) => {}
        }
        self.journal.end();
        Ok(has_time)
    }

    async fn go_on(&self, before: &LoadedTable, removed: &[i64]) -> Result<bool, EngineError> {
        match self.search(before, removed).await {
            Ok(Some((after, garbage))) => self.clear_away(&after, garbage).await.map(|()| true),
            Ok(None) => Ok(true),
            // It had a whole slice: the next one would not come further.
            Err(EngineError::Stopped(ActionStop::OutOfTime)) if self.deadline_came() => {
                self.leave("there was not the time to find them");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes what the snapshots `removed` from `before` reached and nothing reaches any more.
    ///
    /// # Errors
    /// The supervisor's stop, and what may pass by itself: the next slice or attempt goes on from there. Files that
    /// cannot be told or cannot be deleted do not fail the action; its result tells of them.
    pub(crate) async fn run(&self, before: &LoadedTable, removed: &[i64]) -> Result<(), EngineError> {
        if let Some((after, garbage)) = self.search(before, removed).await? {
            self.clear_away(&after, garbage).await?;
        }
        self.journal.end();
        Ok(())
    }

    /// `None` when nothing may be deleted, which the journal then says.
    async fn search(
        &self,
        before: &LoadedTable,
        removed: &[i64],
    ) -> Result<Option<(LoadedTable, Garbage)>, EngineError> {
        if let Some(reason) = deletes_forbidden(&before.metadata) {
            self.journal.left(format!("{reason}, so no file was deleted"));
            return Ok(None);
        }
        let Committer {
            catalog,
            table,
            supervisor,
        } = *self.committer;
        // Read again: a commit made meanwhile may reach more.
        let after = match watched(supervisor, catalog.load(table)).await? {
            Ok(after) => after,
            Err(error) => return self.nothing_is_deleted(error.is_transient(), error.into()),
        };
        if after.metadata.uuid() != before.metadata.uuid() {
            return Err(EngineError::TableReplaced(table.to_string()));
        }
        let mark = self.journal.unfinished().and_then(|expiry| expiry.mark);
        let search = find_garbage(before, &after, removed, mark.as_ref());
        match watched(supervisor, search).await? {
            Ok(garbage) => Ok(Some((after, garbage))),
            Err(error) => self.nothing_is_deleted(error.is_transient(), error.into()),
        }
    }

    async fn clear_away(&self, table: &LoadedTable, garbage: Garbage) -> Result<(), EngineError> {
        if let Some(example) = &garbage.outside.example {
            let files = garbage.outside.files;
            tracing::warn!(table = %table.id, files, example, "files outside of the table's own places are left");
        }
        self.journal.found(&garbage);
        let total = self.dealt_with() + garbage.files.len() as u64;
        let kinds = garbage.files.chunk_by(|(one, _), (other, _)| one == other);
        for batch in kinds.flat_map(|kind| kind.chunks(BATCH)) {
            let files: Vec<_> = batch.iter().map(|(_, file)| file.clone()).collect();
            let deletion = delete_unreferenced(&table.io, &files, self.committer.supervisor).await?;
            if let Some((kind, last)) = batch.last() {
                self.journal.deleted(*kind, deletion, last);
            }
            self.committer.supervisor.progress(Progress {
                action: Action::ExpireSnapshots,
                done: self.dealt_with(),
                total,
                unit: "files".to_owned(),
            });
        }
        Ok(())
    }

    fn dealt_with(&self) -> u64 {
        let sum = self.journal.done().deleted.sum();
        sum.deleted + sum.failed
    }

    fn nothing_is_deleted<T>(&self, may_pass: bool, error: EngineError) -> Result<Option<T>, EngineError> {
        if may_pass {
            return Err(self.unfinished(error));
        }
        tracing::warn!(table = %self.committer.table, %error, "no file is deleted");
        self.journal.left(format!("no file was deleted, because {error}"));
        Ok(None)
    }

    fn leave(&self, reason: &str) {
        tracing::warn!(table = %self.committer.table, reason, "files of expired snapshots are left");
        let reason = format!("files that only they had are left to remove_orphan_files, because {reason}");
        self.journal.left(reason);
    }

    /// What was done is said, should there be no further attempt.
    fn unfinished(&self, cause: EngineError) -> EngineError {
        EngineError::Unfinished {
            done: summary(&self.journal.done()),
            cause: Box::new(cause),
        }
    }

    /// Whether it was the deadline that stopped the action, and not a shutdown.
    fn deadline_came(&self) -> bool {
        let seconds = self.committer.supervisor.seconds_left();
        seconds.is_some_and(|seconds| seconds <= 0.0)
    }
}
