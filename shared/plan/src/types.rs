//! What planning reads and decides: live files with their deletes, file groups, and why files were left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::{DataFile, Struct};

use crate::applying::Deletes;
use crate::deletes::referenced_data_file;

/// A live data or delete file with what its manifest entry says, inheritance applied.
#[derive(Clone, Debug)]
pub struct LiveFile {
    /// The file. Statistics of data files may be incomplete ([`TableState::data`](crate::TableState::data)).
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
    /// Position-delete files that may hold positions of this file, oldest first.
    pub position_deletes: Deletes,
    /// Equality-delete files with a higher data sequence number, global or of the same partition.
    pub equality_deletes: Deletes,
}

impl ScanFile {
    /// A data file that no deletes apply to.
    pub fn new(data: Arc<LiveFile>) -> Self {
        Self {
            data,
            position_deletes: Deletes::default(),
            equality_deletes: Deletes::default(),
        }
    }

    /// All deletes that apply.
    pub fn delete_count(&self) -> usize {
        self.position_deletes.len() + self.equality_deletes.len()
    }

    /// Whether so many deletes apply and may hold rows of this file. A rewritten file keeps an old data
    /// sequence number, so that partition-scoped position deletes older than the file itself still apply by
    /// the letter; they cannot name it, and rewriting it again would not get rid of them.
    pub fn has_effective_deletes(&self, at_least: usize) -> bool {
        let missing = at_least.saturating_sub(self.equality_deletes.len());
        let effective = self
            .position_deletes
            .iter()
            .filter(|delete| self.may_name_this_file(delete));
        effective.take(missing).count() == missing
    }

    fn may_name_this_file(&self, delete: &LiveFile) -> bool {
        let is_older = match (delete.file_sequence_number, self.data.file_sequence_number) {
            (Some(delete_added), Some(data_added)) => delete_added < data_added,
            _ => false,
        };
        !is_older || referenced_data_file(&delete.file).is_some()
    }

    /// Rows known to be deleted: those of deletes that are about this file only, at most all its rows.
    pub fn known_deleted_rows(&self) -> u64 {
        let rows = self
            .position_deletes
            .of_this_file()
            .map(|delete| delete.file.record_count())
            .fold(0, u64::saturating_add);
        rows.min(self.data.file.record_count())
    }

    /// Bytes of the data file.
    pub fn bytes(&self) -> u64 {
        self.data.file.file_size_in_bytes()
    }

    /// Bytes of the data file less the share of rows known to be deleted.
    pub fn live_bytes(&self) -> u64 {
        let rows = u128::from(self.data.file.record_count());
        let live_rows = rows - u128::from(self.known_deleted_rows());
        let live = (u128::from(self.bytes()) * live_rows).checked_div(rows);
        live.map_or(self.bytes(), |bytes| bytes as u64)
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
    /// Files to write (`SizeBasedFileRewritePlanner.expectedOutputFiles`, of the bytes not known to be
    /// deleted); where rows go to several partitions it is a wish.
    pub output_files: usize,
    /// Where an output file must end (`SizeBasedFileRewritePlanner.writeMaxFileSize`): above the target, so
    /// that rows which compress worse than hoped do not leave a tiny last file.
    pub max_output_bytes: u64,
    /// Whether rows may belong to several partitions of the output spec.
    pub repartition: bool,
}

/// Why a live file that an action looked at is not rewritten.
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
    /// The option `where` leaves it out.
    FilteredOut,
    /// An earlier slice or attempt of the same job wrote it, and the option `rewrite-all` takes every file once.
    AlreadyRewritten,
    /// A position-delete file of one data file that is in another partition than the delete file: it applies
    /// only while it stands alone.
    OtherPartition,
}

impl SkipReason {
    /// The machine-readable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtTarget => "at_target",
            Self::TooFewFiles => "too_few_files",
            Self::NoGain => "no_gain",
            Self::FileLimit => "file_limit",
            Self::FilteredOut => "filtered_out",
            Self::AlreadyRewritten => "already_rewritten",
            Self::OtherPartition => "other_partition",
        }
    }
}

/// What rewrite_data_files will do.
#[derive(Clone, Debug)]
pub struct RewritePlan {
    /// The snapshot planned from, or [`NO_SNAPSHOT`](crate::NO_SNAPSHOT) with no groups.
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
