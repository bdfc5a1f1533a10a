//! Options with their defaults filled in, as the engine takes them.

use std::collections::HashMap;
use std::str::FromStr;

use super::verify::Verification;
use super::{JobOptions, OptionError, OptionValue};
use crate::{Action, Duration, Timestamp};

/// 512 MiB: `write.target-file-size-bytes` of Iceberg.
const DEFAULT_TARGET_BYTES: u64 = 536_870_912;
/// `RewriteDataFiles.MAX_FILE_GROUP_SIZE_BYTES_DEFAULT`: 100 GiB.
pub(super) const DEFAULT_GROUP_BYTES: u64 = 100 * 1024 * 1024 * 1024;
/// Five days, Iceberg's `history.expire.max-snapshot-age-ms`.
const DEFAULT_SNAPSHOT_AGE_DAYS: i64 = 5;
/// Snapshots kept whatever their age; Iceberg's own default of 1 leaves no room to look back.
const DEFAULT_SNAPSHOTS_TO_KEEP: u32 = 3;

/// What a deployment says of all its tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    /// Settings named like the `snowpack.*` properties without that prefix.
    pub settings: HashMap<String, String>,
    /// Whether its workers can start Spark. Without it, what only Spark may do is refused, here as there.
    pub has_spark: bool,
}

/// Where values not given with the job come from.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    /// The table's properties.
    pub table: &'a HashMap<String, String>,
    /// The deployment's settings, named like the `snowpack.*` properties without that prefix.
    pub deployment: &'a HashMap<String, String>,
}

impl Properties<'_> {
    fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, OptionError> {
        text.trim().parse().map_err(|_| OptionError {
            option: name.to_owned(),
            reason: format!("the value {text:?} cannot be read; correct or remove it"),
        })
    }

    /// The table property `snowpack.<name>`, else the deployment's setting.
    pub(crate) fn snowpack<T: FromStr>(&self, name: &str) -> Result<Option<T>, OptionError> {
        let property = format!("snowpack.{name}");
        let found = self.table.get(&property).or_else(|| self.deployment.get(name));
        found.map(|text| Self::parse(&property, text)).transpose()
    }

    pub(super) fn iceberg<T: FromStr>(&self, name: &str) -> Result<Option<T>, OptionError> {
        self.table
            .get(name)
            .map(|text| Self::parse(name, text))
            .transpose()
    }
}

/// How rows are arranged by rewrite_data_files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Keep the order, only pack.
    BinPack,
    /// Sort by an order.
    Sort,
    /// Interleave the bits of several columns.
    ZOrder,
}

/// Which file groups are rewritten first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteJobOrder {
    /// As planned.
    None,
    /// Smallest groups first.
    BytesAscending,
    /// Largest groups first.
    BytesDescending,
    /// Fewest files first.
    FilesAscending,
    /// Most files first.
    FilesDescending,
}

/// What sizes files should have, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSizes {
    /// Wanted output size.
    pub target_bytes: u64,
    /// Files below this are candidates.
    pub min_bytes: u64,
    /// Files above this are candidates.
    pub max_bytes: u64,
}

/// Every setting of rewrite_data_files.
#[derive(Clone, Debug, PartialEq)]
pub struct Compaction {
    /// How rows are arranged.
    pub strategy: Strategy,
    /// The order of rows, as given.
    pub sort_order: Option<String>,
    /// The filter of files to consider, as given.
    pub filter: Option<String>,
    /// Wanted output size.
    pub target_file_bytes: u64,
    /// Files below this are candidates.
    pub min_file_bytes: u64,
    /// Files above this are candidates.
    pub max_file_bytes: u64,
    /// A group with at least this many files is worth rewriting.
    pub min_input_files: usize,
    /// Rewrite every file, whatever its size.
    pub rewrite_all: bool,
    /// Most bytes in one group.
    pub max_group_bytes: u64,
    /// Groups rewritten at once; absent: as many as cores.
    pub max_concurrent_groups: Option<usize>,
    /// Commit groups as they finish.
    pub partial_progress: bool,
    /// Most commits with partial progress.
    pub max_commits: usize,
    /// Failed commits tolerated with partial progress; absent: as many as `max_commits`.
    pub max_failed_commits: Option<usize>,
    /// Order of groups.
    pub job_order: RewriteJobOrder,
    /// Deletes on one file that make it a candidate.
    pub delete_file_threshold: usize,
    /// Share of deleted rows that makes a file a candidate.
    pub delete_ratio_threshold: f64,
    /// Most input files in one run.
    pub max_files_to_rewrite: Option<usize>,
    /// Spec to write to; absent: the table's default.
    pub output_spec_id: Option<i32>,
    /// New files carry the sequence number of the snapshot the rewrite started from.
    pub use_starting_sequence_number: bool,
    /// Also remove deletes that apply to no live file.
    pub remove_dangling_deletes: bool,
    /// How the new files are checked.
    pub verify: Verification,
}

