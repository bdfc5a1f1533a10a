//! What every deployed function needs to start.

use std::collections::BTreeSet;

use snowpack_catalog::{CatalogConfig, DatabaseScope};
use snowpack_domain::{DatabaseName, Deployment, Enrolment, Policy, RunLimits};
use snowpack_telemetry::Emf;

use crate::catalog::{catalog, catalog_databases};
use crate::deployment::deployment;
use crate::environment::{Environment, Problem, Problems, SettingsError};
use crate::spark::has_spark;
use crate::telemetry::metrics;

/// Where jobs are kept and queued on AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The DynamoDB table.
    pub table_name: String,
    /// The SQS queue.
    pub queue_url: String,
}

/// The point of `SNOWPACK_CRASH_AT`, where a worker's process kills itself.
///
/// # Errors
/// [`SettingsError`] when it is not text.
pub fn crash_at(environment: &Environment) -> Result<Option<String>, SettingsError> {
    let mut problems = Problems::default();
    let point = problems.note(environment.text("SNOWPACK_CRASH_AT"));
    problems.or(point.map(|point| point.map(str::to_owned)))
}

/// What the sweeper reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweeperSettings {
    /// Jobs, locks, queue.
    pub store: StoreSettings,
    /// The SQS queue of messages that no worker could handle.
    pub dead_letter_queue_url: String,
    /// What metrics are reported as; absent: not at all.
    pub metrics: Option<Emf>,
}

/// Reads `SNOWPACK_MAX_SUBMISSIONS` and `SNOWPACK_MAX_ACTIVE_JOBS`.
///
/// # Errors
/// [`SettingsError`] naming each that is not a number of at least 1.
pub fn run_limits(environment: &Environment) -> Result<RunLimits, SettingsError> {
    let mut problems = Problems::default();
    let max_submissions = problems.note(count(environment, "SNOWPACK_MAX_SUBMISSIONS", 50));
    let max_active_jobs = problems.note(count(environment, "SNOWPACK_MAX_ACTIVE_JOBS", 20));
    let limits = max_submissions
        .zip(max_active_jobs)
        .map(|(max_submissions, max_active_jobs)| RunLimits {
            max_submissions,
            max_active_jobs,
        });
    problems.or(limits)
}

fn count(environment: &Environment, variable: &'static str, default: usize) -> Result<usize, Problem> {
    match environment.text(variable)? {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(Problem {
                variable,
                reason: format!("is {text:?}: use a whole number of at least 1"),
            }),
        },
    }
}

/// Everything the functions read that look at tables.
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
    /// What metrics are reported as; absent: not at all.
    pub metrics: Option<Emf>,
}

impl StoreSettings {
    /// Reads `SNOWPACK_TABLE_NAME` and `SNOWPACK_QUEUE_URL`.
    ///
    /// # Errors
    /// [`SettingsError`] naming each that is missing or bad.
    pub fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let table_name = problems.note(environment.required("SNOWPACK_TABLE_NAME"));
        let queue_url = problems.note(queue_url(environment, "SNOWPACK_QUEUE_URL"));
        let settings = table_name.zip(queue_url).map(|(table_name, queue_url)| Self {
            table_name: table_name.to_owned(),
            queue_url: queue_url.to_owned(),
        });
        problems.or(settings)
    }
}

fn queue_url<'a>(environment: &'a Environment, variable: &'static str) -> Result<&'a str, Problem> {
    let url = environment.required(variable)?;
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(url);
    }
    Err(Problem {
        variable,
        reason: format!("is {url:?}: use the queue's https:// address, not its name or ARN"),
    })
}

impl SweeperSettings {
    /// Reads what [`StoreSettings`] and [`metrics`] read, and `SNOWPACK_DEAD_LETTER_QUEUE_URL`.
    ///
    /// # Errors
    /// [`SettingsError`] naming each that is missing or bad.
    pub fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let store = problems.note_all(StoreSettings::read(environment));
        let url = problems.note(queue_url(environment, "SNOWPACK_DEAD_LETTER_QUEUE_URL"));
        let metrics = problems.note_all(metrics(environment));
        let settings = (|| {
            Some(Self {
                store: store?,
                dead_letter_queue_url: url?.to_owned(),
                metrics: metrics?,
            })
        })();
        problems.or(settings)
    }
}

/// The databases of `SNOWPACK_DATABASES`; empty: all.
///
/// # Errors
/// [`SettingsError`] naming the first that is no database name.
fn databases(environment: &Environment) -> Result<BTreeSet<DatabaseName>, SettingsError> {
    const VARIABLE: &str = "SNOWPACK_DATABASES";
    let mut problems = Problems::default();
    let names = problems
        .note(environment.text(VARIABLE))
        .flatten()
        .unwrap_or_default();
    let given = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let checked: Result<BTreeSet<_>, _> = given.map(DatabaseName::new).collect();
    let checked = problems.note(checked.map_err(|error| Problem {
        variable: VARIABLE,
        reason: format!("has a bad entry: {error}"),
    }));
    problems.or(checked)
}

/// The enrolment of `SNOWPACK_ENROLMENT`.
///
/// # Errors
/// A [`Problem`] when it is neither of the two.
fn enrolment(environment: &Environment) -> Result<Enrolment, Problem> {
    const VARIABLE: &str = "SNOWPACK_ENROLMENT";
    match environment.text(VARIABLE)? {
        None | Some("opt-out") => Ok(Enrolment::OptOut),
        Some("opt-in") => Ok(Enrolment::OptIn),
        Some(other) => Err(Problem {
            variable: VARIABLE,
            reason: format!("is {other:?}: use opt-out or opt-in"),
        }),
    }
}

