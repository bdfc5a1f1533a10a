//! The engine that hands over: it decides for each action between the native engine and a run of Spark, starts such
//! runs, looks how they are, and turns what they leave into results.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use snowpack_catalog::{Catalog, CatalogError, LoadedTable};
use snowpack_domain::{
    Action, ActionResult, Duration, EngineChoice, EngineDecision, HandOver, JobOptions, Metric, OptionError,
    Progress, RemoteRun, TableId,
};
use snowpack_plan::{Intent, NativeWork, PlanError, told};
use snowpack_service::ports::{
    ActionStop, Clock, Engine, Provenance, RemoteError, RunStatus, SparkRuns, Supervisor,
};
use snowpack_telemetry::events::{REMOTE_RUN_ENDED, REMOTE_RUN_STARTED};

use crate::order::{OrderError, order, token};
use crate::output::{OutputError, beside, read_output};

/// Between two looks at a run, in seconds: a tenth of its age, as far as these bounds. A small run is noticed soon, a
/// long one costs little; SQS delays no message beyond 900 s.
const SOONEST_LOOK_SECONDS: i64 = 20;
const LATEST_LOOK_SECONDS: i64 = 120;
/// How long looks may be in vain before they cost attempts: longer than any run takes (`aws::emr`), so that a service
/// that is away for a while fails no job whose run goes on.
const PATIENCE: Duration = Duration::from_seconds(13 * 3600);

/// Runs actions natively or on Spark, as table and deployment say.
#[derive(Debug)]
pub struct HandingOver<N, C, K, R> {
    native: N,
    catalog: Arc<C>,
    clock: K,
    deployment: HashMap<String, String>,
    runs: Option<R>,
}

impl<N: Engine, C: Catalog, K: Clock, R: SparkRuns> HandingOver<N, C, K, R> {
    /// An engine over the native one, for the tables of `catalog`. `deployment` is what the native engine has;
    /// without `runs` everything is native, and tables that ask for Spark are refused.
    pub fn new(
        native: N,
        catalog: Arc<C>,
        clock: K,
        deployment: HashMap<String, String>,
        runs: Option<R>,
    ) -> Self {
        Self {
            native,
            catalog,
            clock,
            deployment,
            runs,
        }
    }

