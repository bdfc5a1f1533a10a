//! The variables a process was started with, and the one error that names everything wrong with them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;

use crate::variables::VARIABLES;

/// One bad or missing variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong and what to do.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.reason)
    }
}

/// Everything wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the settings cannot be used: {}", list(.0))]
pub struct SettingsError(pub Vec<Problem>);

fn list(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.join("; ")
}

/// The `SNOWPACK_*` variables of a process.
#[derive(Clone, Default)]
pub struct Environment {
    values: HashMap<String, OsString>,
}

/// Names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Environment {
    /// Keeps the `SNOWPACK_*` variables of these; `main` passes `std::env::vars_os()`.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let named = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        Self {
            values: variables
                .into_iter()
                .filter_map(named)
                .filter(|(name, _)| name.starts_with("SNOWPACK_"))
                .collect(),
        }
    }

    /// From literal pairs.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(pairs.into_iter().map(|(name, value)| (name.into(), value.into())))
    }

    /// A variable's value without surrounding space; empty counts as not set, as templates leave it.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        debug_assert!(
            VARIABLES.iter().any(|known| known.name == name),
            "{name} is not documented"
        );
        let Some(value) = self.values.get(name) else {
            return Ok(None);
        };
        match value.to_str().map(str::trim) {
            Some("") => Ok(None),
            Some(text) => Ok(Some(text)),
            None => Err(Problem {
                variable: name,
                reason: "is not UTF-8".to_owned(),
            }),
        }
    }

    /// A variable that must be set.
    pub(crate) fn required(&self, name: &'static str) -> Result<&str, Problem> {
        self.text(name)?.ok_or_else(|| Problem {
            variable: name,
            reason: "is not set".to_owned(),
        })
    }
}

/// Collects problems so that all of them are named at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// The value, or a note of what is wrong with it.
    pub(crate) fn note<T>(&mut self, read: Result<T, Problem>) -> Option<T> {
        read.map_err(|problem| self.0.push(problem)).ok()
    }

    /// The value of a part that names its own problems.
    pub(crate) fn note_all<T>(&mut self, read: Result<T, SettingsError>) -> Option<T> {
        read.map_err(|error| self.0.extend(error.0)).ok()
    }

    /// The settings if nothing was noted.
    pub(crate) fn or<T>(self, settings: Option<T>) -> Result<T, SettingsError> {
        match settings {
            Some(settings) if self.0.is_empty() => Ok(settings),
            _ => Err(SettingsError(self.0)),
        }
    }
}
