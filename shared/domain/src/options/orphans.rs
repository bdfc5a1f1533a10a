//! The settings of remove_orphan_files, with the age floor that no caller can lower.

use std::collections::BTreeMap;

use super::resolve::Given;
use super::{JobOptions, OptionError, OptionValue, Properties};
use crate::{Action, Duration, Timestamp};

/// Three days, as `DeleteOrphanFilesSparkAction`.
const DEFAULT_AGE_HOURS: i64 = 72;
/// A writer may work for hours on files that its commit references only at the end.
const MIN_AGE_HOURS: i64 = 24;
/// A larger share of dead bytes is more likely a wrong location than garbage.
const DEFAULT_MAX_ORPHAN_RATIO: f64 = 0.5;
/// `DeleteOrphanFilesSparkAction.EQUAL_SCHEMES_DEFAULT`.
const EQUAL_SCHEMES: &str = "s3n,s3a=s3";

/// What to do with a listed file that metadata references under another scheme or authority
/// (`DeleteOrphanFiles.PrefixMismatchMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixMismatch {
    /// Stop and delete nothing.
    Error,
    /// Keep the file.
    Ignore,
    /// It counts as an orphan.
    Delete,
}

/// Every setting of remove_orphan_files.
#[derive(Clone, Debug, PartialEq)]
pub struct OrphanRemoval {
    /// Only files last modified before this are removed; at least 24 hours ago.
    pub older_than: Timestamp,
    /// The only location to look at; absent: all of the table's.
    pub location: Option<String>,
    /// What to do with files referenced under another scheme or authority.
    pub prefix_mismatch: PrefixMismatch,
    /// The scheme each of these schemes stands for, in lower case.
    pub equal_schemes: BTreeMap<String, String>,
    /// The authority each of these authorities stands for, in lower case.
    pub equal_authorities: BTreeMap<String, String>,
    /// Nothing is removed from a location in which more than this share of the bytes looks dead.
    pub max_orphan_ratio: f64,
    /// Only say what would be removed.
    pub dry_run: bool,
}

impl OrphanRemoval {
    /// Fills in what the job did not give, as of `now`.
    ///
    /// # Errors
    /// [`OptionError`] when `older_than`, or the property `snowpack.orphan_file_min_age_hours`, leaves less than 24
    /// hours, dry run or not, when that property cannot be read, and when a list of equal names is malformed.
    pub fn resolve(
        options: &JobOptions,
        properties: Properties<'_>,
        now: Timestamp,
    ) -> Result<Self, OptionError> {
        let given = Given(options, Action::RemoveOrphanFiles);
        let mut equal_schemes = equals(EQUAL_SCHEMES, "equal_schemes", &given)?;
        equal_schemes.extend(given_equals("equal_schemes", &given)?);
        Ok(Self {
            older_than: older_than(&given, properties, now)?,
            location: given.text("location").map(str::to_owned),
            prefix_mismatch: match given.text("prefix_mismatch_mode") {
                Some("ignore") => PrefixMismatch::Ignore,
                Some("delete") => PrefixMismatch::Delete,
                _ => PrefixMismatch::Error,
            },
            equal_schemes,
            equal_authorities: given_equals("equal_authorities", &given)?,
            max_orphan_ratio: given
                .float("max_orphan_ratio")
                .unwrap_or(DEFAULT_MAX_ORPHAN_RATIO),
            dry_run: given.bool("dry_run").unwrap_or(false),
        })
    }

    /// Whether a job with these options removes what it finds, and looks everywhere: only then is the table's storage
    /// known to be clean for a while.
    pub fn is_of_the_whole_table(options: &JobOptions) -> bool {
        let given = Given(options, Action::RemoveOrphanFiles);
        given.bool("dry_run") != Some(true) && given.text("location").is_none()
    }
}

fn older_than(
    given: &Given<'_>,
    properties: Properties<'_>,
    now: Timestamp,
) -> Result<Timestamp, OptionError> {
    const PROPERTY: &str = "orphan_file_min_age_hours";
    let reason = format!(
        "files younger than {MIN_AGE_HOURS} hours are never removed, because a running write may be about to \
         commit them; give an older time"
    );
    if let Some(OptionValue::Time(time)) = given.0.get(Action::RemoveOrphanFiles, "older_than") {
        return match *time <= now - hours(MIN_AGE_HOURS) {
            true => Ok(*time),
            false => Err(given.refuse("older_than", reason)),
        };
    }
    match properties.snowpack(PROPERTY)?.unwrap_or(DEFAULT_AGE_HOURS) {
        age if age >= MIN_AGE_HOURS => Ok(now - hours(age)),
        _ => Err(OptionError {
            option: format!("snowpack.{PROPERTY}"),
            reason,
        }),
    }
}

