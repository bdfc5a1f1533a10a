//! expire_snapshots: removes snapshots from the metadata first, then deletes the files only they reached.
//!
//! A crash between the two leaves files that nothing references. The next attempt of the job goes on with them; should
//! there be none, remove_orphan_files takes them. No order of the two loses data.

mod cleanup;
mod garbage;
mod journal;
mod proposal;

use cleanup::Cleanup;
use journal::{Done, Journal};
pub(crate) use proposal::{ExpireProposal, Expired};
use snowpack_catalog::{Catalog, LoadedTable};
use snowpack_plan::Numbers;
use snowpack_service::ports::Supervisor;

use crate::commit::{Committer, Proposal, Proposed};
use crate::error::EngineError;
use crate::report::{Report, counted};
use crate::watch::watched;

/// Runs the action on the table as just loaded, of which `forecast` is expected.
///
/// # Errors
/// Those of the commit, the supervisor's stop, and what may pass by itself. Once the metadata is committed, files that
/// cannot be deleted are counted and logged, and do not fail the action.
pub(crate) async fn expire_snapshots<C: Catalog, S: Supervisor>(
    committer: &Committer<'_, C, S>,
    proposal: &ExpireProposal,
    table: &LoadedTable,
    mut forecast: Numbers,
) -> Result<Report, EngineError> {
    committer.supervisor.poll()?;
    let journal = &Journal::open(committer.supervisor, proposal.uuid);
    let cleanup = Cleanup { committer, journal };
    if !cleanup.resume(table).await? {
        let done = journal.done();
        return Ok(report(summary(&done), &done));
    }
    if let Some(Some(snapshots)) = forecast.get_mut("snapshots") {
        *snapshots += journal.done().snapshots;
    }
    let committed = committer.commit(&Journaled { proposal, journal }).await?;
    let expired = committed.outcome;
    if let Some(before) = &committed.base {
        journal.committed(expired.snapshots.len() as u64);
        cleanup.run(before, &expired.snapshots).await?;
    }
    let done = journal.done();
    let message = match (&committed.base, done.snapshots) {
        (None, 0) => nothing_to_do(&expired),
        _ => summary(&done),
    };
    Ok(report(message, &done).predicted(forecast))
}

/// An expiry that notes on top of which metadata it is committed, before it is.
struct Journaled<'a, S> {
    proposal: &'a ExpireProposal,
    journal: &'a Journal<'a, S>,
}

impl<S: Supervisor> Proposal for Journaled<'_, S> {
    type Outcome = Expired;

    async fn propose(
        &self,
        base: &LoadedTable,
        written: &mut Vec<String>,
    ) -> Result<Proposed<Expired>, EngineError> {
        let proposed = self.proposal.propose(base, written);
        let proposed = watched(self.journal.supervisor(), proposed).await??;
        if matches!(proposed, Proposed::Change { .. }) {
            self.journal.begin(&base.metadata_location);
        }
        Ok(proposed)
    }
}

fn summary(done: &Done) -> String {
    let mut message = format!("Expired {} snapshots", done.snapshots);
    let failed = done.deleted.sum().failed;
    if failed > 0 {
        message = format!("{message}; {} could not be deleted", counted(failed, "file"));
    }
    if let Some(example) = &done.outside.example {
        let left = counted(done.outside.files, "file");
        message = format!("{message}; left {left} outside of the table's own locations, such as {example}");
    }
    for reason in &done.left {
        message = format!("{message}; {reason}");
    }
    message
}

fn nothing_to_do(expired: &Expired) -> String {
    format!(
        "Nothing to do: all {} are within retention",
        counted(expired.kept, "snapshot")
    )
}

fn report(message: String, done: &Done) -> Report {
    let deleted = &done.deleted;
    let counts = [
        ("snapshots", done.snapshots),
        ("data_files", deleted.data.deleted),
        ("delete_files", deleted.deletes.deleted),
        ("manifests", deleted.manifests.deleted),
        ("manifest_lists", deleted.manifest_lists.deleted),
        ("statistics_files", deleted.statistics.deleted),
        ("bytes", deleted.sum().bytes),
    ];
    Report::new(message, counts)
}

#[cfg(test)]
mod tests;
