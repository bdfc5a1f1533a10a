//! Where rewrites are handed to, if anywhere.

use std::collections::BTreeMap;

use crate::environment::{Environment, Problem, Problems, SettingsError};

const APPLICATION: &str = "SNOWPACK_SPARK_APPLICATION_ID";
const ROLE: &str = "SNOWPACK_SPARK_EXECUTION_ROLE_ARN";
const LOCATION: &str = "SNOWPACK_SPARK_LOCATION";
const CONF: &str = "SNOWPACK_SPARK_CONF";

/// An application of EMR Serverless, and what its runs need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparkSettings {
    /// The application.
    pub application_id: String,
    /// The role of the runs.
    pub execution_role_arn: String,
    /// Where scripts, orders and results go: `s3://bucket/prefix`.
    pub location: String,
    /// Settings of Spark besides ours.
    pub conf: BTreeMap<String, String>,
}

/// Reads `SNOWPACK_SPARK_*`; `None` when there is no application.
///
/// # Errors
/// [`SettingsError`] naming each variable that is bad, missing beside an application, or set without one.
pub fn spark(environment: &Environment) -> Result<Option<SparkSettings>, SettingsError> {
    let mut problems = Problems::default();
    let Some(application) = problems.note(environment.text(APPLICATION)).flatten() else {
        let useless = [ROLE, LOCATION, CONF]
            .into_iter()
            .filter(|name| !matches!(environment.text(name), Ok(None)));
        for variable in useless {
            problems.note::<()>(Err(Problem {
                variable,
                reason: format!("is set without {APPLICATION}: set that too, or neither"),
            }));
        }
        return problems.or(Some(None));
    };
    let role = problems.note(environment.required(ROLE));
    let location = problems.note(location(environment));
    let conf = problems.note(conf(environment));
    let settings = (|| {
        Some(SparkSettings {
            application_id: application.to_owned(),
            execution_role_arn: role?.to_owned(),
            location: location?.to_owned(),
            conf: conf?,
        })
    })();
    problems.or(settings.map(Some))
}

/// Whether the deployment has an application. Only its worker needs to know more of it.
///
/// # Errors
/// A [`Problem`] when the variable is not text.
pub(crate) fn has_spark(environment: &Environment) -> Result<bool, Problem> {
    Ok(environment.text(APPLICATION)?.is_some())
}

fn location(environment: &Environment) -> Result<&str, Problem> {
    let given = environment.required(LOCATION)?.trim_end_matches('/');
    let prefix = given.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    match prefix {
        Some((bucket, prefix)) if !bucket.is_empty() && !prefix.is_empty() => Ok(given),
        _ => Err(Problem {
            variable: LOCATION,
            reason: format!("is {given:?}: use s3://bucket/prefix"),
        }),
    }
}

fn conf(environment: &Environment) -> Result<BTreeMap<String, String>, Problem> {
    let given = environment.text(CONF)?.unwrap_or_default();
    let pairs = given.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    let read = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if name.trim().starts_with("spark.") => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        // The pair is not repeated: it may be a secret.
        _ => Err(Problem {
            variable: CONF,
            reason: "has an entry that is not spark.NAME=VALUE".to_owned(),
        }),
    };
    pairs.map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<SparkSettings>, SettingsError> {
        spark(&Environment::from_pairs(pairs.iter().copied()))
    }

    fn named(error: &SettingsError) -> Vec<&'static str> {
        error.0.iter().map(|problem| problem.variable).collect()
    }

    #[test]
    fn without_an_application_there_is_no_spark() {
        assert_eq!(
            read(&[(APPLICATION, ""), (ROLE, ""), (LOCATION, ""), (CONF, "")]).unwrap(),
            None
        );
        let useless = read(&[(ROLE, "arn"), (CONF, "spark.a=b")]).unwrap_err();
        assert_eq!(named(&useless), [ROLE, CONF]);
        assert!(useless.to_string().contains(APPLICATION));
    }

    #[test]
    fn everything_an_application_needs_is_named_at_once() {
        assert_eq!(
            named(&read(&[(APPLICATION, "00f1")]).unwrap_err()),
            [ROLE, LOCATION]
        );
        let bad = [(LOCATION, "s3://bucket"), (CONF, "secret")];
        let error = read(&[&[(APPLICATION, "00f1"), (ROLE, "arn")], &bad[..]].concat()).unwrap_err();
        assert_eq!(named(&error), [LOCATION, CONF]);
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn settings_of_spark_are_pairs() {
        let given = [
            (APPLICATION, "00f1"),
            (ROLE, "arn"),
            (LOCATION, "s3://bucket/spark/"),
            (CONF, " spark.executor.memory=8g; spark.a=b=c ;"),
        ];
        let settings = read(&given).unwrap().unwrap();
        assert_eq!(settings.location, "s3://bucket/spark");
        assert_eq!(settings.conf["spark.executor.memory"], "8g");
        assert_eq!(settings.conf["spark.a"], "b=c");
    }
}