fn hours(count: i64) -> Duration {
    Duration::from_seconds(count.saturating_mul(3600))
}

fn given_equals(name: &str, given: &Given<'_>) -> Result<BTreeMap<String, String>, OptionError> {
    given
        .text(name)
        .map_or_else(|| Ok(BTreeMap::new()), |text| equals(text, name, given))
}

/// Reads `a,b=c;d=e`: a and b stand for c, d for e. Spark takes the same as a map with keys like `a,b`.
fn equals(text: &str, name: &str, given: &Given<'_>) -> Result<BTreeMap<String, String>, OptionError> {
    let mut equals = BTreeMap::new();
    for group in text.split(';').map(str::trim).filter(|group| !group.is_empty()) {
        let malformed = || {
            let reason = format!("{group:?} is not of the form a,b=c, with groups separated by semicolons");
            given.refuse(name, reason)
        };
        let (names, canonical) = group.split_once('=').ok_or_else(malformed)?;
        let canonical = canonical.trim().to_lowercase();
        for name in names.split(',').map(|name| name.trim().to_lowercase()) {
            if name.is_empty() || canonical.is_empty() {
                return Err(malformed());
            }
            equals.insert(name, canonical.clone());
        }
    }
    Ok(equals)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn resolve(given: &[(&str, OptionValue)], property: Option<&str>) -> Result<OrphanRemoval, OptionError> {
        let mut options = JobOptions::default();
        for (name, value) in given {
            options
                .set(Action::RemoveOrphanFiles, name, value.clone())
                .unwrap();
        }
        let property =
            property.map(|hours| ("snowpack.orphan_file_min_age_hours".to_owned(), hours.to_owned()));
        let properties = Properties {
            table: &property.into_iter().collect(),
            deployment: &HashMap::new(),
        };
        OrphanRemoval::resolve(&options, properties, NOW)
    }

    fn text(value: &str) -> OptionValue {
        OptionValue::Text(value.to_owned())
    }

    #[test]
    fn defaults_are_sparks_and_a_brake() {
        let settings = resolve(&[], None).unwrap();
        assert_eq!(settings.older_than, NOW - Duration::from_days(3));
        assert_eq!(settings.prefix_mismatch, PrefixMismatch::Error);
        assert_eq!((settings.max_orphan_ratio, settings.dry_run), (0.5, false));
        assert_eq!(settings.equal_schemes["s3a"], "s3");
        assert_eq!(settings.equal_schemes["s3n"], "s3");
        assert!(settings.equal_authorities.is_empty());
    }

    #[test]
    fn nothing_lowers_the_age_below_a_day() {
        let day = NOW - Duration::from_days(1);
        let second = Duration::from_seconds(1);
        let at = |time| [("older_than", OptionValue::Time(time))];
        assert_eq!(resolve(&at(day), None).unwrap().older_than, day);
        for dry_run in [true, false] {
            let mut given = at(day + second).to_vec();
            given.push(("dry_run", OptionValue::Bool(dry_run)));
            let refused = resolve(&given, None).unwrap_err();
            assert_eq!(refused.option, "remove_orphan_files.older_than");
            assert!(refused.reason.contains("24 hours"), "{refused}");
        }
        assert_eq!(resolve(&[], Some("24")).unwrap().older_than, day);
        for hours in ["23", "-5", "many"] {
            let refused = resolve(&[], Some(hours)).unwrap_err();
            assert_eq!(refused.option, "snowpack.orphan_file_min_age_hours");
        }
        let far = resolve(&[], Some("9223372036854775807")).unwrap();
        assert!(far.older_than < Timestamp::from_micros(0));
    }

    #[test]
    fn equal_names_add_to_the_defaults() {
        let given = [
            ("equal_schemes", text("hdfs, viewfs = HDFS; gs=gcs")),
            ("equal_authorities", text("NN1,nn2=cluster")),
        ];
        let settings = resolve(&given, None).unwrap();
        assert_eq!(settings.equal_schemes["viewfs"], "hdfs");
        assert_eq!(settings.equal_schemes["gs"], "gcs");
        assert_eq!(settings.equal_schemes["s3a"], "s3");
        assert_eq!(settings.equal_authorities["nn1"], "cluster");
        for wrong in ["s3a", "=s3", "s3a,=s3", "s3a="] {
            let refused = resolve(&[("equal_schemes", text(wrong))], None).unwrap_err();
            assert_eq!(refused.option, "remove_orphan_files.equal_schemes", "{wrong}");
        }
    }
}
