//! rewrite_manifests: few manifests of good size, their entries sorted by partition. Data is not touched.
//!
//! Follows Java's `RewriteManifestsSparkAction` and `BaseRewriteManifests`, with these differences: every spec
//! in one commit unless one is asked for; manifests in shape stay; a commit by someone else costs only the
//! work on manifests that it replaced.

mod entries;
mod packer;
mod proposal;
mod shelf;

use iceberg::io::FileIO;
use snowpack_catalog::Catalog;
use snowpack_service::ports::Supervisor;

use crate::commit::Committer;
use crate::delete::discard_uncommitted;
use crate::error::EngineError;
use crate::report::{Report, counted};
use proposal::Earlier;
pub(crate) use proposal::{ManifestsProposal, Rearranged};
use snowpack_plan::Numbers;

/// Runs the action. Files of the table are written through `io`.
///
/// # Errors
/// Those of the commit, and of reading and writing manifests; nothing is left behind then, unless it is not
/// known whether the commit was applied.
pub(crate) async fn rewrite_manifests<C: Catalog, S: Supervisor, N>(
    committer: &Committer<'_, C, S>,
    proposal: ManifestsProposal<'_, S, N>,
    io: &FileIO,
) -> Result<Report, EngineError>
where
    N: Fn() -> snowpack_domain::Timestamp + Send + Sync,
{
    let committed = committer.commit(&proposal).await;
    let work = proposal.into_work();
    let mut unused = work.written;
    match &committed {
        Ok(committed) => unused.retain(|path| !committed.outcome.created.contains(path)),
        Err(EngineError::Unknown { .. }) => unused.clear(),
        Err(_) => {}
    }
    discard_uncommitted(io, &unused).await;
    let done = committed?.outcome;
    Ok(report(&done).predicted(expected(work.forecast.unwrap_or_default(), &done.earlier)))
}

/// What the job had done before, and the rest as planned.
fn expected(mut forecast: Numbers, earlier: &Earlier) -> Numbers {
    for (name, count) in [
        ("manifests_in", earlier.replaced),
        ("manifests_out", earlier.created),
    ] {
        if let Some(Some(number)) = forecast.get_mut(name) {
            *number += count;
        }
    }
    forecast
}

fn report(done: &Rearranged) -> Report {
    let before = done.replaced + done.earlier.replaced;
    let after = done.created.len() as u64 + done.earlier.created;
    let message = match before {
        0 => format!("Nothing to do: {} in shape", counted(done.kept, "manifest")),
        _ => format!("Rewrote {before} manifests into {after}"),
    };
    let counts = [
        ("manifests_in", before),
        ("manifests_out", after),
        ("entries", done.entries + done.earlier.entries),
    ];
    Report::new(message, counts)
}

#[cfg(test)]
mod tests;
