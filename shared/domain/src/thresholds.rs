//! When a table counts as needing maintenance (operations.md, Recommendation thresholds), apart from the settings of
//! the actions themselves.

use std::collections::HashMap;

use crate::{Duration, OptionError, Properties};

/// Table properties that keep a table from everything the system does by itself. The first is also a convention of
/// other maintenance systems.
pub(crate) const SKIP_PROPERTIES: [&str; 2] = ["compaction_skip", "snowpack.compaction_skip"];

/// A table's own wish: to be maintained or not.
pub(crate) const ENABLED_PROPERTY: &str = "snowpack.maintenance_enabled";

/// Thresholds of one table: its properties, else the deployment's settings, else the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Whether the table says it is to be maintained; absent when it says nothing.
    pub maintenance_enabled: Option<bool>,
    /// Whether the table is excluded from everything the system does by itself, whatever else it says.
    pub skipped: bool,
    /// Least time between two jobs that the system submits.
    pub cadence: Duration,
    /// Small files that are too many.
    pub min_input_files: u64,
    /// Delete files that are too many.
    pub delete_file_threshold: u64,
    /// Snapshots that are still not too many.
    pub max_snapshot_count: u64,
    /// Manifests that are still not too many.
    pub max_manifest_count: u64,
    /// Least time between two searches for orphan files.
    pub orphan_scan_cadence: Duration,
}

impl Thresholds {
    /// Reads a table's properties and the deployment's settings.
    ///
    /// # Errors
    /// [`OptionError`] naming a property that cannot be read.
    pub fn resolve(properties: Properties<'_>) -> Result<Self, OptionError> {
        let count = |name, default: u64| Ok::<_, OptionError>(properties.snowpack(name)?.unwrap_or(default));
        let hours: u32 = properties.snowpack("maintenance_cadence_hours")?.unwrap_or(6);
        let days: u32 = properties.snowpack("orphan_scan_cadence_days")?.unwrap_or(7);
        Ok(Self {
            maintenance_enabled: flag(properties.table, ENABLED_PROPERTY)?,
            skipped: is_skipped(properties.table)?,
            cadence: Duration::from_seconds(i64::from(hours) * 3600),
            min_input_files: count("min_input_files", 5)?,
            delete_file_threshold: count("delete_file_threshold", 5)?,
            max_snapshot_count: count("max_snapshot_count", 100)?,
            max_manifest_count: count("max_manifest_count", 100)?,
            orphan_scan_cadence: Duration::from_days(i64::from(days)),
        })
    }
}

fn is_skipped(table: &HashMap<String, String>) -> Result<bool, OptionError> {
    for property in SKIP_PROPERTIES {
        if flag(table, property)? == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A flag of the table; absent when not set.
fn flag(table: &HashMap<String, String>, property: &str) -> Result<Option<bool>, OptionError> {
    let Some(text) = table.get(property) else {
        return Ok(None);
    };
    let refused = || OptionError {
        option: property.to_owned(),
        reason: format!("the value {text:?} is neither true nor false; correct or remove it"),
    };
    read_flag(text).map(Some).ok_or_else(refused)
}

/// `true` or `false` in any case, as people who know Java's `Boolean.parseBoolean` write them.
pub(crate) fn read_flag(text: &str) -> Option<bool> {
    text.trim().to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(table: &[(&str, &str)], deployment: &[(&str, &str)]) -> Result<Thresholds, OptionError> {
        let map = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            owned.collect::<HashMap<_, _>>()
        };
        let (table, deployment) = (map(table), map(deployment));
        Thresholds::resolve(Properties {
            table: &table,
            deployment: &deployment,
        })
    }

    #[test]
    fn a_table_beats_the_deployment_which_beats_the_default() {
        let defaults = resolve(&[], &[]).unwrap();
        assert_eq!(defaults.cadence, Duration::from_seconds(6 * 3600));
        assert_eq!((defaults.min_input_files, defaults.delete_file_threshold), (5, 5));
        assert_eq!(
            (defaults.max_snapshot_count, defaults.max_manifest_count),
            (100, 100)
        );
        assert_eq!(defaults.orphan_scan_cadence, Duration::from_days(7));
        assert_eq!((defaults.maintenance_enabled, defaults.skipped), (None, false));
        let deployment = [("maintenance_cadence_hours", "1"), ("max_manifest_count", "7")];
        let both = resolve(&[("snowpack.maintenance_cadence_hours", "2")], &deployment).unwrap();
        assert_eq!(
            (both.cadence, both.max_manifest_count),
            (Duration::from_seconds(7200), 7)
        );
    }

    #[test]
    fn flags_are_read_in_any_case_and_refused_when_they_are_none() {
        let skipped = resolve(&[("compaction_skip", " TRUE")], &[]).unwrap();
        assert!(skipped.skipped);
        assert!(
            resolve(&[("snowpack.compaction_skip", "true")], &[])
                .unwrap()
                .skipped
        );
        assert!(!resolve(&[("compaction_skip", "false")], &[]).unwrap().skipped);
        let wish =
            |text| resolve(&[("snowpack.maintenance_enabled", text)], &[]).map(|t| t.maintenance_enabled);
        assert_eq!((wish("True"), wish("false")), (Ok(Some(true)), Ok(Some(false))));
        assert_eq!(wish("yes").unwrap_err().option, "snowpack.maintenance_enabled");
    }
}