/// Every setting of expire_snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Snapshots older than this go.
    pub older_than: Timestamp,
    /// Snapshots of a branch kept whatever their age.
    pub retain_last: u32,
    /// Snapshots to expire by id, besides the old ones.
    pub snapshot_ids: Vec<i64>,
    /// Also drop schemas and specs nothing uses any more.
    pub clean_expired_metadata: bool,
}

/// Typed reads of one action's options.
pub(super) struct Given<'a>(pub(super) &'a JobOptions, pub(super) Action);

impl Given<'_> {
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        match self.0.get(self.1, name)? {
            OptionValue::Int(value) => Some(*value),
            _ => None,
        }
    }
    pub(super) fn bytes(&self, name: &str) -> Option<u64> {
        self.int(name).and_then(|value| u64::try_from(value).ok())
    }
    pub(super) fn count(&self, name: &str) -> Option<usize> {
        self.int(name).and_then(|value| usize::try_from(value).ok())
    }
    pub(super) fn float(&self, name: &str) -> Option<f64> {
        match self.0.get(self.1, name)? {
            OptionValue::Float(value) => Some(*value),
            _ => None,
        }
    }
    pub(super) fn bool(&self, name: &str) -> Option<bool> {
        match self.0.get(self.1, name)? {
            OptionValue::Bool(value) => Some(*value),
            _ => None,
        }
    }
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(self.1, name)? {
            OptionValue::Text(value) => Some(value),
            _ => None,
        }
    }
    pub(super) fn job_order(&self) -> RewriteJobOrder {
        match self.text("rewrite-job-order") {
            Some("bytes-asc") => RewriteJobOrder::BytesAscending,
            Some("bytes-desc") => RewriteJobOrder::BytesDescending,
            Some("files-asc") => RewriteJobOrder::FilesAscending,
            Some("files-desc") => RewriteJobOrder::FilesDescending,
            _ => RewriteJobOrder::None,
        }
    }
    pub(super) fn refuse(&self, name: &str, reason: String) -> OptionError {
        OptionError {
            option: format!("{}.{name}", self.1),
            reason,
        }
    }

    /// Checks that sizes do not contradict each other.
    pub(super) fn check_sizes(&self, sizes: FileSizes) -> Result<(), OptionError> {
        let target = sizes.target_bytes;
        if sizes.min_bytes >= target {
            let reason = format!(
                "{} must be below target-file-size-bytes, {target}",
                sizes.min_bytes
            );
            return Err(self.refuse("min-file-size-bytes", reason));
        }
        if sizes.max_bytes <= target {
            let reason = format!(
                "{} must be above target-file-size-bytes, {target}",
                sizes.max_bytes
            );
            return Err(self.refuse("max-file-size-bytes", reason));
        }
        Ok(())
    }
}

impl Compaction {
    /// Fills in what the job did not give.
    ///
    /// # Errors
    /// [`OptionError`] when a property cannot be read or the sizes contradict each other.
    pub fn resolve(options: &JobOptions, properties: Properties<'_>) -> Result<Self, OptionError> {
        let given = Given(options, Action::RewriteDataFiles);
        let target = match given.bytes("target-file-size-bytes") {
            Some(bytes) => bytes,
            None => match properties.snowpack("target_file_size_bytes")? {
                Some(bytes) => bytes,
                None => properties
                    .iceberg("write.target-file-size-bytes")?
                    .unwrap_or(DEFAULT_TARGET_BYTES),
            },
        };
        let resolved = Self {
            strategy: match given.text("strategy") {
                Some("sort") => Strategy::Sort,
                Some("zorder") => Strategy::ZOrder,
                None if given.text("sort_order").is_some() => Strategy::Sort,
                _ => Strategy::BinPack,
            },
            sort_order: given.text("sort_order").map(str::to_owned),
            filter: given.text("where").map(str::to_owned),
            target_file_bytes: target,
            min_file_bytes: given
                .bytes("min-file-size-bytes")
                .unwrap_or_else(|| share(target, 75)),
            max_file_bytes: given
                .bytes("max-file-size-bytes")
                .unwrap_or_else(|| share(target, 180)),
            min_input_files: or_else(given.count("min-input-files"), || {
                properties.snowpack("min_input_files")
            })?
            .unwrap_or(5),
            rewrite_all: or_else(given.bool("rewrite-all"), || {
                properties.snowpack("rewrite_data_rewrite_all")
            })?
            .unwrap_or(false),
            max_group_bytes: given
                .bytes("max-file-group-size-bytes")
                .unwrap_or(DEFAULT_GROUP_BYTES),
            max_concurrent_groups: given.count("max-concurrent-file-group-rewrites"),
            partial_progress: given.bool("partial-progress.enabled").unwrap_or(true),
            max_commits: or_else(given.count("partial-progress.max-commits"), || {
                properties.snowpack("partial_progress_max_commits")
            })?
            .unwrap_or(10),
            max_failed_commits: given.count("partial-progress.max-failed-commits"),
            job_order: given.job_order(),
            delete_file_threshold: or_else(given.count("delete-file-threshold"), || {
                properties.snowpack("rewrite_data_delete_file_threshold")
            })?
            .unwrap_or(2),
            delete_ratio_threshold: or_else(given.float("delete-ratio-threshold"), || {
                properties.snowpack("rewrite_data_delete_ratio_threshold")
            })?
            .unwrap_or(0.10),
            max_files_to_rewrite: given.count("max-files-to-rewrite"),
            output_spec_id: given.int("output-spec-id").and_then(|id| i32::try_from(id).ok()),
            use_starting_sequence_number: given.bool("use-starting-sequence-number").unwrap_or(true),
            remove_dangling_deletes: given.bool("remove-dangling-deletes").unwrap_or(false),
            verify: Verification::resolve(&given, properties)?,
        };
        resolved.check_sizes(&given)?;
        Ok(resolved)
    }

