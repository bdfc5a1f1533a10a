//! Options of rewrite_position_delete_files with their defaults filled in (`RewritePositionDeleteFiles`,
//! `BinPackRewritePositionDeletePlanner` and `SparkWriteConf` of Iceberg 1.10).

use super::resolve::{DEFAULT_GROUP_BYTES, FileSizes, Given, Properties, RewriteJobOrder, share};
use super::verify::Verification;
use super::{JobOptions, OptionError};
use crate::Action;

/// 64 MiB: `write.delete.target-file-size-bytes` of Iceberg.
const DEFAULT_TARGET_BYTES: u64 = 64 * 1024 * 1024;
/// `SizeBasedFileRewritePlanner.MIN_INPUT_FILES_DEFAULT`.
const DEFAULT_MIN_INPUT_FILES: usize = 5;
/// `RewritePositionDeleteFiles.PARTIAL_PROGRESS_MAX_COMMITS_DEFAULT`.
const DEFAULT_MAX_COMMITS: usize = 10;

/// How many data files one position-delete file may be about (`write.delete.granularity`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteGranularity {
    /// One. The default, as in Spark's writers.
    File,
    /// All of one partition.
    Partition,
}

/// Every setting of rewrite_position_delete_files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionDeleteCompaction {
    /// The filter of files to consider, as given.
    pub filter: Option<String>,
    /// What sizes delete files should have.
    pub sizes: FileSizes,
    /// A group with at least this many files is worth rewriting.
    pub min_input_files: usize,
    /// Rewrite every file, whatever its size.
    pub rewrite_all: bool,
    /// Most bytes in one group.
    pub max_group_bytes: u64,
    /// Groups rewritten at once; absent: as the engine sees fit.
    pub max_concurrent_groups: Option<usize>,
    /// Commit groups as they finish; Spark's default is to commit all of them together.
    pub partial_progress: bool,
    /// Most commits with partial progress.
    pub max_commits: usize,
    /// Order of groups.
    pub job_order: RewriteJobOrder,
    /// What the new files are about.
    pub granularity: DeleteGranularity,
    /// How the new files are checked.
    pub verify: Verification,
}

impl PositionDeleteCompaction {
    /// Fills in what the job did not give.
    ///
    /// # Errors
    /// [`OptionError`] when a property cannot be read or the sizes contradict each other.
    pub fn resolve(options: &JobOptions, properties: Properties<'_>) -> Result<Self, OptionError> {
        let given = Given(options, Action::RewritePositionDeleteFiles);
        let target_bytes = match given.bytes("target-file-size-bytes") {
            Some(bytes) => bytes,
            None => properties
                .iceberg("write.delete.target-file-size-bytes")?
                .unwrap_or(DEFAULT_TARGET_BYTES),
        };
        let sizes = FileSizes {
            target_bytes,
            min_bytes: given
                .bytes("min-file-size-bytes")
                .unwrap_or_else(|| share(target_bytes, 75)),
            max_bytes: given
                .bytes("max-file-size-bytes")
                .unwrap_or_else(|| share(target_bytes, 180)),
        };
        if target_bytes == 0 {
            let reason = "it must be above 0; check write.delete.target-file-size-bytes".to_owned();
            return Err(given.refuse("target-file-size-bytes", reason));
        }
        given.check_sizes(sizes)?;
        Ok(Self {
            filter: given.text("where").map(str::to_owned),
            sizes,
            min_input_files: given.count("min-input-files").unwrap_or(DEFAULT_MIN_INPUT_FILES),
            rewrite_all: given.bool("rewrite-all").unwrap_or(false),
            max_group_bytes: given
                .bytes("max-file-group-size-bytes")
                .unwrap_or(DEFAULT_GROUP_BYTES),
            max_concurrent_groups: given.count("max-concurrent-file-group-rewrites"),
            partial_progress: given.bool("partial-progress.enabled").unwrap_or(false),
            max_commits: given
                .count("partial-progress.max-commits")
                .unwrap_or(DEFAULT_MAX_COMMITS),
            job_order: given.job_order(),
            granularity: granularity(properties)?,
            verify: Verification::resolve(&given, properties)?,
        })
    }
}

fn granularity(properties: Properties<'_>) -> Result<DeleteGranularity, OptionError> {
    const PROPERTY: &str = "write.delete.granularity";
    let Some(text) = properties.table.get(PROPERTY) else {
        return Ok(DeleteGranularity::File);
    };
    match text.to_ascii_lowercase().as_str() {
        "file" => Ok(DeleteGranularity::File),
        "partition" => Ok(DeleteGranularity::Partition),
        _ => Err(OptionError {
            option: PROPERTY.to_owned(),
            reason: format!("{text:?} is neither file nor partition; correct or remove it"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::OptionValue;

    fn resolve(
        table: &[(&str, &str)],
        options: &[(&str, OptionValue)],
    ) -> Result<PositionDeleteCompaction, OptionError> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let table: HashMap<_, _> = table.iter().map(own).collect();
        let mut given = JobOptions::default();
        for (name, value) in options {
            given
                .set(Action::RewritePositionDeleteFiles, name, value.clone())
                .unwrap();
        }
        let properties = Properties {
            table: &table,
            deployment: &HashMap::new(),
        };
        PositionDeleteCompaction::resolve(&given, properties)
    }

    #[test]
    fn defaults_are_sparks() {
        let settings = resolve(&[], &[]).unwrap();
        assert_eq!(
            settings.sizes,
            FileSizes {
                target_bytes: 67_108_864,
                min_bytes: 50_331_648,
                max_bytes: 120_795_955
            }
        );
        assert_eq!((settings.min_input_files, settings.max_commits), (5, 10));
        assert!(!settings.partial_progress && !settings.rewrite_all);
        assert_eq!(settings.granularity, DeleteGranularity::File);
    }

    #[test]
    fn options_win_over_properties_and_nonsense_is_refused_by_name() {
        let table = [
            ("write.delete.target-file-size-bytes", "1000"),
            ("write.delete.granularity", "PARTITION"),
        ];
        let settings = resolve(&table, &[]).unwrap();
        assert_eq!(
            (settings.sizes.target_bytes, settings.sizes.min_bytes),
            (1000, 750)
        );
        assert_eq!(settings.granularity, DeleteGranularity::Partition);
        let target = ("target-file-size-bytes", OptionValue::Int(10));
        assert_eq!(
            resolve(&table, std::slice::from_ref(&target))
                .unwrap()
                .sizes
                .target_bytes,
            10
        );
        let refused = |table: &[(&str, &str)], options: &[(&str, OptionValue)]| {
            resolve(table, options).unwrap_err().option
        };
        let too_large = ("min-file-size-bytes", OptionValue::Int(10));
        assert_eq!(
            refused(&[], &[target, too_large]),
            "rewrite_position_delete_files.min-file-size-bytes"
        );
        assert_eq!(
            refused(&[("write.delete.granularity", "row")], &[]),
            "write.delete.granularity"
        );
        assert_eq!(
            refused(&[("write.delete.target-file-size-bytes", "0")], &[]),
            "rewrite_position_delete_files.target-file-size-bytes"
        );
    }
}
