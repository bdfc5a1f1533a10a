//! The table of options each action takes, and the check of one value.

use super::OptionValue;
use super::verify::VERIFICATIONS;
use crate::{Action, Timestamp};

/// One option of an action.
#[derive(Debug)]
pub struct OptionSpec {
    /// Its name, as Spark spells it.
    pub name: &'static str,
    /// What values it takes.
    pub kind: OptionKind,
}

/// The values an option takes.
#[derive(Debug)]
pub enum OptionKind {
    /// `true` or `false`.
    Bool,
    /// A whole number of at least this.
    Int {
        /// The least value accepted.
        min: i64,
    },
    /// A fraction above 0 and at most 1.
    Ratio,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Free text, not empty.
    Text,
    /// A list of whole numbers.
    Ints,
    /// ISO 8601 with an offset, or milliseconds since the epoch.
    Time,
}

use OptionKind::{Bool, Choice, Int, Ints, Ratio, Text, Time};

const fn option(name: &'static str, kind: OptionKind) -> OptionSpec {
    OptionSpec { name, kind }
}

const JOB_ORDERS: &[&str] = &["none", "bytes-asc", "bytes-desc", "files-asc", "files-desc"];

static REWRITE_DATA_FILES: &[OptionSpec] = &[
    option("strategy", Choice(&["binpack", "sort", "zorder"])),
    option("sort_order", Text),
    option("where", Text),
    option("target-file-size-bytes", Int { min: 1 }),
    option("min-file-size-bytes", Int { min: 0 }),
    option("max-file-size-bytes", Int { min: 1 }),
    option("min-input-files", Int { min: 1 }),
    option("rewrite-all", Bool),
    option("max-file-group-size-bytes", Int { min: 1 }),
    option("max-concurrent-file-group-rewrites", Int { min: 1 }),
    option("partial-progress.enabled", Bool),
    option("partial-progress.max-commits", Int { min: 1 }),
    option("partial-progress.max-failed-commits", Int { min: 0 }),
    option("rewrite-job-order", Choice(JOB_ORDERS)),
    option("delete-file-threshold", Int { min: 1 }),
    option("delete-ratio-threshold", Ratio),
    option("max-files-to-rewrite", Int { min: 1 }),
    option("output-spec-id", Int { min: 0 }),
    option("use-starting-sequence-number", Bool),
    option("remove-dangling-deletes", Bool),
    option("verify", Choice(VERIFICATIONS)),
];

static REWRITE_POSITION_DELETE_FILES: &[OptionSpec] = &[
    option("where", Text),
    option("target-file-size-bytes", Int { min: 1 }),
    option("min-file-size-bytes", Int { min: 0 }),
    option("max-file-size-bytes", Int { min: 1 }),
    option("min-input-files", Int { min: 1 }),
    option("rewrite-all", Bool),
    option("max-file-group-size-bytes", Int { min: 1 }),
    option("max-concurrent-file-group-rewrites", Int { min: 1 }),
    option("partial-progress.enabled", Bool),
    option("partial-progress.max-commits", Int { min: 1 }),
    option("rewrite-job-order", Choice(JOB_ORDERS)),
    option("verify", Choice(VERIFICATIONS)),
];

static EXPIRE_SNAPSHOTS: &[OptionSpec] = &[
    option("older_than", Time),
    option("retain_last", Int { min: 1 }),
    option("snapshot_ids", Ints),
    option("clean_expired_metadata", Bool),
];

static REWRITE_MANIFESTS: &[OptionSpec] = &[option("spec_id", Int { min: 0 }), option("use_caching", Bool)];

static REMOVE_ORPHAN_FILES: &[OptionSpec] = &[
    option("older_than", Time),
    option("location", Text),
    option("prefix_mismatch_mode", Choice(&["error", "ignore", "delete"])),
    option("equal_schemes", Text),
    option("equal_authorities", Text),
    option("max_orphan_ratio", Ratio),
    option("dry_run", Bool),
];

/// The options an action takes.
pub fn option_specs(action: Action) -> &'static [OptionSpec] {
    match action {
        Action::RewriteDataFiles => REWRITE_DATA_FILES,
        Action::RewritePositionDeleteFiles => REWRITE_POSITION_DELETE_FILES,
        Action::ExpireSnapshots => EXPIRE_SNAPSHOTS,
        Action::RewriteManifests => REWRITE_MANIFESTS,
        Action::RemoveOrphanFiles => REMOVE_ORPHAN_FILES,
    }
}

impl OptionKind {
    /// Checks a value, reading text as this kind.
    pub(super) fn check(&self, value: OptionValue) -> Result<OptionValue, String> {
        let value = match value {
            OptionValue::Text(text) => self.read(text)?,
            typed => typed,
        };
        match (self, value) {
            (Bool, value @ OptionValue::Bool(_))
            | (Ints, value @ OptionValue::Ints(_))
            | (Time, value @ OptionValue::Time(_)) => Ok(value),
            (Time, OptionValue::Int(millis)) => time_from_millis(millis),
            (Int { min }, OptionValue::Int(given)) if given >= *min => Ok(OptionValue::Int(given)),
            (Int { min }, OptionValue::Int(given)) => Err(format!("{given} is below the minimum {min}")),
            (Ratio, OptionValue::Int(1)) => Ok(OptionValue::Float(1.0)),
            (Ratio, OptionValue::Float(given)) if given > 0.0 && given <= 1.0 => {
                Ok(OptionValue::Float(given))
            }
            (Choice(words), OptionValue::Text(word)) if words.contains(&word.as_str()) => {
                Ok(OptionValue::Text(word))
            }
            (Text, OptionValue::Text(text)) if !text.is_empty() => Ok(OptionValue::Text(text)),
            _ => Err(format!("expected {}", self.expectation())),
        }
    }

    fn read(&self, text: String) -> Result<OptionValue, String> {
        let wrong = || {
            format!(
                "{:?} is not {}",
                text.chars().take(80).collect::<String>(),
                self.expectation()
            )
        };
        match self {
            Choice(_) | Text => Ok(OptionValue::Text(text)),
            Bool => text.parse().map(OptionValue::Bool).map_err(|_| wrong()),
            Int { .. } => text.parse().map(OptionValue::Int).map_err(|_| wrong()),
            Ratio => text.parse().map(OptionValue::Float).map_err(|_| wrong()),
            Ints => text
                .split(',')
                .map(|id| id.trim().parse())
                .collect::<Result<_, _>>()
                .map(OptionValue::Ints)
                .map_err(|_| wrong()),
            Time => match text.parse() {
                Ok(millis) => time_from_millis(millis),
                Err(_) => chrono::DateTime::parse_from_rfc3339(&text)
                    .map(|time| OptionValue::Time(Timestamp::from_micros(time.timestamp_micros())))
                    .map_err(|_| wrong()),
            },
        }
    }

    fn expectation(&self) -> String {
        match self {
            Bool => "true or false".into(),
            Int { min } => format!("a whole number of at least {min}"),
            Ratio => "a number above 0 and at most 1".into(),
            Choice(words) => format!("one of {}", words.join(", ")),
            Text => "text".into(),
            Ints => "a list of whole numbers".into(),
            Time => "a time like 2026-04-25T14:30:00+00:00, or milliseconds since 1970".into(),
        }
    }
}

fn time_from_millis(millis: i64) -> Result<OptionValue, String> {
    millis
        .checked_mul(1000)
        .map(|micros| OptionValue::Time(Timestamp::from_micros(micros)))
        .ok_or_else(|| format!("{millis} is out of range"))
}
