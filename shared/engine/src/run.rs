//! The engine behind the port: checks what is asked, loads the table, runs the action, measures, reports.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use snowpack_catalog::{Catalog, LoadedTable};
use snowpack_domain::{
    Action, ActionResult, Compaction, Expiry, JobOptions, ManifestRewrite, OptionError, OrphanRemoval,
    PositionDeleteCompaction, Properties, TableId,
};
use snowpack_plan::{
    ACTION_SUMMARY_KEY, JOB_SUMMARY_KEY, check_manifest_settings, check_metadata,
    check_position_delete_settings, check_settings,
};
use snowpack_service::ports::{ActionStop, Clock, Engine, Provenance, Supervisor};

use crate::commit::Committer;
use crate::error::EngineError;
use crate::expire::{ExpireProposal, expire_snapshots};
use crate::manifests::{ManifestsProposal, rewrite_manifests};
use crate::orphans::{self, OrphanFiles};
use crate::position_deletes::PositionDeleteRewrite;
use crate::report::Report;
use crate::rewrite::Rewrite;

/// Runs actions natively on the tables of one catalog.
#[derive(Debug)]
pub struct MaintenanceEngine<C, K> {
    catalog: Arc<C>,
    clock: K,
    deployment: HashMap<String, String>,
}

impl<C: Catalog, K: Clock> MaintenanceEngine<C, K> {
    /// An engine for the tables of `catalog`. `deployment` holds the deployment's settings, named like the
    /// `snowpack.*` table properties without that prefix.
    pub fn new(catalog: Arc<C>, clock: K, deployment: HashMap<String, String>) -> Self {
        Self {
            catalog,
            clock,
            deployment,
        }
    }

    fn compaction(&self, table: &LoadedTable, options: &JobOptions) -> Result<Compaction, OptionError> {
        Compaction::resolve(options, self.properties(table))
    }

    fn properties<'a>(&'a self, table: &'a LoadedTable) -> Properties<'a> {
        Properties {
            table: table.metadata.properties(),
            deployment: &self.deployment,
        }
    }

    async fn check(
        &self,
        table: &TableId,
        actions: &[Action],
        options: &JobOptions,
    ) -> Result<(), EngineError> {
        let table = self.catalog.load(table).await?;
        check_metadata(&table)?;
        if actions.contains(&Action::RewriteDataFiles) {
            check_settings(&table, &self.compaction(&table, options)?)?;
        }
        if actions.contains(&Action::RewritePositionDeleteFiles) {
            let settings = PositionDeleteCompaction::resolve(options, self.properties(&table))?;
            check_position_delete_settings(&table, &settings)?;
        }
        if actions.contains(&Action::ExpireSnapshots) {
            Expiry::resolve(options, self.properties(&table), self.clock.now())?;
        }
        if actions.contains(&Action::RewriteManifests) {
            self.manifest_rewrite(&table, options)?;
        }
        if actions.contains(&Action::RemoveOrphanFiles) {
            let settings = OrphanRemoval::resolve(options, self.properties(&table), self.clock.now())?;
            orphans::check(&table, &settings)?;
        }
        Ok(())
    }

    fn manifest_rewrite(
        &self,
        table: &LoadedTable,
        options: &JobOptions,
    ) -> Result<ManifestRewrite, EngineError> {
        let settings = ManifestRewrite::resolve(options, self.properties(table))?;
        check_manifest_settings(table, &settings)?;
        Ok(settings)
    }

