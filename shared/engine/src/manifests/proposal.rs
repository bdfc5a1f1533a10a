//! The replace snapshot of a manifest rewrite, proposed anew on every metadata it meets.
//!
//! What is finished is kept between attempts as long as the manifests it replaces are still listed. Where
//! someone replaced one of them, its shelf is planned anew. Manifests added meanwhile stay as they are.

use std::collections::{BTreeMap, HashSet};

use iceberg::spec::{ManifestContentType, ManifestFile, Snapshot, TableMetadata};
use snowpack_catalog::LoadedTable;
use snowpack_domain::{Action, JobId, ManifestRewrite, Timestamp};
use snowpack_manifest::read_manifest_list;
use snowpack_plan::{Forecast, Numbers, plan_manifests, snapshots_of};
use snowpack_service::ports::Supervisor;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::shelf::{FinishedShelf, ShelfWriter};
use crate::commit::change::{change, snapshot};
use crate::commit::{
    ManifestCache, ManifestCounts, Mark, Proposal, Proposed, SummaryBuilder, Workshop, WrittenList,
};
use crate::error::EngineError;

/// Summary key of Java's `SnapshotSummary.PROCESSED_MANIFEST_ENTRY_COUNT`.
const ENTRIES_SUMMARY_KEY: &str = "entries-processed";

/// Summary keys of the manifests that a commit replaced and wrote (`SnapshotSummary`).
const REPLACED_SUMMARY_KEY: &str = "manifests-replaced";
const CREATED_SUMMARY_KEY: &str = "manifests-created";

/// A rewrite of manifests.
pub(crate) struct ManifestsProposal<'a, S, N> {
    /// The table's identity when the action began.
    pub(crate) uuid: Uuid,
    /// What to rewrite, and to which size.
    pub(crate) settings: ManifestRewrite,
    /// What the summary says besides its counters.
    pub(crate) summary: BTreeMap<String, String>,
    /// The job it is part of.
    pub(crate) job: Option<&'a JobId>,
    /// Asked between reads.
    pub(crate) supervisor: &'a S,
    /// The time now.
    pub(crate) now: N,
    /// Carried from one attempt to the next.
    pub(crate) work: Mutex<Work>,
}

/// What attempts have written so far.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// What the first attempt expected.
    pub(super) forecast: Option<Numbers>,
    shelves: Vec<FinishedShelf>,
    pub(super) written: Vec<String>,
}

/// What the rewrite did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rearranged {
    /// Manifests replaced.
    pub(crate) replaced: u64,
    /// Paths of the manifests written instead.
    pub(crate) created: HashSet<String>,
    /// Manifests that stay.
    pub(crate) kept: u64,
    /// Entries in the new manifests.
    pub(crate) entries: u64,
    /// What the job committed before.
    pub(crate) earlier: Earlier,
}

/// What earlier commits of a job's manifest rewrite did, as the summaries of their snapshots tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Earlier {
    /// Manifests replaced.
    pub(crate) replaced: u64,
    /// Manifests written instead.
    pub(crate) created: u64,
    /// Entries in those.
    pub(crate) entries: u64,
}

impl Earlier {
    /// As far as the metadata still has the job's snapshots; nothing for a run without a job.
    fn of(metadata: &TableMetadata, job: Option<&JobId>) -> Self {
        let mut sum = Self::default();
        for snapshot in job
            .into_iter()
            .flat_map(|job| snapshots_of(metadata, Action::RewriteManifests, job))
        {
            let stated = |name: &str| {
                let stated = snapshot.summary().additional_properties.get(name);
                stated.and_then(|number| number.parse().ok()).unwrap_or(0)
            };
            sum.replaced += stated(REPLACED_SUMMARY_KEY);
            sum.created += stated(CREATED_SUMMARY_KEY);
            sum.entries += stated(ENTRIES_SUMMARY_KEY);
        }
        sum
    }
}

impl<S, N> ManifestsProposal<'_, S, N> {
    /// What was expected, and every manifest written, committed or not.
    pub(super) fn into_work(self) -> Work {
        self.work.into_inner()
    }
}

