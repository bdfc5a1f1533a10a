//! What rewrite_position_delete_files rewrites: Java's selection (`BinPackRewritePositionDeletePlanner` of
//! Iceberg 1.10), and the rule that a rewrite must get somewhere.
//!
//! Java rewrites five small delete files of five data files into five for ever. Here a group is rewritten only if
//! that strictly lowers (files outside the size band, then files), gives files the wanted granularity, or drops
//! a file that metadata alone shows to apply to nothing. What one rewrite of ours wrote is not judged again by
//! itself while its snapshot is known and the target is the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{DataContentType, Struct, TableMetadata};
use snowpack_catalog::normalize_location;
use snowpack_domain::{Action, DeleteGranularity, FileSizes, JobId, PositionDeleteCompaction};

use crate::deletes::referenced_data_file;
use crate::filter::FileFilter;
use crate::partition::PartitionTypes;
use crate::rewrite::{own_rewrites, sort_by_order};
use crate::rewrite_all::RewriteAll;
use crate::sizing::{Band, expected_output_files, pack, write_max_file_bytes};
use crate::state::TableState;
use crate::types::{LiveFile, SkipReason};

/// Most bytes in one group, unless a larger target file size is asked for. The merge of a group holds the
/// row group it is at of every file, compressed: for small files that is the whole file.
const MERGED_BYTES: u64 = 128 * 1024 * 1024;
/// `SizeBasedFileRewritePlanner.SPLIT_OVERHEAD`.
const SPLIT_OVERHEAD_BYTES: u64 = 5 * 1024;

/// The live data files of one partition: what position deletes of that partition can apply to.
#[derive(Clone, Debug, Default)]
pub struct LiveTargets {
    /// Data sequence numbers by normalised path.
    sequences: HashMap<String, i64>,
    lowest: Option<i64>,
}

impl LiveTargets {
    /// Adds a live data file.
    pub fn add(&mut self, path: &str, sequence_number: i64) {
        self.lowest = Some(
            self.lowest
                .map_or(sequence_number, |lowest| lowest.min(sequence_number)),
        );
        let known = self
            .sequences
            .entry(normalize_location(path).into_owned())
            .or_insert(sequence_number);
        *known = sequence_number.min(*known);
    }

    /// Whether a position delete of this data sequence number applies to the data file it names: the file is
    /// live, in the partition, and not newer than the delete (spec, Scan Planning).
    pub fn reaches(&self, path: &str, delete_sequence: i64) -> bool {
        let sequence = self.sequences.get(normalize_location(path).as_ref());
        sequence.is_some_and(|sequence| *sequence <= delete_sequence)
    }

    /// Whether it is certain, without reading it, that nothing in a delete file applies.
    fn leaves_dangling(&self, delete: &LiveFile) -> bool {
        match referenced_data_file(&delete.file) {
            Some(path) => !self.reaches(&path, delete.sequence_number),
            None => self.lowest.is_none_or(|lowest| lowest > delete.sequence_number),
        }
    }
}

/// Position-delete files of one partition of one spec, rewritten together.
#[derive(Clone, Debug)]
pub struct DeleteFileGroup {
    /// Position in the plan.
    pub index: usize,
    /// The files, in planned order.
    pub files: Vec<Arc<LiveFile>>,
    /// The data files they can apply to.
    pub targets: Arc<LiveTargets>,
    /// Sum of the files' sizes.
    pub input_bytes: u64,
    /// Files to write if nothing dangles; with one file for each data file it is a guess.
    pub output_files: usize,
    /// Where an output file must end (`SizeBasedFileRewritePlanner.writeMaxFileSize`).
    pub max_output_bytes: u64,
}

/// What rewrite_position_delete_files will do: to [`DeleteFileGroup`]s, or to
/// [`VectorGroup`](crate::VectorGroup)s of a table of format version 3.
#[derive(Clone, Debug)]
pub struct DeletePlan<G> {
    /// The snapshot planned from, or [`NO_SNAPSHOT`](crate::NO_SNAPSHOT) with no groups.
    pub snapshot_id: i64,
    /// Its sequence number.
    pub sequence_number: i64,
    /// Groups in the order they are to be rewritten.
    pub groups: Vec<G>,
    /// Files left alone, counted by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Live position-delete files and Puffin files looked at.
    pub files_considered: u64,
}

