//! What is known of an action on a table before it runs: whether the native engine refuses it, what it takes, what comes
//! of it, and therefore who does it.

use std::collections::{HashMap, HashSet};

use iceberg::spec::FormatVersion;
use snowpack_catalog::LoadedTable;
use snowpack_domain::{
    Action, Compaction, EngineCase, EngineDecision, Expiry, HandOver, JobOptions, ManifestRewrite,
    OptionValue, OrphanRemoval, PositionDeleteCompaction, Properties, Timestamp, Verification, choose_engine,
};

use crate::error::PlanError;
use crate::estimate::NativeWork;
use crate::expire::{gc_enabled, plan_expiry};
use crate::filter::FileFilter;
use crate::forecast::{Forecast, Numbers};
use crate::manifests::{check_manifest_settings, plan_manifests};
use crate::position_deletes;
use crate::rewrite::plan;
use crate::state::TableState;
use crate::supported::{
    check_files, check_metadata, check_position_delete_files, check_position_delete_settings, check_settings,
    unsupported,
};
use crate::vectors;

/// An action on a loaded table that may be run.
#[derive(Clone, Copy, Debug)]
pub struct Intent<'a> {
    /// The table.
    pub table: &'a LoadedTable,
    /// The action.
    pub action: Action,
    /// The job's options.
    pub options: &'a JobOptions,
    /// The deployment's settings, named like the `snowpack.*` properties without that prefix.
    pub deployment: &'a HashMap<String, String>,
    /// When ages are taken.
    pub now: Timestamp,
}

/// What is known of an action on a table before it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// Why the native engine refuses the table, if it does.
    pub refusal: Option<String>,
    /// The work, of the two actions that rewrite rows; absent for the others, and where manifests cannot be read.
    pub work: Option<NativeWork>,
    /// What the plan expects; empty where there is none.
    pub forecast: Numbers,
}

impl Assessment {
    fn planned(forecast: Numbers) -> Self {
        Self {
            forecast,
            ..Self::default()
        }
    }
}

