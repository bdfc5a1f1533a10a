//! A deployment's defaults for action options and thresholds (operations.md, Recommendation thresholds).

use std::collections::HashMap;

use snowpack_domain::EngineChoice;

use crate::environment::{Environment, Problem, Problems, SettingsError};

/// What a default's value must be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A whole number of at least this.
    AtLeast(u64),
    /// A whole number of hours or days.
    Span,
    /// Above 0 and at most 1.
    Ratio,
    /// `true` or `false`.
    Bool,
    /// The name of an engine.
    Engine,
}

/// Variable, property without its `snowpack.` prefix, and kind.
static DEFAULTS: &[(&str, &str, Kind)] = &[
    (
        "SNOWPACK_TARGET_FILE_SIZE_BYTES",
        "target_file_size_bytes",
        Kind::AtLeast(1),
    ),
    ("SNOWPACK_MIN_INPUT_FILES", "min_input_files", Kind::AtLeast(1)),
    (
        "SNOWPACK_REWRITE_DATA_DELETE_FILE_THRESHOLD",
        "rewrite_data_delete_file_threshold",
        Kind::AtLeast(1),
    ),
    (
        "SNOWPACK_REWRITE_DATA_DELETE_RATIO_THRESHOLD",
        "rewrite_data_delete_ratio_threshold",
        Kind::Ratio,
    ),
    (
        "SNOWPACK_REWRITE_DATA_REWRITE_ALL",
        "rewrite_data_rewrite_all",
        Kind::Bool,
    ),
    (
        "SNOWPACK_PARTIAL_PROGRESS_MAX_COMMITS",
        "partial_progress_max_commits",
        Kind::AtLeast(1),
    ),
    (
        "SNOWPACK_MAX_SNAPSHOT_AGE_DAYS",
        "max_snapshot_age_days",
        Kind::AtLeast(0),
    ),
    (
        "SNOWPACK_MIN_SNAPSHOTS_TO_KEEP",
        "min_snapshots_to_keep",
        Kind::AtLeast(1),
    ),
    (
        "SNOWPACK_ORPHAN_FILE_MIN_AGE_HOURS",
        "orphan_file_min_age_hours",
        Kind::AtLeast(24),
    ),
    (
        "SNOWPACK_MAINTENANCE_CADENCE_HOURS",
        "maintenance_cadence_hours",
        Kind::Span,
    ),
    (
        "SNOWPACK_DELETE_FILE_THRESHOLD",
        "delete_file_threshold",
        Kind::AtLeast(1),
    ),
    (
        "SNOWPACK_MAX_SNAPSHOT_COUNT",
        "max_snapshot_count",
        Kind::AtLeast(1),
    ),
    (
        "SNOWPACK_MAX_MANIFEST_COUNT",
        "max_manifest_count",
        Kind::AtLeast(1),
    ),
    (
        "SNOWPACK_ORPHAN_SCAN_CADENCE_DAYS",
        "orphan_scan_cadence_days",
        Kind::Span,
    ),
    ("SNOWPACK_ENGINE", "engine", Kind::Engine),
    ("SNOWPACK_MAX_NATIVE_HOURS", "max_native_hours", Kind::AtLeast(1)),
];

impl Kind {
    fn fits(self, text: &str) -> bool {
        match self {
            // Read as i64 too: ages and counts are signed further in.
            Self::AtLeast(min) => text
                .parse::<i64>()
                .is_ok_and(|value| u64::try_from(value).is_ok_and(|value| value >= min)),
            // As `Thresholds` reads it.
            Self::Span => text.parse::<u32>().is_ok(),
            Self::Ratio => text.parse::<f64>().is_ok_and(|value| value > 0.0 && value <= 1.0),
            Self::Bool => text.parse::<bool>().is_ok(),
            Self::Engine => text.parse::<EngineChoice>().is_ok(),
        }
    }

    fn expectation(self) -> String {
        match self {
            Self::AtLeast(min) => format!("a whole number of at least {min}"),
            Self::Span => format!("a whole number of at most {}", u32::MAX),
            Self::Ratio => "a number above 0 and at most 1".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Engine => EngineChoice::ALL.map(EngineChoice::as_str).join(", "),
        }
    }
}

/// The defaults that are set, by property name without `snowpack.`, as `snowpack_domain::Properties` takes them.
///
/// # Errors
/// [`SettingsError`] naming each variable whose value does not fit.
pub fn deployment(environment: &Environment) -> Result<HashMap<String, String>, SettingsError> {
    let mut problems = Problems::default();
    let mut defaults = HashMap::new();
    for (variable, property, kind) in DEFAULTS.iter().copied() {
        if let Some(Some(value)) = problems.note(read(environment, variable, kind)) {
            defaults.insert(property.to_owned(), value.to_owned());
        }
    }
    problems.or(Some(defaults))
}