impl<S: Supervisor, N: Fn() -> Timestamp + Send + Sync> Proposal for ManifestsProposal<'_, S, N> {
    type Outcome = Rearranged;

    async fn propose(
        &self,
        base: &LoadedTable,
        written: &mut Vec<String>,
    ) -> Result<Proposed<Rearranged>, EngineError> {
        if base.metadata.uuid() != self.uuid {
            return Err(EngineError::TableReplaced(base.id.to_string()));
        }
        let Some(head) = base.metadata.current_snapshot() else {
            return Ok(Proposed::Nothing(Rearranged::default()));
        };
        let mut manifests = read_manifest_list(&base.io, &base.metadata, head).await?;
        let cache = ManifestCache::none();
        cache.fill_in_counts(&base.io, &mut manifests).await?;
        let mut work = self.work.lock().await;
        self.finish(base, &manifests, &mut work).await?;
        let outcome = Rearranged {
            earlier: Earlier::of(&base.metadata, self.job),
            ..outcome(&work.shelves, manifests.len())
        };
        if outcome.replaced == 0 {
            return Ok(Proposed::Nothing(outcome));
        }
        let mut workshop = Workshop::new(base, written);
        let listed = rearranged(&manifests, &work.shelves, workshop.snapshot_id);
        let list = workshop.list(listed, head).await?;
        let snapshot = self.snapshot(base, head, workshop.snapshot_id, list, &outcome);
        Ok(Proposed::Change {
            mark: Mark::SnapshotAdded(snapshot.snapshot_id()),
            change: change(base, head, snapshot),
            outcome,
        })
    }
}

impl<S: Supervisor, N: Fn() -> Timestamp> ManifestsProposal<'_, S, N> {
    /// Drops the shelves that do not fit the table any more and rewrites what is missing.
    async fn finish(
        &self,
        base: &LoadedTable,
        manifests: &[ManifestFile],
        work: &mut Work,
    ) -> Result<(), EngineError> {
        let listed: HashSet<_> = manifests
            .iter()
            .map(|manifest| manifest.manifest_path.as_str())
            .collect();
        work.shelves
            .retain(|shelf| shelf.replaced.iter().all(|path| listed.contains(path.as_str())));
        let done: HashSet<_> = work
            .shelves
            .iter()
            .map(|shelf| (shelf.spec_id, shelf.content))
            .collect();
        let mut workshop = Workshop::new(base, &mut work.written);
        let plan = plan_manifests(&base.metadata, manifests, &self.settings);
        work.forecast.get_or_insert_with(|| plan.forecast());
        for shelf in plan {
            if !done.contains(&(shelf.spec_id, shelf.content)) {
                let writer = ShelfWriter::new(base, self.supervisor, self.settings.target_bytes);
                work.shelves.push(writer.write(shelf, &mut workshop).await?);
            }
        }
        Ok(())
    }

    fn snapshot(
        &self,
        base: &LoadedTable,
        head: &Snapshot,
        id: i64,
        list: WrittenList,
        outcome: &Rearranged,
    ) -> Snapshot {
        let counts = ManifestCounts {
            created: outcome.created.len() as u64,
            kept: outcome.kept,
            replaced: outcome.replaced,
        };
        let mut extra = self.summary.clone();
        extra.insert(ENTRIES_SUMMARY_KEY.to_owned(), outcome.entries.to_string());
        let summary = SummaryBuilder::default().replace(head.summary(), counts, &extra);
        snapshot(base, id, list, summary, (self.now)())
    }
}

fn outcome(shelves: &[FinishedShelf], listed: usize) -> Rearranged {
    let replaced = shelves.iter().map(|shelf| shelf.replaced.len()).sum::<usize>();
    let created = shelves.iter().flat_map(|shelf| &shelf.created);
    Rearranged {
        replaced: replaced as u64,
        created: created.map(|manifest| manifest.manifest_path.clone()).collect(),
        kept: (listed - replaced) as u64,
        entries: shelves.iter().map(|shelf| shelf.entries).sum(),
        earlier: Earlier::default(),
    }
}

/// The new manifest list: of each content the new manifests first, as Java lists them, then those that stay.
fn rearranged(manifests: &[ManifestFile], shelves: &[FinishedShelf], snapshot_id: i64) -> Vec<ManifestFile> {
    let gone: HashSet<_> = shelves.iter().flat_map(|shelf| &shelf.replaced).collect();
    let created = shelves.iter().flat_map(|shelf| &shelf.created);
    let created = created.map(|manifest| ManifestFile {
        added_snapshot_id: snapshot_id,
        ..manifest.clone()
    });
    let kept = manifests
        .iter()
        .filter(|manifest| !gone.contains(&manifest.manifest_path));
    let mut all: Vec<_> = created.chain(kept.cloned()).collect();
    all.sort_by_key(|manifest| manifest.content == ManifestContentType::Deletes);
    all
}