    /// The sizes wanted.
    pub fn sizes(&self) -> FileSizes {
        FileSizes {
            target_bytes: self.target_file_bytes,
            min_bytes: self.min_file_bytes,
            max_bytes: self.max_file_bytes,
        }
    }

    fn check_sizes(&self, given: &Given<'_>) -> Result<(), OptionError> {
        let target = self.target_file_bytes;
        if target == 0
            || self.min_input_files == 0
            || self.delete_file_threshold == 0
            || self.max_commits == 0
        {
            let reason =
                "sizes and counts must be above 0; check the table's snowpack.* properties".to_owned();
            return Err(given.refuse("target-file-size-bytes", reason));
        }
        given.check_sizes(self.sizes())
    }
}

impl Expiry {
    /// Fills in what the job did not give, as of `now`.
    ///
    /// # Errors
    /// [`OptionError`] when a property cannot be read.
    pub fn resolve(
        options: &JobOptions,
        properties: Properties<'_>,
        now: Timestamp,
    ) -> Result<Self, OptionError> {
        let given = Given(options, Action::ExpireSnapshots);
        let older_than = match options.get(Action::ExpireSnapshots, "older_than") {
            Some(OptionValue::Time(time)) => *time,
            _ => now - default_snapshot_age(properties)?,
        };
        let retain_last = match given.int("retain_last") {
            Some(count) => u32::try_from(count).unwrap_or(u32::MAX),
            None => match properties.snowpack("min_snapshots_to_keep")? {
                Some(count) => count,
                None => properties
                    .iceberg("history.expire.min-snapshots-to-keep")?
                    .unwrap_or(DEFAULT_SNAPSHOTS_TO_KEEP),
            },
        };
        let snapshot_ids = match options.get(Action::ExpireSnapshots, "snapshot_ids") {
            Some(OptionValue::Ints(ids)) => ids.clone(),
            _ => Vec::new(),
        };
        Ok(Self {
            older_than,
            retain_last: retain_last.max(1),
            snapshot_ids,
            clean_expired_metadata: given.bool("clean_expired_metadata").unwrap_or(false),
        })
    }
}

fn default_snapshot_age(properties: Properties<'_>) -> Result<Duration, OptionError> {
    if let Some(days) = properties.snowpack::<i64>("max_snapshot_age_days")? {
        return Ok(Duration::from_days(days.max(0)));
    }
    let millis: Option<i64> = properties.iceberg("history.expire.max-snapshot-age-ms")?;
    Ok(millis.map_or(
        Duration::from_days(DEFAULT_SNAPSHOT_AGE_DAYS),
        Duration::from_millis,
    ))
}

/// `percent` of `bytes`, rounded down.
pub(super) fn share(bytes: u64, percent: u64) -> u64 {
    let wide = u128::from(bytes) * u128::from(percent) / 100;
    u64::try_from(wide).unwrap_or(u64::MAX)
}

pub(super) fn or_else<T>(
    given: Option<T>,
    fallback: impl FnOnce() -> Result<Option<T>, OptionError>,
) -> Result<Option<T>, OptionError> {
    match given {
        Some(value) => Ok(Some(value)),
        None => fallback(),
    }
}