    async fn act<S: Supervisor>(&self, task: Task<'_, S>) -> Result<Report, EngineError> {
        let table = self.catalog.load(task.table).await?;
        check_metadata(&table)?;
        let committer = Committer {
            catalog: self.catalog.as_ref(),
            table: task.table,
            supervisor: task.supervisor.as_ref(),
        };
        match task.action {
            Action::RewriteDataFiles => {
                let rewrite = Rewrite {
                    committer: &committer,
                    supervisor: &task.supervisor,
                    settings: self.compaction(&table, task.options)?,
                    job: task.provenance.job.as_ref(),
                    summary: summary(task.action, task.provenance),
                    now: || self.clock.now(),
                };
                rewrite.run(&table).await
            }
            Action::RewritePositionDeleteFiles => {
                let rewrite = PositionDeleteRewrite {
                    committer: &committer,
                    supervisor: &task.supervisor,
                    settings: PositionDeleteCompaction::resolve(task.options, self.properties(&table))?,
                    job: task.provenance.job.as_ref(),
                    summary: summary(task.action, task.provenance),
                    now: || self.clock.now(),
                };
                rewrite.run(&table).await
            }
            Action::ExpireSnapshots => {
                let now = self.clock.now();
                let proposal = ExpireProposal {
                    uuid: table.metadata.uuid(),
                    settings: Expiry::resolve(task.options, self.properties(&table), now)?,
                    now,
                };
                let forecast = proposal.forecast(&table)?;
                expire_snapshots(&committer, &proposal, &table, forecast).await
            }
            Action::RewriteManifests => {
                let proposal = ManifestsProposal {
                    uuid: table.metadata.uuid(),
                    settings: self.manifest_rewrite(&table, task.options)?,
                    summary: summary(task.action, task.provenance),
                    supervisor: task.supervisor.as_ref(),
                    now: || self.clock.now(),
                    job: task.provenance.job.as_ref(),
                    work: Default::default(),
                };
                rewrite_manifests(&committer, proposal, &table.io).await
            }
            Action::RemoveOrphanFiles => {
                let now = self.clock.now();
                let removal = OrphanFiles {
                    catalog: self.catalog.as_ref(),
                    supervisor: task.supervisor.as_ref(),
                    settings: OrphanRemoval::resolve(task.options, self.properties(&table), now)?,
                };
                removal.run(&table).await
            }
        }
    }
}

/// One action to run.
struct Task<'a, S> {
    table: &'a TableId,
    action: Action,
    options: &'a JobOptions,
    provenance: &'a Provenance,
    supervisor: Arc<S>,
}

impl<C: Catalog, K: Clock> Engine for MaintenanceEngine<C, K> {
    async fn preflight(
        &self,
        table: &TableId,
        actions: &[Action],
        options: &JobOptions,
    ) -> Result<(), ActionStop> {
        self.check(table, actions, options)
            .await
            .map_err(EngineError::into_stop)
    }

    async fn run<S: Supervisor>(
        &self,
        table: &TableId,
        action: Action,
        options: &JobOptions,
        provenance: &Provenance,
        supervisor: Arc<S>,
    ) -> Result<ActionResult, ActionStop> {
        let started = self.clock.now();
        let task = Task {
            table,
            action,
            options,
            provenance,
            supervisor,
        };
        let acting = AssertUnwindSafe(Box::pin(self.act(task))).catch_unwind();
        let report = acting
            .await
            .unwrap_or_else(|panic| Err(EngineError::panicked(table, panic.as_ref())))
            .map_err(EngineError::into_stop)?;
        let elapsed = self.clock.now() - started;
        Ok(ActionResult {
            action,
            outcome: Ok(report.message),
            elapsed_seconds: elapsed.as_micros().max(0) as f64 / 1e6,
            metrics: report.metrics,
            predicted: report.predicted,
            preview: None,
        })
    }
}

/// What the snapshot summary of a commit says about who made it.
fn summary(action: Action, provenance: &Provenance) -> BTreeMap<String, String> {
    let mut summary = BTreeMap::from([
        ("engine-name".to_owned(), "snowpack".to_owned()),
        ("engine-version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (ACTION_SUMMARY_KEY.to_owned(), action.to_string()),
        ("snowpack.fence".to_owned(), provenance.fence.to_string()),
    ]);
    if let Some(job) = &provenance.job {
        summary.insert(JOB_SUMMARY_KEY.to_owned(), job.to_string());
    }
    summary
}

#[cfg(test)]
mod tests;