impl<'a> Intent<'a> {
    /// Where values come from that the job does not give.
    pub fn properties(&self) -> Properties<'a> {
        Properties {
            table: self.table.metadata.properties(),
            deployment: self.deployment,
        }
    }

    /// Checks the action's options, whoever will do it. Reads nothing.
    ///
    /// # Errors
    /// [`PlanError`] naming the option that cannot be used.
    pub fn check_options(&self) -> Result<(), PlanError> {
        let (options, properties) = (self.options, self.properties());
        match self.action {
            Action::RewriteDataFiles => {
                check_settings(self.table, &Compaction::resolve(options, properties)?)
            }
            Action::RewritePositionDeleteFiles => {
                let settings = PositionDeleteCompaction::resolve(options, properties)?;
                check_position_delete_settings(self.table, &settings)
            }
            Action::ExpireSnapshots => Ok(Expiry::resolve(options, properties, self.now).map(|_| ())?),
            Action::RewriteManifests => {
                check_manifest_settings(self.table, &ManifestRewrite::resolve(options, properties)?)
            }
            Action::RemoveOrphanFiles => {
                Ok(OrphanRemoval::resolve(options, properties, self.now).map(|_| ())?)
            }
        }
    }

    /// What the metadata file alone tells.
    ///
    /// # Errors
    /// [`PlanError`] when a property cannot be read.
    pub fn glance(&self) -> Result<Assessment, PlanError> {
        Ok(Assessment {
            refusal: refusal_of(check_metadata(self.table))?,
            ..Assessment::default()
        })
    }

    /// What is known of the action, as far as it matters for who does it. Reads the current snapshot's manifests for
    /// the actions that rewrite rows.
    ///
    /// # Errors
    /// [`PlanError`] when options cannot be used, or a manifest not be read.
    pub async fn assess(&self) -> Result<Assessment, PlanError> {
        self.check_options()?;
        let glance = self.glance()?;
        match self.action {
            Action::RewriteDataFiles | Action::RewritePositionDeleteFiles if glance.refusal.is_none() => {
                let columns = filtered_columns(self.table, self.options);
                self.assess_state(Ok(&TableState::read_with(self.table, columns).await?))
            }
            Action::ExpireSnapshots => self.assess_state(Ok(&TableState::empty())),
            _ => Ok(glance),
        }
    }

    /// As [`Intent::assess`] over files that were read, or could not be, and with a plan whatever the action. Of a
    /// table whose metadata is refused nothing is planned but what the metadata file tells: its manifests cannot be
    /// read either.
    pub(crate) fn assess_state<E: From<PlanError>>(
        &self,
        state: Result<&TableState, E>,
    ) -> Result<Assessment, E> {
        self.check_options()?;
        let glance = self.glance()?;
        let planned = match self.action {
            Action::ExpireSnapshots => self.expiry()?,
            Action::RemoveOrphanFiles => Assessment::planned([("orphan_files".to_owned(), None)].into()),
            _ if glance.refusal.is_some() => return Ok(glance),
            Action::RewriteDataFiles => self.rewrite(state?)?,
            Action::RewritePositionDeleteFiles => self.position_deletes(state?)?,
            Action::RewriteManifests => self.manifests(state?)?,
        };
        Ok(Assessment {
            refusal: glance.refusal.or(planned.refusal),
            ..planned
        })
    }

    /// Who does the action where there is Spark or not, by what is known of it.
    ///
    /// # Errors
    /// [`PlanError`] when a property cannot be read.
    pub fn decide(&self, known: &Assessment, has_spark: bool) -> Result<EngineDecision, PlanError> {
        let case = EngineCase {
            action: self.action,
            refusal: known.refusal.clone(),
            native: known.work.map(|work| work.estimate()),
            native_only: self.native_only()?,
            has_spark,
        };
        Ok(choose_engine(HandOver::resolve(self.properties())?, &case))
    }

    /// What is asked for that Spark does not do.
    fn native_only(&self) -> Result<Option<String>, PlanError> {
        let (options, properties) = (self.options, self.properties());
        let verify = match self.action {
            Action::RewriteDataFiles => Compaction::resolve(options, properties)?.verify,
            Action::RewritePositionDeleteFiles => {
                PositionDeleteCompaction::resolve(options, properties)?.verify
            }
            // Natively snapshots expire and files stay; Iceberg's procedure fails.
            Action::ExpireSnapshots if !gc_enabled(&self.table.metadata) => {
                return Ok(Some("gc.enabled=false".to_owned()));
            }
            _ => Verification::default(),
        };
        Ok((verify == Verification::Content).then(|| format!("verify={verify}")))
    }

    fn rewrite(&self, state: &TableState) -> Result<Assessment, PlanError> {
        let settings = Compaction::resolve(self.options, self.properties())?;
        let metadata = &self.table.metadata;
        let plan = plan(state, metadata, &settings, None);
        Ok(Assessment {
            refusal: refusal_of(check_files(self.table, state))?,
            work: Some(NativeWork::of_rewrite(
                &plan,
                &settings,
                metadata.format_version(),
            )),
            forecast: plan.forecast(),
        })
    }

    fn position_deletes(&self, state: &TableState) -> Result<Assessment, PlanError> {
        let settings = PositionDeleteCompaction::resolve(self.options, self.properties())?;
        let metadata = &self.table.metadata;
        let refusal = refusal_of(check_position_delete_files(self.table, state))?;
        let (work, forecast) = if metadata.format_version() < FormatVersion::V3 {
            let plan = position_deletes::plan(state, metadata, &settings, None);
            (NativeWork::of_delete_files(&plan), plan.forecast())
        } else {
            let plan = vectors::plan(state, metadata, &settings, None);
            let plan = plan.map_err(|reason| unsupported(self.table, reason))?;
            (NativeWork::of_vectors(&plan), plan.forecast())
        };
        Ok(Assessment {
            refusal,
            work: Some(work),
            forecast,
        })
    }

    fn expiry(&self) -> Result<Assessment, PlanError> {
        let settings = Expiry::resolve(self.options, self.properties(), self.now)?;
        let plan = plan_expiry(&self.table.metadata, self.table.refs(), &settings, self.now)?;
        Ok(Assessment::planned(plan.forecast()))
    }

    fn manifests(&self, state: &TableState) -> Result<Assessment, PlanError> {
        let settings = ManifestRewrite::resolve(self.options, self.properties())?;
        let plan = plan_manifests(&self.table.metadata, &state.manifests, &settings);
        let mut forecast = plan.forecast();
        forecast.insert("manifests".to_owned(), Some(state.manifests.len() as u64));
        Ok(Assessment::planned(forecast))
    }
}

/// The columns whose statistics the plan of a filtered rewrite looks at; none of a filter that will be refused.
pub(crate) fn filtered_columns(table: &LoadedTable, options: &JobOptions) -> HashSet<i32> {
    match options.get(Action::RewriteDataFiles, "where") {
        Some(OptionValue::Text(text)) => {
            let filter = FileFilter::resolve(text, &table.metadata);
            filter.map(|filter| filter.columns()).unwrap_or_default()
        }
        _ => HashSet::new(),
    }
}

/// Why the engine refuses, taken out of the error that says so.
fn refusal_of(checked: Result<(), PlanError>) -> Result<Option<String>, PlanError> {
    match checked {
        Ok(()) => Ok(None),
        Err(PlanError::Unsupported { reason, .. }) => Ok(Some(reason)),
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests;
