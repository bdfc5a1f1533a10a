//! What is maintained by itself, and how much of it at once.

use std::collections::BTreeSet;

use snowpack_domain::{DatabaseName, Duration, Enrolment, Policy, RunLimits};

use crate::deployment::deployment;
use crate::environment::{Environment, Problem, Problems, SettingsError};

/// Most jobs one run may be told to submit: its record, which lists them, is written again after each.
const MOST_SUBMISSIONS: usize = 1000;
/// Most active jobs a run may be told of: it counts them one by one.
const MOST_ACTIVE_JOBS: usize = 10_000;
/// The oldest a table cache may be: a year of seconds is as good as for ever.
const MOST_SECONDS_OF_CACHE: usize = 366 * 86_400;

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
pub(crate) fn policy(environment: &Environment) -> Result<Policy, SettingsError> {
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

/// Reads `SNOWPACK_MAX_SUBMISSIONS` and `SNOWPACK_MAX_ACTIVE_JOBS`.
///
/// # Errors
/// [`SettingsError`] naming each that is not a number of at least 1, or is too large for one run.
pub(crate) fn run_limits(environment: &Environment) -> Result<RunLimits, SettingsError> {
    let mut problems = Problems::default();
    let max_submissions = problems.note(count(
        environment,
        "SNOWPACK_MAX_SUBMISSIONS",
        50,
        MOST_SUBMISSIONS,
    ));
    let max_active_jobs = problems.note(count(
        environment,
        "SNOWPACK_MAX_ACTIVE_JOBS",
        20,
        MOST_ACTIVE_JOBS,
    ));
    let limits = max_submissions
        .zip(max_active_jobs)
        .map(|(max_submissions, max_active_jobs)| RunLimits {
            max_submissions,
            max_active_jobs,
        });
    problems.or(limits)
}

/// Reads `SNOWPACK_TABLE_CACHE_MAX_AGE_SECONDS`.
///
/// # Errors
/// A [`Problem`] when it is not a number of at least 1, or more than a year.
pub(crate) fn table_cache_max_age(environment: &Environment) -> Result<Duration, Problem> {
    let seconds = count(
        environment,
        "SNOWPACK_TABLE_CACHE_MAX_AGE_SECONDS",
        900,
        MOST_SECONDS_OF_CACHE,
    )?;
    Ok(Duration::from_seconds(seconds as i64))
}

fn count(
    environment: &Environment,
    variable: &'static str,
    default: usize,
    most: usize,
) -> Result<usize, Problem> {
    match environment.text(variable)? {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            _ => Err(Problem {
                variable,
                reason: format!("is {text:?}: use a whole number from 1 to {most}"),
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_cache_may_be_so_old() {
        let read = |value| {
            table_cache_max_age(&Environment::from_pairs([(
                "SNOWPACK_TABLE_CACHE_MAX_AGE_SECONDS",
                value,
            )]))
        };
        assert_eq!(read("").unwrap(), Duration::from_seconds(900));
        assert_eq!(read("3600").unwrap(), Duration::from_seconds(3600));
        assert_eq!(
            read("0").unwrap_err().variable,
            "SNOWPACK_TABLE_CACHE_MAX_AGE_SECONDS"
        );
    }

    #[test]
    fn a_run_has_limits() {
        let read = |value| run_limits(&Environment::from_pairs([("SNOWPACK_MAX_SUBMISSIONS", value)]));
        let default = read(" ").unwrap();
        assert_eq!((default.max_submissions, default.max_active_jobs), (50, 20));
        assert_eq!(read("7").unwrap().max_submissions, 7);
        assert_eq!(read("1000").unwrap().max_submissions, 1000);
        for wrong in ["0", "1001", "many"] {
            assert_eq!(read(wrong).unwrap_err().0[0].variable, "SNOWPACK_MAX_SUBMISSIONS");
        }
    }
}
