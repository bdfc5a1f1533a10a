//! What planning reads and decides: live files with their deletes, file groups, and why files were left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::{DataFile, Struct};

/// A live data or delete file with what its manifest entry says, inheritance applied.
#[derive(Clone, Debug)]
pub struct LiveFile {
    /// The file.
    pub file: DataFile,
    /// The partition spec of the manifest it is listed in.
    pub spec_id: i32,
    /// The snapshot that added it.
    pub snapshot_id: i64,
    /// Data sequence number.
    pub sequence_number: i64,
    /// File sequence number.
    pub file_sequence_number: Option<i64>,
}

/// A data file and every delete file that applies to it (spec, Scan Planning).
#[derive(Clone, Debug)]
pub struct ScanFile {
    /// The data file.
    pub data: Arc<LiveFile>,
    /// Position-delete files that may hold positions of this file.
    pub position_deletes: Vec<Arc<LiveFile>>,
    /// Equality-delete files with a higher data sequence number, global or of the same partition.
    pub equality_deletes: Vec<Arc<LiveFile>>,
}

impl ScanFile {
    /// All deletes that apply.
    pub fn delete_count(&self) -> usize {
        self.position_deletes.len() + self.equality_deletes.len()
    }
}

/// Files rewritten together, all going to one partition of the output spec.
#[derive(Clone, Debug)]
pub struct FileGroup {
    /// Position in the plan.
    pub index: usize,
    /// The partition of the output spec the rows belong to. Files of another spec than the output's are
    /// grouped under the empty partition, and their rows are split by the output spec's partitions.
    pub partition: Struct,
    /// The files, in planned order.
    pub files: Vec<ScanFile>,
    /// Sum of the data files' sizes.
    pub input_bytes: u64,
    /// Files to write (`SizeBasedFileRewritePlanner.expectedOutputFiles`); per partition written it is a wish.
    pub output_files: usize,
    /// Whether rows may belong to several partitions of the output spec.
    pub repartition: bool,
}

/// Why a live data file is not rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// Its size is in the band and it has no deletes to speak of.
    AtTarget,
    /// Too few candidates beside it in its partition.
    TooFewFiles,
    /// Rewriting would not lower the number of files outside the band, nor of files.
    NoGain,
    /// `max-files-to-rewrite` was reached.
    FileLimit,
}

impl SkipReason {
    /// The machine-readable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtTarget => "at_target",
            Self::TooFewFiles => "too_few_files",
            Self::NoGain => "no_gain",
            Self::FileLimit => "file_limit",
        }
    }
}

/// What rewrite_data_files will do.
#[derive(Clone, Debug)]
pub struct RewritePlan {
    /// The snapshot planned from.
    pub snapshot_id: i64,
    /// Its sequence number; rewritten files keep it.
    pub starting_sequence_number: i64,
    /// The spec written to.
    pub output_spec_id: i32,
    /// Groups in the order they are to be rewritten.
    pub groups: Vec<FileGroup>,
    /// Files left alone, counted by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Live data files looked at.
    pub files_considered: u64,
}
