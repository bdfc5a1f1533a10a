//! What a dry run says: the numbers of each action, from metadata alone. Absent where only running it, or a
//! listing of storage, could tell.

use snowpack_catalog::LoadedTable;
use snowpack_domain::{Action, Deployment, EngineDecision, JobOptions, Preview, PreviewSource, Timestamp};
use snowpack_service::ports::NoPreview;

use crate::assess::{Assessment, Intent};
use crate::error::PlanError;
use crate::expire::deletes_forbidden;
use crate::forecast::Numbers;
use crate::state::TableState;
use crate::supported::unsupported;

/// What a dry run asks of a loaded table.
#[derive(Debug)]
pub(crate) struct PreviewRequest<'a> {
    pub(crate) table: &'a LoadedTable,
    /// The table's snapshot, or why there is none.
    pub(crate) state: Result<&'a TableState, NoPreview>,
    pub(crate) options: &'a JobOptions,
    pub(crate) deployment: &'a Deployment,
    pub(crate) now: Timestamp,
}

/// Whether an action's preview needs the live files; expiry is decided from the metadata file.
pub(crate) fn needs_state(action: Action) -> bool {
    matches!(
        action,
        Action::RewriteDataFiles | Action::RewritePositionDeleteFiles | Action::RewriteManifests
    )
}

impl PreviewRequest<'_> {
    /// What one action would do, done by whoever would do it.
    pub(crate) fn preview(&self, action: Action) -> Result<Preview, NoPreview> {
        let intent = Intent {
            table: self.table,
            action,
            options: self.options,
            deployment: &self.deployment.settings,
            now: self.now,
        };
        let known = intent.assess_state(self.state.clone())?;
        let note = match (intent.decide(&known, self.deployment.has_spark)?, &known.refusal) {
            (EngineDecision::Refuse { why }, _) => return Err(NoPreview::Refused(why)),
            (EngineDecision::Native, Some(reason)) => {
                return Err(unsupported(self.table, reason.clone()).into());
            }
            (EngineDecision::Native, None) => self.note(action),
            (EngineDecision::Spark { why }, _) => Some(format!("it would be handed to Spark: {why}")),
        };
        match note {
            // Nobody can tell whether there is anything to do.
            Some(note) if known.forecast.is_empty() => Err(NoPreview::Refused(note)),
            note => Ok(Preview {
                source: PreviewSource::Live,
                numbers: numbers(action, known),
                note,
            }),
        }
    }

    fn note(&self, action: Action) -> Option<String> {
        let note = match action {
            Action::RewriteDataFiles | Action::RewritePositionDeleteFiles | Action::RewriteManifests => {
                return None;
            }
            Action::ExpireSnapshots => match deletes_forbidden(&self.table.metadata) {
                None => return None,
                Some(reason) => format!("{reason}: snapshots expire, but no file is deleted"),
            },
            Action::RemoveOrphanFiles => match deletes_forbidden(&self.table.metadata) {
                None => "only listing the table's storage tells: run it with the option remove_orphan_files.dry_run".to_owned(),
                Some(reason) => format!("{reason}: no file is deleted"),
            },
        };
        Some(note)
    }
}

/// What the plan expects, and how long the native engine would take for a rewrite of data files.
fn numbers(action: Action, known: Assessment) -> Numbers {
    let mut numbers = known.forecast;
    if let (Action::RewriteDataFiles, Some(work)) = (action, known.work) {
        let seconds = work.estimate().as_micros() / 1_000_000;
        numbers.insert("native_seconds".to_owned(), u64::try_from(seconds).ok());
    }
    numbers
}

impl From<PlanError> for NoPreview {
    fn from(error: PlanError) -> Self {
        match error.is_transient() {
            true => Self::Unread(error.to_string()),
            false => Self::Refused(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