    fn intent<'a>(&'a self, table: &'a LoadedTable, action: Action, options: &'a JobOptions) -> Intent<'a> {
        Intent {
            table,
            action,
            options,
            deployment: &self.deployment,
            now: self.clock.now(),
        }
    }

    /// Decides by the metadata file alone. What only a plan tells is decided when the action runs.
    async fn check(&self, table: &TableId, action: Action, options: &JobOptions) -> Result<(), Stop> {
        let loaded = self.catalog.load(table).await?;
        let intent = self.intent(&loaded, action, options);
        match intent.decide(&intent.glance()?, self.runs.is_some())? {
            EngineDecision::Native => Ok(self.native.preflight(table, &[action], options).await?),
            EngineDecision::Refuse { why } => Err(Stop::Refused(why)),
            // Spark would read them too, but not as strictly: a filter may do no more than it does natively.
            EngineDecision::Spark { .. } => Ok(intent.check_options()?),
        }
    }

    async fn act<S: Supervisor>(
        &self,
        errand: &Errand<'_>,
        supervisor: Arc<S>,
    ) -> Result<ActionResult, Stop> {
        let Errand { action, .. } = *errand;
        if let Some(run) = supervisor.remote_run(action) {
            return self.look(errand, run).await;
        }
        let table = self.catalog.load(errand.table).await?;
        let intent = self.intent(&table, action, errand.options);
        if HandOver::resolve(intent.properties())?.choice == EngineChoice::Native {
            return self.run_natively(errand, supervisor).await;
        }
        let known = intent.assess().await?;
        match intent.decide(&known, self.runs.is_some())? {
            EngineDecision::Native => self.run_natively(errand, supervisor).await,
            EngineDecision::Refuse { why } => Err(Stop::Refused(why)),
            EngineDecision::Spark { why } => match known.work.filter(NativeWork::is_nothing) {
                Some(nothing) => Ok(nothing_to_do(action, &nothing, told(known.forecast))),
                None => {
                    let id = self.start(&intent, errand.provenance, supervisor.as_ref(), &why);
                    let run = RemoteRun {
                        action,
                        id: id.await?,
                        started_at: self.clock.now(),
                        predicted: told(known.forecast),
                    };
                    Err(going_on(run, Duration::from_seconds(0)))
                }
            },
        }
    }

    async fn run_natively<S: Supervisor>(
        &self,
        errand: &Errand<'_>,
        supervisor: Arc<S>,
    ) -> Result<ActionResult, Stop> {
        let Errand {
            table,
            action,
            options,
            provenance,
        } = *errand;
        // On the heap: the native engine's state machine is large.
        let run = Box::pin(self.native.run(table, action, options, provenance, supervisor));
        Ok(run.await?)
    }

    /// Starts a run, and returns its id.
    async fn start<S: Supervisor>(
        &self,
        intent: &Intent<'_>,
        provenance: &Provenance,
        supervisor: &S,
        why: &str,
    ) -> Result<String, Stop> {
        let Intent {
            table,
            action,
            options,
            now,
            ..
        } = *intent;
        let order = order(&table.id, action, options, intent.properties(), provenance, now)?;
        supervisor.progress(Progress {
            action,
            done: 0,
            total: 1,
            unit: "spark_runs".to_owned(),
        });
        supervisor.checkpoint().await?;
        let id = self.runs()?.start(&order).await?;
        tracing::info!(
            event = REMOTE_RUN_STARTED.name,
            table = %table.id,
            %action,
            run = id,
            token = order.token,
            cause = %why
        );
        Ok(id)
    }

    /// Looks how the run is; its end is the action's.
    async fn look(&self, errand: &Errand<'_>, run: RemoteRun) -> Result<ActionResult, Stop> {
        let age = self.clock.now() - run.started_at;
        match self.end_of(errand, &run, age).await {
            Ok(None) => Err(going_on(run, age)),
            Ok(Some(result)) => Ok(result),
            Err(Stop::Remote(RemoteError::Unavailable(reason))) if age < PATIENCE => {
                tracing::warn!(table = %errand.table, action = %run.action, run = run.id, reason, "looked in vain");
                Err(going_on(run, age))
            }
            Err(stop) => Err(stop),
        }
    }

    /// The result of a run that is over; `None` while it goes on.
    async fn end_of(
        &self,
        errand: &Errand<'_>,
        run: &RemoteRun,
        age: Duration,
    ) -> Result<Option<ActionResult>, Stop> {
        let runs = self.runs()?;
        let id = || run.id.clone();
        let status = runs.status(&run.id).await?;
        if status == RunStatus::Going {
            return Ok(None);
        }
        tracing::info!(
            event = REMOTE_RUN_ENDED.name,
            table = %errand.table,
            action = %run.action,
            run = run.id,
            ?status
        );
        let output = match status {
            RunStatus::Unknown => return Err(Stop::Lost(id())),
            _ => runs.output(&token(run.action, errand.provenance)?).await?,
        };
        match (status, output) {
            (RunStatus::Failed(reason), output) => Err(failure_of(run, reason, output.as_deref())),
            (_, Some(document)) => {
                let result = read_output(run.action, &document, age)?;
                Ok(Some(beside(&run.predicted, result)))
            }
            (_, None) => Err(Stop::NoOutput(id())),
        }
    }

    fn runs(&self) -> Result<&R, Stop> {
        self.runs.as_ref().ok_or(Stop::NoSpark)
    }
}

/// One action to run.
#[derive(Clone, Copy)]
struct Errand<'a> {
    table: &'a TableId,
    action: Action,
    options: &'a JobOptions,
    provenance: &'a Provenance,
}

