//! The option `verify`: how a rewrite checks its own work before it commits.

use std::fmt;
use std::str::FromStr;

use super::OptionError;
use super::resolve::{Given, Properties, or_else};

/// How much a rewrite checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: for tables whose manifests have wrong row counts.
    Off,
    /// As many rows are written as were live.
    #[default]
    Counts,
    /// What was written is read back, and holds the same rows.
    Content,
}

/// The values of the option.
pub(super) const VERIFICATIONS: &[&str] = &["off", "counts", "content"];

impl Verification {
    /// The option given, else the table's `snowpack.verify`, else the deployment's, else counts.
    pub(super) fn resolve(given: &Given<'_>, properties: Properties<'_>) -> Result<Self, OptionError> {
        let own = given.text("verify").and_then(|text| text.parse().ok());
        Ok(or_else(own, || properties.snowpack("verify"))?.unwrap_or_default())
    }

    /// The value of the option.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Counts => "counts",
            Self::Content => "content",
        }
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is none of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownVerification;

impl FromStr for Verification {
    type Err = UnknownVerification;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::Off, Self::Counts, Self::Content];
        known
            .into_iter()
            .find(|value| value.as_str() == text)
            .ok_or(UnknownVerification)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{Action, Compaction, JobOptions, OptionValue};

    #[test]
    fn the_job_wins_over_the_table_and_nonsense_is_named() {
        let resolve = |job: Option<&str>, table: Option<&str>| {
            let mut options = JobOptions::default();
            if let Some(value) = job {
                options.set(
                    Action::RewriteDataFiles,
                    "verify",
                    OptionValue::Text(value.to_owned()),
                )?;
            }
            let table = table.map(|value| ("snowpack.verify".to_owned(), value.to_owned()));
            let properties = Properties {
                table: &table.into_iter().collect(),
                deployment: &HashMap::new(),
            };
            Compaction::resolve(&options, properties).map(|settings| settings.verify)
        };
        assert_eq!(resolve(None, None), Ok(Verification::Counts));
        assert_eq!(resolve(None, Some("content")), Ok(Verification::Content));
        assert_eq!(resolve(Some("off"), Some("content")), Ok(Verification::Off));
        assert_eq!(resolve(None, Some("some")).unwrap_err().option, "snowpack.verify");
        assert_eq!(
            resolve(Some("some"), None).unwrap_err().option,
            "rewrite_data_files.verify"
        );
    }
}
