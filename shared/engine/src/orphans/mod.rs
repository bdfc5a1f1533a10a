//! remove_orphan_files: lists the table's locations and deletes what nothing references.
//!
//! Rules kept here, because this action can destroy data: what is in doubt stays. References are read before the
//! listing, so that what a commit takes out meanwhile stays, and read again after it and before every batch of
//! deletes, so that what a commit brings in stays. The list of what goes is frozen before the first delete; files
//! are only ever taken off it.

mod error;
mod identity;
mod neighbours;
mod places;
mod plan;
mod reachable;
mod reached;
mod sieve;
mod visible;

pub(crate) use error::OrphanError;
use futures::TryStreamExt;
use identity::Names;
use places::{Chosen, Neighbours, Place};
use plan::{FrozenPlan, Orphan, human_bytes};
use reachable::Reachability;
use sieve::{Sieve, is_unreferenced};
use snowpack_catalog::{Catalog, LoadedTable};
use snowpack_domain::{Action, OrphanRemoval, Progress};
use snowpack_plan::deletes_forbidden;
use snowpack_service::ports::Supervisor;

use crate::delete::{BATCH, Deletion, delete_unreferenced};
use crate::error::EngineError;
use crate::notes::{note, noted};
use crate::report::{Report, counted};
use crate::watch::watched;

const ACTION: Action = Action::RemoveOrphanFiles;

/// One run of the action.
#[derive(Debug)]
pub(crate) struct OrphanFiles<'a, C, S> {
    pub(crate) catalog: &'a C,
    pub(crate) supervisor: &'a S,
    pub(crate) settings: OrphanRemoval,
}

/// Checks what can be told without asking the catalog for other tables or listing anything.
///
/// # Errors
/// [`OrphanError`] about the location.
pub(crate) fn check(table: &LoadedTable, settings: &OrphanRemoval) -> Result<(), OrphanError> {
    places::choose(table, settings, &Neighbours::default(), &Names::of(settings)).map(drop)
}

impl<C: Catalog, S: Supervisor> OrphanFiles<'_, C, S> {
    /// Runs the action.
    ///
    /// # Errors
    /// [`OrphanError`] and whatever makes references unknown, before anything is deleted; the supervisor's stop
    /// between batches of deletes. Files that cannot be deleted are counted and logged, and do not fail the action.
    pub(crate) async fn run(&self, table: &LoadedTable) -> Result<Report, EngineError> {
        if let Some(reason) = deletes_forbidden(&table.metadata) {
            let before = self.removed_before(table).deletion;
            let message = match before.deleted {
                0 => format!("Nothing to do: {reason}, so no file may be deleted"),
                _ => format!("{}; stopped, because {reason}", in_words(before)),
            };
            return Ok(report(message, 0, before.deleted, before.bytes));
        }
        let names = Names::of(&self.settings);
        let neighbours = neighbours::find(self.catalog, &table.id, &names);
        let neighbours = watched(self.supervisor, neighbours).await??;
        let Chosen { places, left_out } = places::choose(table, &self.settings, &neighbours, &names)?;
        let mut reach = Reachability::new(names);
        watched(self.supervisor, reach.add(table)).await??;
        let mut sieves = Vec::new();
        for place in &places {
            sieves.push(self.list(table, place, &reach).await?);
        }
        let newest = self.reload(table).await?;
        watched(self.supervisor, reach.add(&newest)).await??;
        let (mut listed, mut overflowed, mut orphans) = (0, false, Vec::new());
        for sieve in sieves {
            let sifted = sieve.finish(&reach)?;
            listed += sifted.listed;
            overflowed |= sifted.overflowed;
            orphans.extend(sifted.orphans);
        }
        let plan = FrozenPlan::freeze(orphans);
        let outcome = self.execute(table, &plan, &mut reach).await?;
        Ok(outcome.report(listed, overflowed, &left_out))
    }

    async fn list<'b>(
        &'b self,
        table: &LoadedTable,
        place: &'b Place,
        reach: &Reachability,
    ) -> Result<Sieve<'b>, EngineError> {
        let mut sieve = Sieve::new(table, place, &self.settings, reach);
        let mut listing = table.list(&place.spelled);
        let broken = |error| OrphanError::Listing {
            table: table.id.to_string(),
            source: Box::new(error),
        };
        while let Some(page) = watched(self.supervisor, listing.try_next())
            .await?
            .map_err(broken)?
        {
            sieve.take(page, reach)?;
        }
        Ok(sieve)
    }

    /// The newest metadata of the table that was there at the start.
    async fn reload(&self, table: &LoadedTable) -> Result<LoadedTable, EngineError> {
        let newest = watched(self.supervisor, self.catalog.load(&table.id)).await??;
        if newest.metadata.uuid() != table.metadata.uuid() {
            return Err(EngineError::TableReplaced(table.id.to_string()));
        }
        Ok(newest)
    }

    async fn execute(
        &self,
        table: &LoadedTable,
        plan: &FrozenPlan,
        reach: &mut Reachability,
    ) -> Result<Outcome, EngineError> {
        let (files, digest) = (plan.orphans().len() as u64, plan.digest());
        let dry_run = self.settings.dry_run;
        tracing::info!(table = %table.id, files, bytes = plan.bytes(), digest, dry_run, "orphan files found");
        if dry_run && files > 0 {
            return Ok(Outcome::Would {
                files,
                bytes: plan.bytes(),
                digest: digest.to_owned(),
            });
        }
        let mut removed = self.removed_before(table);
        let before = removed.deletion.deleted;
        for batch in plan.orphans().chunks(BATCH) {
            let newest = self.reload(table).await?;
            if deletes_forbidden(&newest.metadata).is_some() {
                removed.gc_disabled = true;
                break;
            }
            watched(self.supervisor, reach.add(&newest)).await??;
            let is_still_one = |orphan: &&Orphan| {
                let uri = reach.names().place(&orphan.location);
                is_unreferenced(reach, &uri, &self.settings)
            };
            let still_orphans: Vec<_> = batch.iter().filter(is_still_one).map(Orphan::file).collect();
            let deletion = delete_unreferenced(&newest.io, &still_orphans, self.supervisor).await?;
            removed.deletion.add(deletion);
            self.note(table, removed.deletion);
            self.supervisor.progress(Progress {
                action: ACTION,
                done: removed.deletion.deleted + removed.deletion.failed,
                total: before + files,
                unit: "files".to_owned(),
            });
        }
        Ok(removed.outcome())
    }

    /// What earlier slices and attempts of the job removed. Files that they could not delete were listed again.
    fn removed_before(&self, table: &LoadedTable) -> Removed {
        let noted: Option<Deletion> = noted(self.supervisor, ACTION, table.metadata.uuid());
        Removed {
            deletion: Deletion {
                failed: 0,
                ..noted.unwrap_or_default()
            },
            gc_disabled: false,
        }
    }

    fn note(&self, table: &LoadedTable, removed: Deletion) {
        note(self.supervisor, ACTION, table.metadata.uuid(), &removed);
    }
}