fn going_on(run: RemoteRun, age: Duration) -> Stop {
    let tenth = age.as_micros() / 10_000_000;
    let seconds = tenth.clamp(SOONEST_LOOK_SECONDS, LATEST_LOOK_SECONDS);
    Stop::Asked(ActionStop::Elsewhere {
        run,
        resume_after_seconds: u32::try_from(seconds).expect("it is within its bounds"),
    })
}

/// Why a run failed: in the words of the script, which say more than the service's, if it got so far.
fn failure_of(run: &RemoteRun, reason: String, output: Option<&str>) -> Stop {
    let said = output.map(|document| read_output(run.action, document, Duration::from_seconds(0)));
    match said {
        Some(Err(error @ OutputError::Failed(_))) => error.into(),
        _ => Stop::RunFailed(run.id.clone(), reason),
    }
}

/// Starting Spark for nothing costs minutes and money. What the plan says is what was done.
fn nothing_to_do(action: Action, work: &NativeWork, predicted: BTreeMap<String, u64>) -> ActionResult {
    let noun = match action {
        Action::RewriteDataFiles => "data",
        _ => "position delete",
    };
    ActionResult {
        action,
        outcome: Ok(format!(
            "Nothing to do: none of {} {noun} files needs a rewrite",
            work.files_considered
        )),
        elapsed_seconds: 0.0,
        metrics: predicted
            .iter()
            .map(|(name, count)| (name.clone(), Metric::Count(*count)))
            .collect(),
        predicted,
        preview: None,
    }
}

/// Why an action stopped here.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("stopped")]
    Asked(ActionStop),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("Spark: {0}")]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{0}")]
    Refused(String),
    #[error(
        "a run of Spark does this action, and this deployment has no Spark any more: \
         set SNOWPACK_SPARK_APPLICATION_ID again"
    )]
    NoSpark,
    #[error(
        "run {0} of Spark is not known any more; what it committed stays: submit the job again for the rest"
    )]
    Lost(String),
    #[error("run {0} of Spark ended well but left no result; what it committed stays")]
    NoOutput(String),
    #[error("run {0} of Spark failed: {1}; its driver's log has more")]
    RunFailed(String, String),
}

impl From<ActionStop> for Stop {
    fn from(stop: ActionStop) -> Self {
        Self::Asked(stop)
    }
}

impl From<Stop> for ActionStop {
    fn from(stop: Stop) -> Self {
        let retry = match &stop {
            Stop::Catalog(error) => error.is_transient(),
            Stop::Plan(error) => error.is_transient(),
            Stop::Remote(error) => matches!(error, RemoteError::Unavailable(_)),
            _ => false,
        };
        match stop {
            Stop::Asked(stop) => stop,
            failed => Self::Failed {
                cause: failed.to_string(),
                retry,
            },
        }
    }
}

impl<N: Engine, C: Catalog, K: Clock, R: SparkRuns> Engine for HandingOver<N, C, K, R> {
    async fn preflight(
        &self,
        table: &TableId,
        actions: &[Action],
        options: &JobOptions,
    ) -> Result<(), ActionStop> {
        for action in actions {
            self.check(table, *action, options).await?;
        }
        Ok(())
    }

    async fn run<S: Supervisor>(
        &self,
        table: &TableId,
        action: Action,
        options: &JobOptions,
        provenance: &Provenance,
        supervisor: Arc<S>,
    ) -> Result<ActionResult, ActionStop> {
        let errand = Errand {
            table,
            action,
            options,
            provenance,
        };
        Ok(self.act(&errand, supervisor).await?)
    }

    async fn abandon(&self, run: &RemoteRun) -> Result<(), RemoteError> {
        match &self.runs {
            Some(runs) => runs.cancel(&run.id).await,
            None => Err(RemoteError::Refused(
                "this deployment has no Spark any more".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
