//! What a dry run says: the numbers of each action, from metadata alone. Absent where only running it, or a
//! listing of storage, could tell.

use std::collections::{HashMap, HashSet};

use iceberg::spec::FormatVersion;
use snowpack_catalog::LoadedTable;
use snowpack_domain::{
    Action, Compaction, EngineCase, EngineDecision, Expiry, HandOver, JobOptions, ManifestRewrite,
    OptionValue, OrphanRemoval, PositionDeleteCompaction, Preview, PreviewSource, Properties, Timestamp,
    Verification, choose_engine,
};
use snowpack_service::ports::NoPreview;

use crate::estimate::{NativeWork, refusal_of};
use crate::expire::{deletes_forbidden, plan_expiry};
use crate::filter::FileFilter;
use crate::forecast::{Forecast, Numbers};
use crate::manifests::{check_manifest_settings, plan_manifests};
use crate::position_deletes;
use crate::rewrite::plan;
use crate::state::TableState;
use crate::supported::{
    check_files, check_metadata, check_position_delete_files, check_position_delete_settings, check_settings,
};
use crate::vectors;

/// What a dry run asks of a loaded table.
#[derive(Debug)]
pub(crate) struct PreviewRequest<'a> {
    pub(crate) table: &'a LoadedTable,
    /// The table's snapshot, or why there is none.
    pub(crate) state: Result<&'a TableState, NoPreview>,
    pub(crate) options: &'a JobOptions,
    pub(crate) deployment: &'a HashMap<String, String>,
    pub(crate) now: Timestamp,
}

/// Whether an action's preview needs the live files; expiry is decided from the metadata file.
pub(crate) fn needs_state(action: Action) -> bool {
    matches!(
        action,
        Action::RewriteDataFiles | Action::RewritePositionDeleteFiles | Action::RewriteManifests
    )
}

/// The columns whose statistics the preview of a filtered rewrite looks at; none of a filter that will be refused.
pub(crate) fn filtered_columns(table: &LoadedTable, options: &JobOptions) -> HashSet<i32> {
    match options.get(Action::RewriteDataFiles, "where") {
        Some(OptionValue::Text(text)) => {
            let filter = FileFilter::resolve(text, &table.metadata);
            filter.map(|filter| filter.columns()).unwrap_or_default()
        }
        _ => HashSet::new(),
    }
}

impl PreviewRequest<'_> {
    /// What one action would do.
    pub(crate) fn preview(&self, action: Action) -> Result<Preview, NoPreview> {
        let numbers = match action {
            Action::RewriteDataFiles => return self.rewrite(),
            Action::ExpireSnapshots => self.expiry(),
            Action::RewritePositionDeleteFiles => self.position_deletes(),
            Action::RewriteManifests => self.manifests(),
            Action::RemoveOrphanFiles => self.orphans(),
        };
        Ok(Preview {
            source: PreviewSource::Live,
            numbers: numbers?,
            note: self.note(action),
        })
    }

    fn properties(&self) -> Properties<'_> {
        Properties {
            table: self.table.metadata.properties(),
            deployment: self.deployment,
        }
    }

    fn rewrite(&self) -> Result<Preview, NoPreview> {
        let settings = Compaction::resolve(self.options, self.properties()).map_err(refused)?;
        check_settings(self.table, &settings).map_err(refused)?;
        let checked = check_metadata(self.table);
        let refusal = checked.as_ref().err().map(ToString::to_string);
        if let (Some(reason), Some(refusal)) = (refusal_of(checked).map_err(refused)?, refusal) {
            // Its manifests cannot be read either.
            let why = self.note_of(&settings, Some(reason), None)?.unwrap_or(refusal);
            return Err(NoPreview::Refused(why));
        }
        let state = self.state.clone()?;
        let plan = plan(state, &self.table.metadata, &settings, None);
        let work = NativeWork::of_rewrite(&plan, &settings, self.table.metadata.format_version());
        let checked = check_files(self.table, state);
        let refusal = checked.as_ref().err().map(ToString::to_string);
        let note = self.note_of(&settings, refusal_of(checked).map_err(refused)?, Some(work))?;
        if let (None, Some(refusal)) = (&note, refusal) {
            return Err(NoPreview::Refused(refusal));
        }
        let mut numbers = plan.forecast();
        let seconds = work.estimate().as_micros() / 1_000_000;
        numbers.insert("native_seconds".to_owned(), u64::try_from(seconds).ok());
        Ok(Preview {
            source: PreviewSource::Live,
            numbers,
            note,
        })
    }

    /// What to know about a rewrite that would not be native, where there is Spark.
    fn note_of(
        &self,
        settings: &Compaction,
        refusal: Option<String>,
        work: Option<NativeWork>,
    ) -> Result<Option<String>, NoPreview> {
        let case = EngineCase {
            action: Action::RewriteDataFiles,
            refusal,
            native: work.map(|work| work.estimate()),
            native_only: (settings.verify == Verification::Content)
                .then(|| format!("verify={}", settings.verify)),
            has_spark: true,
        };
        let allowed = HandOver::resolve(self.properties()).map_err(refused)?;
        match choose_engine(allowed, &case) {
            EngineDecision::Native => Ok(None),
            EngineDecision::Refuse { why } => Err(NoPreview::Refused(why)),
            EngineDecision::Spark { why } => Ok(Some(format!("it would be handed to Spark: {why}"))),
        }
    }

    fn position_deletes(&self) -> Result<Numbers, NoPreview> {
        let settings = PositionDeleteCompaction::resolve(self.options, self.properties()).map_err(refused)?;
        check_metadata(self.table).map_err(refused)?;
        check_position_delete_settings(self.table, &settings).map_err(refused)?;
        let state = self.state.clone()?;
        check_position_delete_files(self.table, state).map_err(refused)?;
        if self.table.metadata.format_version() < FormatVersion::V3 {
            let plan = position_deletes::plan(state, &self.table.metadata, &settings, None);
            return Ok(plan.forecast());
        }
        let plan = vectors::plan(state, &self.table.metadata, &settings, None).map_err(refused)?;
        Ok(plan.forecast())
    }

    fn expiry(&self) -> Result<Numbers, NoPreview> {
        let settings = Expiry::resolve(self.options, self.properties(), self.now).map_err(refused)?;
        check_metadata(self.table).map_err(refused)?;
        let planned = plan_expiry(&self.table.metadata, self.table.refs(), &settings, self.now);
        planned.map(|plan| plan.forecast()).map_err(refused)
    }

    fn manifests(&self) -> Result<Numbers, NoPreview> {
        let settings = ManifestRewrite::resolve(self.options, self.properties()).map_err(refused)?;
        check_metadata(self.table).map_err(refused)?;
        check_manifest_settings(self.table, &settings).map_err(refused)?;
        let manifests = &self.state.clone()?.manifests;
        let plan = plan_manifests(&self.table.metadata, manifests, &settings);
        let mut numbers = plan.forecast();
        numbers.insert("manifests".to_owned(), Some(manifests.len() as u64));
        Ok(numbers)
    }

    fn orphans(&self) -> Result<Numbers, NoPreview> {
        OrphanRemoval::resolve(self.options, self.properties(), self.now).map_err(refused)?;
        check_metadata(self.table).map_err(refused)?;
        Ok(Numbers::from([("orphan_files".to_owned(), None)]))
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

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn refused(reason: impl ToString) -> NoPreview {
    NoPreview::Refused(reason.to_string())
}

#[cfg(test)]
mod tests;