/// Plans a rewrite of the state's position-delete files.
pub(crate) fn plan(
    state: &TableState,
    metadata: &TableMetadata,
    settings: &PositionDeleteCompaction,
    job: Option<&JobId>,
) -> DeletePlan<DeleteFileGroup> {
    let mut planner = Planner::new(metadata, settings, job);
    let partitions = Partitions::of(state, metadata);
    let files_considered = partitions.parts.iter().map(|part| part.files.len() as u64).sum();
    for part in partitions.parts {
        planner.offer_partition(part, &partitions.homes);
    }
    let mut groups = planner.groups;
    sort_by_order(
        &mut groups,
        settings.job_order,
        |group| group.input_bytes,
        |group| group.files.len(),
    );
    for (index, group) in groups.iter_mut().enumerate() {
        group.index = index;
    }
    DeletePlan {
        snapshot_id: state.snapshot_id,
        sequence_number: state.sequence_number,
        groups,
        skipped: planner.skipped,
        files_considered,
    }
}

type PartitionKey = (i32, Struct);

/// The position-delete files of one partition, and what they can apply to.
struct Part {
    key: PartitionKey,
    files: Vec<Arc<LiveFile>>,
    targets: LiveTargets,
}

/// Partitions that have position deletes, in the order they were first met.
struct Partitions {
    parts: Vec<Part>,
    /// Where the live data files are that delete files name in their metadata.
    homes: HashMap<String, PartitionKey>,
}

impl Partitions {
    fn of(state: &TableState, metadata: &TableMetadata) -> Self {
        let types = PartitionTypes::of(metadata);
        let key = |file: &LiveFile| {
            let partition = types.current(file.spec_id, file.file.partition());
            (file.spec_id, partition.into_owned())
        };
        let mut parts: Vec<Part> = Vec::new();
        let mut positions: HashMap<PartitionKey, usize> = HashMap::new();
        let mut named = HashSet::new();
        let is_position_delete =
            |file: &&Arc<LiveFile>| file.file.content_type() == DataContentType::PositionDeletes;
        for file in state.deletes.iter().filter(is_position_delete) {
            if let Some(path) = referenced_data_file(&file.file) {
                named.insert(normalize_location(&path).into_owned());
            }
            let key = key(file);
            let position = *positions.entry(key.clone()).or_insert_with(|| {
                parts.push(Part {
                    key,
                    files: Vec::new(),
                    targets: LiveTargets::default(),
                });
                parts.len() - 1
            });
            parts[position].files.push(Arc::clone(file));
        }
        let mut homes = HashMap::new();
        for data in &state.data {
            let (path, key) = (data.file.file_path(), key(data));
            if let Some(&position) = positions.get(&key) {
                parts[position].targets.add(path, data.sequence_number);
            }
            if let Some(named) = named.take(normalize_location(path).as_ref()) {
                homes.insert(named, key);
            }
        }
        Self { parts, homes }
    }
}

/// Decides on candidates and groups, and keeps count.
struct Planner<'a> {
    settings: &'a PositionDeleteCompaction,
    wanted: Band,
    of_own_output: Band,
    own_rewrites: HashSet<i64>,
    rewrite_all: RewriteAll,
    filter: Option<FileFilter>,
    groups: Vec<DeleteFileGroup>,
    skipped: BTreeMap<SkipReason, u64>,
}

impl<'a> Planner<'a> {
    fn new(metadata: &TableMetadata, settings: &'a PositionDeleteCompaction, job: Option<&JobId>) -> Self {
        let action = Action::RewritePositionDeleteFiles;
        Self {
            settings,
            wanted: Band::wanted(settings.sizes),
            of_own_output: Band::of_own_output(settings.sizes),
            own_rewrites: own_rewrites(metadata, action, settings.sizes.target_bytes),
            rewrite_all: RewriteAll::new(settings.rewrite_all, metadata, action, job),
            filter: FileFilter::checked(settings.filter.as_deref(), metadata),
            groups: Vec::new(),
            skipped: BTreeMap::new(),
        }
    }

    fn skip(&mut self, reason: SkipReason, files: usize) {
        if files > 0 {
            *self.skipped.entry(reason).or_default() += files as u64;
        }
    }

    fn offer_partition(&mut self, part: Part, homes: &HashMap<String, PartitionKey>) {
        let targets = Arc::new(part.targets);
        let mut candidates = Vec::new();
        for file in part.files {
            if self
                .filter
                .as_ref()
                .is_some_and(|filter| !filter.selects_partition(&file))
            {
                self.skip(SkipReason::FilteredOut, 1);
            } else if is_misplaced(&file, &part.key, homes) {
                self.skip(SkipReason::OtherPartition, 1);
            } else if self.rewrite_all.wrote(&file) {
                self.skip(SkipReason::AlreadyRewritten, 1);
            } else if self.rewrite_all.is_asked()
                || !self.has_right_size(&file)
                || targets.leaves_dangling(&file)
            {
                candidates.push(file);
            } else {
                self.skip(SkipReason::AtTarget, 1);
            }
        }
        let limit = self
            .settings
            .max_group_bytes
            .min(MERGED_BYTES.max(self.settings.sizes.target_bytes));
        for files in pack(candidates, limit, |file| file.file.file_size_in_bytes()) {
            self.offer(files, &targets);
        }
    }

