//! What is logged and reported of a function that runs on AWS.

use snowpack_telemetry::{Emf, LogFilter};

use crate::environment::{Environment, Problem, Problems, SettingsError};

/// What is logged unless `SNOWPACK_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";

/// Logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// What is logged.
    pub filter: LogFilter,
    /// What metrics are reported as; absent: not at all.
    pub metrics: Option<Emf>,
}

pub(crate) fn telemetry(environment: &Environment) -> Result<TelemetrySettings, SettingsError> {
    let mut problems = Problems::default();
    let filter = problems.note_all(log_filter(environment, DEFAULT_FILTER));
    let metrics = problems.note_all(metrics(environment));
    let settings = filter
        .zip(metrics)
        .map(|(filter, metrics)| TelemetrySettings { filter, metrics });
    problems.or(settings)
}

/// What `SNOWPACK_LOG` says is logged, or `default`.
///
/// # Errors
/// [`SettingsError`] when it is no text, or not a filter.
pub fn log_filter(environment: &Environment, default: &str) -> Result<LogFilter, SettingsError> {
    const VARIABLE: &str = "SNOWPACK_LOG";
    let mut problems = Problems::default();
    let given = problems.note(environment.text(VARIABLE));
    let filter = given.and_then(|given| {
        let read = LogFilter::parse(given.unwrap_or(default));
        problems.note(read.map_err(|error| Problem {
            variable: VARIABLE,
            reason: error.to_string(),
        }))
    });
    problems.or(filter)
}

/// What metrics are reported as, unless `SNOWPACK_METRICS` turns them off.
fn metrics(environment: &Environment) -> Result<Option<Emf>, SettingsError> {
    let mut problems = Problems::default();
    let enabled = problems.note(choice(environment, "SNOWPACK_METRICS", "emf", "off"));
    let per_table = problems.note(choice(environment, "SNOWPACK_TABLE_METRICS", "true", "false"));
    let deployment = problems.note(environment.text("SNOWPACK_DEPLOYMENT"));
    let metrics = (|| {
        let emf = Emf {
            deployment: deployment?.unwrap_or("snowpack").to_owned(),
            per_table: per_table?.unwrap_or(false),
        };
        Some(enabled?.unwrap_or(true).then_some(emf))
    })();
    problems.or(metrics)
}

/// Whether a variable has the one value or the other; `None` when it is not set.
fn choice(
    environment: &Environment,
    variable: &'static str,
    yes: &str,
    no: &str,
) -> Result<Option<bool>, Problem> {
    match environment.text(variable)? {
        None => Ok(None),
        Some(value) if value == yes => Ok(Some(true)),
        Some(value) if value == no => Ok(Some(false)),
        Some(value) => Err(Problem {
            variable,
            reason: format!("is {value:?}: use `{yes}` or `{no}`"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_on_and_tell_no_tables_apart_unless_told() {
        let read =
            |pairs: &[(&'static str, &'static str)]| metrics(&Environment::from_pairs(pairs.iter().copied()));
        let emf = |deployment: &str, per_table| {
            let deployment = deployment.to_owned();
            Ok(Some(Emf {
                deployment,
                per_table,
            }))
        };
        assert_eq!(read(&[]), emf("snowpack", false));
        let given = [
            ("SNOWPACK_DEPLOYMENT", "lake"),
            ("SNOWPACK_TABLE_METRICS", "true"),
        ];
        assert_eq!(read(&given), emf("lake", true));
        assert_eq!(read(&[("SNOWPACK_METRICS", "off"), given[0]]), Ok(None));
    }

    #[test]
    fn bad_values_are_named_together() {
        let bad = [("SNOWPACK_METRICS", "on"), ("SNOWPACK_TABLE_METRICS", "1")];
        let error = metrics(&Environment::from_pairs(bad)).unwrap_err();
        assert_eq!(error.0.len(), 2);
        assert!(
            error
                .to_string()
                .contains(r#"SNOWPACK_METRICS is "on": use `emf` or `off`"#),
            "{error}"
        );
    }
}