/// Which tables are maintained by themselves, and the defaults of options and thresholds.
///
/// # Errors
/// [`SettingsError`] naming each variable that is bad.
pub fn policy(environment: &Environment) -> Result<Policy, SettingsError> {
    let mut problems = Problems::default();
    let enrolment = problems.note(enrolment(environment));
    let databases = problems.note_all(databases(environment));
    let deployment = problems.note_all(deployment(environment));
    let policy = (|| {
        Some(Policy {
            enrolment: enrolment?,
            databases: databases?,
            deployment: deployment?,
        })
    })();
    problems.or(policy)
}

impl FunctionSettings {
    /// Reads everything and names everything that is wrong.
    ///
    /// # Errors
    /// [`SettingsError`] naming each variable that is missing or bad.
    pub fn read(environment: &Environment) -> Result<Self, SettingsError> {
        let mut problems = Problems::default();
        let store = problems.note_all(StoreSettings::read(environment));
        let catalog = problems.note_all(catalog(environment));
        let scope = problems.note_all(catalog_databases(environment));
        let policy = problems.note_all(policy(environment));
        let has_spark = problems.note(has_spark(environment));
        let metrics = problems.note_all(metrics(environment));
        let settings = (|| {
            Some(Self {
                store: store?,
                catalog: catalog?,
                scope: scope?,
                policy: policy?,
                has_spark: has_spark?,
                metrics: metrics?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use snowpack_catalog::CatalogKind;

    #[test]
    fn reads_a_deployment() {
        let settings = FunctionSettings::read(&Environment::from_pairs([
            ("SNOWPACK_TABLE_NAME", "snowpack"),
            ("SNOWPACK_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs"),
            ("SNOWPACK_DATABASES", "sales.eu, offers ,"),
            ("SNOWPACK_CATALOG_DATABASES", "sales.*, offers,"),
            ("SNOWPACK_ENROLMENT", "opt-in"),
            ("SNOWPACK_MIN_INPUT_FILES", " 6 "),
            ("HOME", "/root"),
        ]))
        .unwrap();
        assert_eq!(settings.catalog.kind, CatalogKind::Glue);
        assert_eq!(settings.scope, DatabaseScope::new(["sales.*", "offers"]));
        let policy = settings.policy;
        let names: Vec<_> = policy.databases.iter().map(DatabaseName::as_str).collect();
        assert_eq!(names, ["offers", "sales.eu"]);
        assert_eq!(policy.enrolment, Enrolment::OptIn);
        assert_eq!(policy.deployment["min_input_files"], "6");
        assert!(!settings.has_spark);
    }

    #[test]
    fn any_function_knows_whether_there_is_spark() {
        let given = [
            ("SNOWPACK_TABLE_NAME", "snowpack"),
            ("SNOWPACK_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs"),
        ];
        for (application, expected) in [("00f1", true), ("", false)] {
            let with = [&given[..], &[("SNOWPACK_SPARK_APPLICATION_ID", application)]].concat();
            let settings = FunctionSettings::read(&Environment::from_pairs(with)).unwrap();
            assert_eq!(settings.deployment().has_spark, expected);
        }
    }

    #[test]
    fn a_run_has_limits() {
        let read = |value| run_limits(&Environment::from_pairs([("SNOWPACK_MAX_SUBMISSIONS", value)]));
        let default = read(" ").unwrap();
        assert_eq!((default.max_submissions, default.max_active_jobs), (50, 20));
        assert_eq!(read("7").unwrap().max_submissions, 7);
        assert_eq!(read("0").unwrap_err().0[0].variable, "SNOWPACK_MAX_SUBMISSIONS");
    }

    #[test]
    fn the_sweeper_needs_both_queues() {
        let given = [
            ("SNOWPACK_TABLE_NAME", "snowpack"),
            ("SNOWPACK_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs"),
            (
                "SNOWPACK_DEAD_LETTER_QUEUE_URL",
                "https://sqs.eu-west-1.amazonaws.com/1/dead",
            ),
        ];
        let settings = SweeperSettings::read(&Environment::from_pairs(given)).unwrap();
        assert!(settings.dead_letter_queue_url.ends_with("/dead"));
        let error = SweeperSettings::read(&Environment::from_pairs([given[0]])).unwrap_err();
        let named: Vec<_> = error.0.iter().map(|problem| problem.variable).collect();
        assert_eq!(named, ["SNOWPACK_QUEUE_URL", "SNOWPACK_DEAD_LETTER_QUEUE_URL"]);
    }

    #[test]
    fn names_everything_that_is_wrong_in_one_error() {
        let error = FunctionSettings::read(&Environment::from_pairs([
            ("SNOWPACK_TABLE_NAME", ""),
            ("SNOWPACK_QUEUE_URL", "jobs"),
            ("SNOWPACK_CATALOG", "sql"),
            ("SNOWPACK_ENROLMENT", "all"),
            ("SNOWPACK_DATABASES", "a/b"),
            ("SNOWPACK_MIN_INPUT_FILES", "x"),
        ]))
        .unwrap_err();
        let named: Vec<_> = error.0.iter().map(|problem| problem.variable).collect();
        assert_eq!(
            named,
            [
                "SNOWPACK_TABLE_NAME",
                "SNOWPACK_QUEUE_URL",
                "SNOWPACK_CATALOG_URI",
                "SNOWPACK_ENROLMENT",
                "SNOWPACK_DATABASES",
                "SNOWPACK_MIN_INPUT_FILES"
            ]
        );
        for name in named {
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