/// What was deleted.
#[derive(Debug, Default)]
struct Removed {
    deletion: Deletion,
    /// The table forbade deletes meanwhile.
    gc_disabled: bool,
}

impl Removed {
    fn outcome(self) -> Outcome {
        match self.deletion {
            Deletion {
                deleted: 0,
                failed: 0,
                ..
            } if !self.gc_disabled => Outcome::NothingFound,
            _ => Outcome::Removed(self),
        }
    }
}

/// How a run ended.
enum Outcome {
    NothingFound,
    Would { files: u64, bytes: u64, digest: String },
    Removed(Removed),
}

impl Outcome {
    fn report(self, listed: u64, overflowed: bool, left_out: &[String]) -> Report {
        let (mut message, orphans, bytes) = match self {
            Self::NothingFound => {
                let message = format!("Nothing to do: no orphan among {}", counted(listed, "file"));
                (message, 0, 0)
            }
            Self::Would { files, bytes, digest } => {
                let what = counted(files, "orphan file");
                let size = human_bytes(bytes);
                let message = format!("Would remove {what} ({size}), a list with SHA-256 {digest}");
                (message, files, bytes)
            }
            Self::Removed(removed) => {
                let mut message = in_words(removed.deletion);
                if removed.gc_disabled {
                    message.push_str("; stopped, because gc.enabled was set to false");
                }
                (message, removed.deletion.deleted, removed.deletion.bytes)
            }
        };
        if overflowed {
            message.push_str("; there are more, run it again");
        }
        for reason in left_out {
            message = format!("{message}; {reason}");
        }
        report(message, listed, orphans, bytes)
    }
}

fn in_words(deletion: Deletion) -> String {
    let what = counted(deletion.deleted, "orphan file");
    let message = format!("Removed {what} ({})", human_bytes(deletion.bytes));
    match deletion.failed {
        0 => message,
        failed => format!("{message}; {} could not be deleted", counted(failed, "file")),
    }
}

fn report(message: String, listed: u64, orphans: u64, bytes: u64) -> Report {
    let counts = [("listed", listed), ("orphans", orphans), ("bytes", bytes)];
    Report::new(message, counts)
}

#[cfg(test)]
mod tests;
