//! Whole environments: what a deployment's says, and that everything wrong with one is in one error.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use snowpack_catalog::CatalogKind;
use snowpack_domain::{DatabaseName, Enrolment};

use super::*;

const JOBS: (&str, &str) = ("SNOWPACK_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs");
const STORE: (&str, &str) = ("SNOWPACK_TABLE_NAME", "snowpack");

/// A value that is wrong of each kind that the functions share, and what must be named for them.
const WRONG: [(&str, &str); 10] = [
    ("SNOWPACK_TABLE_NAME", ""),
    ("SNOWPACK_QUEUE_URL", "jobs"),
    ("SNOWPACK_CATALOG", "sql"),
    ("SNOWPACK_ENROLMENT", "all"),
    ("SNOWPACK_DATABASES", "a/b"),
    ("SNOWPACK_MIN_INPUT_FILES", "x"),
    ("SNOWPACK_ENGINE", "Spark"),
    ("SNOWPACK_LOG", "snowpack=loud"),
    ("SNOWPACK_METRICS", "on"),
    ("SNOWPACK_TABLE_METRICS", "1"),
];
const NAMED: [&str; 10] = [
    "SNOWPACK_TABLE_NAME",
    "SNOWPACK_QUEUE_URL",
    "SNOWPACK_CATALOG_URI",
    "SNOWPACK_ENROLMENT",
    "SNOWPACK_DATABASES",
    "SNOWPACK_MIN_INPUT_FILES",
    "SNOWPACK_ENGINE",
    "SNOWPACK_LOG",
    "SNOWPACK_METRICS",
    "SNOWPACK_TABLE_METRICS",
];

fn names(error: &SettingsError) -> Vec<&'static str> {
    error.0.iter().map(|problem| problem.variable).collect()
}

/// The environment of everything wrong, and these.
fn wrong(further: &[(&'static str, &'static str)]) -> Environment {
    Environment::from_pairs(WRONG.iter().chain(further).copied())
}

#[test]
fn reads_a_deployment() {
    let settings = FunctionSettings::read(&Environment::from_pairs([
        STORE,
        JOBS,
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
}

#[test]
fn the_sweeper_needs_both_queues() {
    let dead = (
        "SNOWPACK_DEAD_LETTER_QUEUE_URL",
        "https://sqs.eu-west-1.amazonaws.com/1/dead",
    );
    let settings = SweeperSettings::read(&Environment::from_pairs([STORE, JOBS, dead])).unwrap();
    assert!(settings.dead_letter_queue_url.ends_with("/dead"));
    let bad = [STORE, ("SNOWPACK_LOG", "snowpack=loud")];
    let error = SweeperSettings::read(&Environment::from_pairs(bad)).unwrap_err();
    let expected = [JOBS.0, dead.0, "SNOWPACK_LOG"];
    assert_eq!(names(&error), expected);
}

#[test]
fn everything_that_is_wrong_is_named_in_one_error() {
    let error = FunctionSettings::read(&wrong(&[])).unwrap_err();
    assert_eq!(names(&error), NAMED);
    for name in NAMED {
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn what_only_one_function_reads_is_named_with_the_rest() {
    let limits = ["SNOWPACK_MAX_SUBMISSIONS", "SNOWPACK_MAX_ACTIVE_JOBS"];
    let error = OrchestratorSettings::read(&wrong(&[(limits[0], "0"), (limits[1], "all")])).unwrap_err();
    assert_eq!(names(&error), [&NAMED[..], &limits].concat());

    let application = ("SNOWPACK_SPARK_APPLICATION_ID", "00f1");
    let error = WorkerSettings::read(&wrong(&[application])).unwrap_err();
    let spark = [
        "SNOWPACK_SPARK_APPLICATION_ID",
        "SNOWPACK_SPARK_EXECUTION_ROLE_ARN",
        "SNOWPACK_SPARK_LOCATION",
    ];
    assert_eq!(names(&error), [&NAMED[..], &spark].concat());

    let error = ServerSettings::read(&wrong(&[(limits[0], "0")])).unwrap_err();
    assert_eq!(names(&error), [&NAMED[3..7], &limits[..1]].concat());
}

#[test]
fn what_is_no_text_is_named_too() {
    let variables = ["SNOWPACK_TABLE_NAME", "SNOWPACK_LOG", "SNOWPACK_CRASH_AT"];
    let bytes = || OsString::from_vec(vec![0xff]);
    let environment = variables.map(|name| (name.into(), bytes()));
    let queue = [(JOBS.0.into(), JOBS.1.into())];
    let error = WorkerSettings::read(&Environment::new(environment.into_iter().chain(queue))).unwrap_err();
    assert_eq!(names(&error), variables);
    assert!(error.to_string().contains("SNOWPACK_LOG is not UTF-8"), "{error}");
}

#[test]
fn any_function_knows_whether_there_is_spark() {
    for (application, expected) in [("00f1", true), ("", false)] {
        let given = [STORE, JOBS, ("SNOWPACK_SPARK_APPLICATION_ID", application)];
        let settings = FunctionSettings::read(&Environment::from_pairs(given)).unwrap();
        assert_eq!(settings.deployment().has_spark, expected);
    }
}
