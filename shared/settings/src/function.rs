//! What each function reads, in one struct, with everything that is wrong in one error.

use snowpack_catalog::{CatalogConfig, DatabaseScope};
use snowpack_domain::{Deployment, Duration, Policy, RunLimits};

use crate::catalog::{catalog, catalog_databases};
use crate::environment::{Environment, Problems, SettingsError};
use crate::policy::{policy, run_limits, table_cache_max_age};
use crate::spark::{SparkSettings, has_spark, spark};
use crate::store::{StoreSettings, queue_url, store};
use crate::telemetry::{TelemetrySettings, telemetry};

/// What every function reads that looks at tables; the API and sync read nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSettings {
    /// Jobs, locks, queue.
    pub store: StoreSettings,
    /// The catalog.
    pub catalog: CatalogConfig,
    /// Which of the catalog's databases are known.
    pub scope: DatabaseScope,
    /// What is maintained by itself, and the defaults of options and thresholds.
    pub policy: Policy,
    /// Whether there is a Spark to hand rewrites to.
    pub has_spark: bool,
    /// Oldest table cache with which the API says that it is ready.
    pub table_cache_max_age: Duration,
    /// Logs and metrics.
    pub telemetry: TelemetrySettings,
}

impl FunctionSettings {
    /// Reads everything.
    ///
    /// # Errors
    /// [`SettingsError`] naming each variable that is missing or bad.
    pub fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let store = problems.note_all(store(environment));
        let catalog = problems.note_all(catalog(environment));
        let scope = problems.note_all(catalog_databases(environment));
        let policy = problems.note_all(policy(environment));
        let has_spark = problems.note(has_spark(environment));
        let table_cache_max_age = problems.note(table_cache_max_age(environment));
        let telemetry = problems.note_all(telemetry(environment));
        let settings = (|| {
            Some(Self {
                store: store?,
                catalog: catalog?,
                scope: scope?,
                policy: policy?,
                has_spark: has_spark?,
                table_cache_max_age: table_cache_max_age?,
                telemetry: telemetry?,
            })
        })();
        problems.or(settings)
    }

    /// What all tables are maintained by, as far as they do not say otherwise.
    pub fn deployment(&self) -> Deployment {
        Deployment {
            settings: self.policy.deployment.clone(),
            has_spark: self.has_spark,
        }
    }
}

/// What the worker reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// What it reads like others.
    pub function: FunctionSettings,
    /// The Spark that rewrites are handed to, if any.
    pub spark: Option<SparkSettings>,
    /// The named point at which it kills its own process, for tests of recovery.
    pub crash_at: Option<String>,
}

impl WorkerSettings {
    /// Reads everything.
    ///
    /// # Errors
    /// [`SettingsError`] naming each variable that is missing or bad.
    pub fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let function = problems.note_all(FunctionSettings::read(environment));
        let spark = problems.note_all(spark(environment));
        let crash_at = problems.note(environment.text("SNOWPACK_CRASH_AT"));
        let settings = (|| {
            Some(Self {
                function: function?,
                spark: spark?,
                crash_at: crash_at?.map(str::to_owned),
            })
        })();
        problems.or(settings)
    }
}

/// What the orchestrator reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrchestratorSettings {
    /// What it reads like others.
    pub function: FunctionSettings,
    /// How much one run submits.
    pub limits: RunLimits,
}

impl OrchestratorSettings {
    /// Reads everything.
    ///
    /// # Errors
    /// [`SettingsError`] naming each variable that is missing or bad.
    pub fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let function = problems.note_all(FunctionSettings::read(environment));
        let limits = problems.note_all(run_limits(environment));
        let settings = function
            .zip(limits)
            .map(|(function, limits)| Self { function, limits });
        problems.or(settings)
    }
}

/// What the sweeper reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweeperSettings {
    /// Jobs, locks, queue.
    pub store: StoreSettings,
    /// The SQS queue of messages that no worker could handle.
    pub dead_letter_queue_url: String,
    /// Logs and metrics.
    pub telemetry: TelemetrySettings,
}

impl SweeperSettings {
    /// Reads everything.
    ///
    /// # Errors
    /// [`SettingsError`] naming each variable that is missing or bad.
    pub fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let store = problems.note_all(store(environment));
        let url = problems.note(queue_url(environment, "SNOWPACK_DEAD_LETTER_QUEUE_URL"));
        let telemetry = problems.note_all(telemetry(environment));
        let settings = (|| {
            Some(Self {
                store: store?,
                dead_letter_queue_url: url?.to_owned(),
                telemetry: telemetry?,
            })
        })();
        problems.or(settings)
    }
}

/// What the server on one machine reads, which is all functions in one process. Its catalog and its log are set by the
/// command line too, and read with that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Which of the catalog's databases are known.
    pub scope: DatabaseScope,
    /// What is maintained by itself, and the defaults of options and thresholds.
    pub policy: Policy,
    /// How much one run of the orchestrator submits.
    pub limits: RunLimits,
    /// The named point at which the process kills itself, for tests of recovery.
    pub crash_at: Option<String>,
}

impl ServerSettings {
    /// Reads everything.
    ///
    /// # Errors
    /// [`SettingsError`] naming each variable that is missing or bad.
    pub fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let scope = problems.note_all(catalog_databases(environment));
        let policy = problems.note_all(policy(environment));
        let limits = problems.note_all(run_limits(environment));
        let crash_at = problems.note(environment.text("SNOWPACK_CRASH_AT"));
        let settings = (|| {
            Some(Self {
                scope: scope?,
                policy: policy?,
                limits: limits?,
                crash_at: crash_at?.map(str::to_owned),
            })
        })();
        problems.or(settings)
    }
}

#[cfg(test)]
mod tests;
