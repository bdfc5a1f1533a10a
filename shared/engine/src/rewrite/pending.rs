//! Finished file groups on their way into the table: committed in batches, or their files removed again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use iceberg::io::FileIO;
use snowpack_catalog::Catalog;
use snowpack_domain::Timestamp;
use snowpack_service::ports::Supervisor;

use super::tally::Tally;
use crate::commit::{Committer, Replace, Replacement, RewriteBase};
use crate::delete::discard_uncommitted;
use crate::error::EngineError;
use crate::write::WrittenFiles;

/// Groups that wrote files, and those of them that are finished.
pub(crate) struct Pending<'a, C, S, N> {
    pub(crate) committer: &'a Committer<'a, C, S>,
    pub(crate) rewrite: &'a RewriteBase,
    pub(crate) io: &'a FileIO,
    pub(crate) now: N,
    /// Commits that may be given up before the action fails.
    pub(crate) max_failed_commits: u64,
    pub(crate) tally: Tally,
    finished: Vec<Replacement>,
    written: BTreeMap<usize, Arc<WrittenFiles>>,
}

impl<'a, C: Catalog, S: Supervisor, N: Fn() -> Timestamp + Send + Sync> Pending<'a, C, S, N> {
    pub(crate) fn new(
        committer: &'a Committer<'a, C, S>,
        rewrite: &'a RewriteBase,
        io: &'a FileIO,
        now: N,
        tally: Tally,
    ) -> Self {
        Self {
            committer,
            rewrite,
            io,
            now,
            max_failed_commits: 0,
            tally,
            finished: Vec::new(),
            written: BTreeMap::new(),
        }
    }

    /// Starts a group; what it writes is noted in the answer.
    pub(crate) fn start(&mut self, group: usize) -> Arc<WrittenFiles> {
        Arc::clone(self.written.entry(group).or_default())
    }

    /// Takes a finished group; returns how many wait for a commit.
    ///
    /// # Errors
    /// [`EngineError::RowCount`] or [`EngineError::Content`] when it lost, invented or changed rows.
    pub(crate) fn finish(&mut self, group: Replacement) -> Result<usize, EngineError> {
        group.check(self.rewrite.verify, &self.committer.table.to_string())?;
        self.finished.push(group);
        Ok(self.finished.len())
    }

    /// Commits all finished groups together.
    ///
    /// # Errors
    /// Those of the commit. A commit lost to other writers only counts as failed while that is tolerated.
    pub(crate) async fn commit(&mut self) -> Result<(), EngineError> {
        let groups = std::mem::take(&mut self.finished);
        if groups.is_empty() {
            return Ok(());
        }
        let proposal = Replace {
            rewrite: self.rewrite,
            groups: &groups,
            counted: &self.tally.counted,
            now: &self.now,
        };
        let committed = match self.committer.commit(&proposal).await {
            Ok(committed) => committed,
            Err(error) => return self.commit_failed(&groups, error).await,
        };
        self.tally.conflicts += committed.conflicts;
        self.tally.done.add(committed.outcome.done);
        tracing::debug!(table = %self.committer.table, groups = ?committed.outcome.committed, "file groups committed");
        let narrowed = &committed.outcome.narrowed;
        for group in &groups {
            let dropped = committed
                .outcome
                .dropped
                .iter()
                .find(|(index, _)| *index == group.group);
            match dropped {
                Some((_, conflict)) => {
                    self.tally.dropped(self.committer.table, group, conflict);
                    self.discard(group.group, &HashSet::new()).await;
                }
                None => {
                    let part = narrowed.iter().find(|part| part.group == group.group);
                    let part = part.unwrap_or(group);
                    self.tally.committed(part, group);
                    let committed = part.added.iter().map(|file| file.file_path()).collect();
                    self.discard(group.group, &committed).await;
                }
            }
        }
        Ok(())
    }

    async fn commit_failed(&mut self, groups: &[Replacement], error: EngineError) -> Result<(), EngineError> {
        if matches!(error, EngineError::Unknown { .. }) {
            // The table may have taken these files: they are no longer ours to remove.
            for group in groups {
                self.written.remove(&group.group);
            }
            return Err(error);
        }
        self.tally.commits_failed += 1;
        let tolerated = matches!(error, EngineError::Contended { .. });
        if !tolerated || self.tally.commits_failed > self.max_failed_commits {
            return Err(error);
        }
        tracing::warn!(table = %self.committer.table, %error, "a commit was given up");
        for group in groups {
            self.tally.failed(group);
            self.discard(group.group, &HashSet::new()).await;
        }
        Ok(())
    }

    /// Removes everything that was written and not committed.
    pub(crate) async fn discard_all(&mut self) {
        self.finished.clear();
        for group in self.written.keys().copied().collect::<Vec<_>>() {
            self.discard(group, &HashSet::new()).await;
        }
    }

    async fn discard(&mut self, group: usize, committed: &HashSet<&str>) {
        let Some(written) = self.written.remove(&group) else {
            return;
        };
        let mut files = written.locations();
        files.retain(|path| !committed.contains(path.as_str()));
        discard_uncommitted(self.io, &files).await;
    }
}