fn read<'a>(
    environment: &'a Environment,
    variable: &'static str,
    kind: Kind,
) -> Result<Option<&'a str>, Problem> {
    match environment.text(variable)? {
        Some(text) if !kind.fits(text) => Err(Problem {
            variable,
            reason: format!("is {text:?}: use {}", kind.expectation()),
        }),
        fitting => Ok(fitting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snowpack_domain::{
        Compaction, Duration, Expiry, HandOver, JobOptions, OrphanRemoval, Properties, Thresholds, Timestamp,
    };

    #[test]
    fn defaults_reach_the_resolved_options() {
        let environment = Environment::from_pairs([
            ("SNOWPACK_TARGET_FILE_SIZE_BYTES", "1000"),
            ("SNOWPACK_MIN_INPUT_FILES", "7"),
            ("SNOWPACK_REWRITE_DATA_DELETE_FILE_THRESHOLD", "9"),
            ("SNOWPACK_REWRITE_DATA_DELETE_RATIO_THRESHOLD", "0.5"),
            ("SNOWPACK_REWRITE_DATA_REWRITE_ALL", "true"),
            ("SNOWPACK_PARTIAL_PROGRESS_MAX_COMMITS", "3"),
            ("SNOWPACK_MAX_SNAPSHOT_AGE_DAYS", "2"),
            ("SNOWPACK_MIN_SNAPSHOTS_TO_KEEP", "4"),
            ("SNOWPACK_ORPHAN_FILE_MIN_AGE_HOURS", "48"),
            ("SNOWPACK_MAINTENANCE_CADENCE_HOURS", "0"),
            ("SNOWPACK_DELETE_FILE_THRESHOLD", "8"),
            ("SNOWPACK_MAX_SNAPSHOT_COUNT", "20"),
            ("SNOWPACK_MAX_MANIFEST_COUNT", "30"),
            ("SNOWPACK_ORPHAN_SCAN_CADENCE_DAYS", "1"),
            ("SNOWPACK_ENGINE", "auto"),
            ("SNOWPACK_MAX_NATIVE_HOURS", "6"),
        ]);
        let defaults = deployment(&environment).unwrap();
        assert_eq!(defaults.len(), DEFAULTS.len());
        let properties = Properties {
            table: &HashMap::new(),
            deployment: &defaults,
        };
        let compaction = Compaction::resolve(&JobOptions::default(), properties).unwrap();
        assert_eq!(
            (compaction.target_file_bytes, compaction.min_input_files),
            (1000, 7)
        );
        assert_eq!(
            (
                compaction.delete_file_threshold,
                compaction.delete_ratio_threshold
            ),
            (9, 0.5)
        );
        assert_eq!((compaction.rewrite_all, compaction.max_commits), (true, 3));
        let now = Timestamp::from_micros(0);
        let expiry = Expiry::resolve(&JobOptions::default(), properties, now).unwrap();
        assert_eq!(
            (expiry.older_than, expiry.retain_last),
            (now - Duration::from_days(2), 4)
        );
        let orphans = OrphanRemoval::resolve(&JobOptions::default(), properties, now).unwrap();
        assert_eq!(orphans.older_than, now - Duration::from_days(2));
        let expected = Thresholds {
            maintenance_enabled: None,
            skipped: false,
            cadence: Duration::from_seconds(0),
            min_input_files: 7,
            delete_file_threshold: 8,
            max_snapshot_count: 20,
            max_manifest_count: 30,
            orphan_scan_cadence: Duration::from_days(1),
        };
        assert_eq!(Thresholds::resolve(properties), Ok(expected));
        let hand_over = HandOver::resolve(properties).unwrap();
        assert_eq!(hand_over.choice, EngineChoice::Auto);
        assert_eq!(hand_over.max_native, Duration::from_seconds(6 * 3600));
    }

    #[test]
    fn every_bad_value_is_named_at_once() {
        let environment = Environment::from_pairs([
            ("SNOWPACK_TARGET_FILE_SIZE_BYTES", "0"),
            ("SNOWPACK_MIN_INPUT_FILES", "many"),
            ("SNOWPACK_REWRITE_DATA_DELETE_RATIO_THRESHOLD", "NaN"),
            ("SNOWPACK_REWRITE_DATA_REWRITE_ALL", "yes"),
            ("SNOWPACK_MAX_SNAPSHOT_AGE_DAYS", "-1"),
            ("SNOWPACK_MIN_SNAPSHOTS_TO_KEEP", "99999999999999999999"),
            ("SNOWPACK_PARTIAL_PROGRESS_MAX_COMMITS", " "),
            ("SNOWPACK_MAINTENANCE_CADENCE_HOURS", "4294967296"),
            ("SNOWPACK_ENGINE", "Spark"),
        ]);
        let named: Vec<_> = deployment(&environment)
            .unwrap_err()
            .0
            .iter()
            .map(|problem| problem.variable)
            .collect();
        assert_eq!(
            named,
            [
                "SNOWPACK_TARGET_FILE_SIZE_BYTES",
                "SNOWPACK_MIN_INPUT_FILES",
                "SNOWPACK_REWRITE_DATA_DELETE_RATIO_THRESHOLD",
                "SNOWPACK_REWRITE_DATA_REWRITE_ALL",
                "SNOWPACK_MAX_SNAPSHOT_AGE_DAYS",
                "SNOWPACK_MIN_SNAPSHOTS_TO_KEEP",
                "SNOWPACK_MAINTENANCE_CADENCE_HOURS",
                "SNOWPACK_ENGINE"
            ]
        );
    }
}
