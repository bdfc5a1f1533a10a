//! expire_snapshots: removes snapshots from the metadata first, then deletes the files only they reached.
//!
//! A crash between the two leaves files that nothing references, which is what remove_orphan_files is for;
//! no order of the two loses data.

mod garbage;
mod proposal;

use garbage::{Garbage, Unreached, find_garbage};
pub(crate) use proposal::{ExpireProposal, Expired};
use snowpack_catalog::{Catalog, LoadedTable};
use snowpack_domain::{Action, Progress};
use snowpack_plan::deletes_forbidden;
use snowpack_service::ports::Supervisor;

use crate::commit::Committer;
use crate::delete::{Deletion, delete_unreferenced};
use crate::error::EngineError;
use crate::report::{Report, counted};

/// Runs the action.
///
/// # Errors
/// Those of the commit, and the supervisor's stop between batches of deletes. Once the metadata is
/// committed, files that cannot be deleted are counted and logged, and do not fail the action.
pub(crate) async fn expire_snapshots<C: Catalog, S: Supervisor>(
    committer: &Committer<'_, C, S>,
    proposal: &ExpireProposal,
) -> Result<Report, EngineError> {
    committer.supervisor.poll()?;
    let committed = committer.commit(proposal).await?;
    let Some(before) = committed.base else {
        return Ok(nothing_to_do(&committed.outcome));
    };
    let expired = committed.outcome;
    let summary = summary(&expired);
    if let Some(reason) = deletes_forbidden(&before.metadata) {
        let message = format!("{summary}; {reason}, so no file was deleted");
        return Ok(report(message, &expired, &Garbage::default()));
    }
    // Read again: a commit made meanwhile may reach more.
    let after = committer.catalog.load(committer.table).await?;
    if after.metadata.uuid() != before.metadata.uuid() {
        return Err(EngineError::TableReplaced(committer.table.to_string()));
    }
    let garbage = match find_garbage(&before, &after, &expired.snapshots).await {
        Ok(garbage) => garbage,
        Err(error) => {
            tracing::warn!(table = %committer.table, %error, "no file is deleted");
            let message = format!("{summary}; no file was deleted, because {error}");
            return Ok(report(message, &expired, &Garbage::default()));
        }
    };
    let deletion = delete(&after, &garbage, committer.supervisor).await?;
    let message = match deletion.failed {
        0 => summary,
        failed => format!("{summary}; {} could not be deleted", counted(failed, "file")),
    };
    Ok(report(message, &expired, &garbage))
}

fn summary(expired: &Expired) -> String {
    format!("Expired {} snapshots", expired.snapshots.len())
}

fn nothing_to_do(expired: &Expired) -> Report {
    let message = format!(
        "Nothing to do: all {} are within retention",
        counted(expired.kept, "snapshot")
    );
    report(message, expired, &Garbage::default())
}

async fn delete<S: Supervisor>(
    table: &LoadedTable,
    garbage: &Garbage,
    supervisor: &S,
) -> Result<Deletion, EngineError> {
    let kinds = in_order(garbage);
    let total = kinds.iter().map(|kind| kind.paths.len() as u64).sum();
    let mut deletion = Deletion::default();
    for kind in kinds {
        let done = delete_unreferenced(&table.io, &kind.paths, supervisor).await?;
        deletion.deleted += done.deleted;
        deletion.failed += done.failed;
        supervisor.progress(Progress {
            action: Action::ExpireSnapshots,
            done: deletion.deleted + deletion.failed,
            total,
            unit: "files".to_owned(),
        });
    }
    Ok(deletion)
}

fn in_order(garbage: &Garbage) -> [&Unreached; 5] {
    [
        &garbage.data_files,
        &garbage.delete_files,
        &garbage.manifests,
        &garbage.manifest_lists,
        &garbage.statistics_files,
    ]
}

fn report(message: String, expired: &Expired, garbage: &Garbage) -> Report {
    let count = |files: &Unreached| files.paths.len() as u64;
    let counts = [
        ("snapshots", expired.snapshots.len() as u64),
        ("data_files", count(&garbage.data_files)),
        ("delete_files", count(&garbage.delete_files)),
        ("manifests", count(&garbage.manifests)),
        ("manifest_lists", count(&garbage.manifest_lists)),
        ("statistics_files", count(&garbage.statistics_files)),
        ("bytes", in_order(garbage).iter().map(|files| files.bytes).sum()),
    ];
    Report::new(message, counts)
}

#[cfg(test)]
mod tests;