    fn has_right_size(&self, file: &LiveFile) -> bool {
        let bytes = file.file.file_size_in_bytes();
        let is_own = self.own_rewrites.contains(&file.snapshot_id);
        self.wanted.contains(bytes) || (is_own && self.of_own_output.contains(bytes))
    }

    /// Takes a packed run of candidates into the plan, or not.
    fn offer(&mut self, files: Vec<Arc<LiveFile>>, targets: &Arc<LiveTargets>) {
        let drops_files = files.iter().any(|file| targets.leaves_dangling(file));
        if !self.rewrite_all.is_asked() && !drops_files {
            if !self.is_worth_a_group(&files) {
                return self.skip(SkipReason::TooFewFiles, files.len());
            }
            if !self.gains(&files) {
                return self.skip(SkipReason::NoGain, files.len());
            }
        }
        self.groups.push(DeleteFileGroup {
            index: 0,
            targets: Arc::clone(targets),
            input_bytes: total_bytes(&files),
            output_files: self.outputs(&files).iter().map(|(files, _)| files).sum(),
            max_output_bytes: write_max_file_bytes(self.settings.sizes),
            files,
        });
    }

    fn is_worth_a_group(&self, files: &[Arc<LiveFile>]) -> bool {
        let bytes = total_bytes(files);
        let is_enough =
            files.len() >= self.settings.min_input_files || bytes > self.settings.sizes.target_bytes;
        (files.len() > 1 && is_enough) || bytes > self.settings.sizes.max_bytes
    }

    fn gains(&self, files: &[Arc<LiveFile>]) -> bool {
        let first = files.first().map(|file| file.snapshot_id);
        if first.is_some_and(|first| {
            self.own_rewrites.contains(&first) && files.iter().all(|file| file.snapshot_id == first)
        }) {
            return false;
        }
        let is_per_file = |file: &Arc<LiveFile>| referenced_data_file(&file.file).is_some();
        if self.settings.granularity == DeleteGranularity::File && !files.iter().all(is_per_file) {
            return true;
        }
        let wrong_sizes = files.iter().filter(|file| !self.has_right_size(file)).count();
        let outputs = self.outputs(files);
        let is_wrong = |(files, bytes): &&(usize, u64)| !self.wanted.contains(bytes / (*files).max(1) as u64);
        let wrong_outputs: usize = outputs.iter().filter(is_wrong).map(|(files, _)| files).sum();
        let output_files = outputs.iter().map(|(files, _)| files).sum();
        (wrong_outputs, output_files) < (wrong_sizes, files.len())
    }

    /// How many files of how many bytes in all become of the group: together, or of each data file.
    fn outputs(&self, files: &[Arc<LiveFile>]) -> Vec<(usize, u64)> {
        let mut bytes: BTreeMap<Option<String>, u64> = BTreeMap::new();
        for file in files {
            let key = match self.settings.granularity {
                DeleteGranularity::File => referenced_data_file(&file.file),
                DeleteGranularity::Partition => None,
            };
            *bytes.entry(key).or_default() += file.file.file_size_in_bytes();
        }
        let sizes = self.settings.sizes;
        bytes
            .into_values()
            .map(|bytes| (output_files(bytes, sizes), bytes))
            .collect()
    }
}

/// Files that `bytes` of delete files become: as many as Spark reads them in splits
/// (`SizeBasedFileRewritePlanner.inputSplitSize`), which for small sizes are fewer than it expects.
fn output_files(bytes: u64, sizes: FileSizes) -> usize {
    let expected = expected_output_files(bytes, sizes) as u64;
    let split = (bytes / expected).saturating_add(SPLIT_OVERHEAD_BYTES);
    let split = split.min(write_max_file_bytes(sizes)).max(sizes.target_bytes);
    usize::try_from(bytes.div_ceil(split).max(1)).unwrap_or(usize::MAX)
}

/// Whether a delete file names one data file that is live in another partition. Java applies such a file by
/// its path alone; merged with others it would lose that.
fn is_misplaced(file: &LiveFile, key: &PartitionKey, homes: &HashMap<String, PartitionKey>) -> bool {
    let home =
        referenced_data_file(&file.file).and_then(|path| homes.get(normalize_location(&path).as_ref()));
    home.is_some_and(|home| home != key)
}

fn total_bytes(files: &[Arc<LiveFile>]) -> u64 {
    let bytes = files.iter().map(|file| file.file.file_size_in_bytes());
    bytes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests;
