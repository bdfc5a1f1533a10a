//! Options of the actions: which exist, what values they take, and how they resolve against defaults.
//!
//! Precedence (operations.md): the job's own options, then the table's `snowpack.*` properties, then the
//! deployment's settings of the same name, then Iceberg's table properties, then the default. Names and
//! meanings are Spark's (`RewriteDataFiles`, `SizeBasedFileRewritePlanner`, `ExpireSnapshots` of Iceberg 1.10).

mod manifests;
mod orphans;
mod position_deletes;
mod resolve;
mod spec;
mod verify;

use std::collections::BTreeMap;
use std::fmt;

pub use manifests::ManifestRewrite;
pub use orphans::{OrphanRemoval, PrefixMismatch};
pub use position_deletes::{DeleteGranularity, PositionDeleteCompaction};
pub use resolve::{Compaction, Deployment, Expiry, FileSizes, Properties, RewriteJobOrder, Strategy};
pub use spec::{OptionKind, OptionSpec, option_specs};
pub use verify::{UnknownVerification, Verification};

use crate::{Action, Timestamp};

/// A checked option value.
#[derive(Clone, Debug, PartialEq)]
pub enum OptionValue {
    /// A switch.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A fraction.
    Float(f64),
    /// Free text or one of a fixed choice.
    Text(String),
    /// A list of ids.
    Ints(Vec<i64>),
    /// An instant.
    Time(Timestamp),
}

/// The options of one job, by action and name. Only checked values can be put in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobOptions {
    values: BTreeMap<Action, BTreeMap<&'static str, OptionValue>>,
}

/// Why an option, or a property standing in for one, was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// The option as the caller wrote it: `action.name`, or the property's name.
    pub option: String,
    /// What is wrong and what to do.
    pub reason: String,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option {}: {}", self.option, self.reason)
    }
}

impl std::error::Error for OptionError {}

impl JobOptions {
    /// Checks one value and keeps it. A string is read as the option's type, as Spark's option maps do.
    ///
    /// # Errors
    /// [`OptionError`] when the action has no such option or the value does not fit it.
    pub fn set(&mut self, action: Action, name: &str, value: OptionValue) -> Result<(), OptionError> {
        let refuse = |reason: String| OptionError {
            option: format!("{action}.{name}"),
            reason,
        };
        let spec = option_specs(action)
            .iter()
            .find(|spec| spec.name == name)
            .ok_or_else(|| {
                let known: Vec<_> = option_specs(action).iter().map(|spec| spec.name).collect();
                refuse(format!(
                    "{action} has no such option; it takes {}",
                    known.join(", ")
                ))
            })?;
        let value = spec.kind.check(value).map_err(refuse)?;
        self.values.entry(action).or_default().insert(spec.name, value);
        Ok(())
    }

    /// The value given for an option, if any.
    pub fn get(&self, action: Action, name: &str) -> Option<&OptionValue> {
        self.values.get(&action)?.get(name)
    }

    /// Every option given, by action and then by name.
    pub fn iter(&self) -> impl Iterator<Item = (Action, &'static str, &OptionValue)> {
        self.values
            .iter()
            .flat_map(|(action, by_name)| by_name.iter().map(move |(name, value)| (*action, *name, value)))
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[cfg(test)]
mod tests;
