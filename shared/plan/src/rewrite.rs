//! What rewrite_data_files rewrites: Java's selection (`BinPackRewriteFilePlanner` of Iceberg 1.10), and the
//! rule that a rewrite must get somewhere.
//!
//! Java rewrites some groups for ever, for example two files of 0.6 times the target each. Here a group is
//! rewritten only if that strictly lowers (files outside the size band, then files), removes deletes that
//! apply, or moves files to the output spec. What an earlier rewrite of ours wrote is not judged by size again
//! while its snapshot is known and the target is the same. So the action ends, and run twice it has nothing to
//! do the second time.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{Struct, TableMetadata};
use snowpack_domain::{Action, Compaction, JobId, RewriteJobOrder};

use crate::deletes::DeleteIndex;
use crate::filter::FileFilter;
use crate::partition::PartitionTypes;
use crate::rewrite_all::RewriteAll;
use crate::sizing::{Band, expected_output_files, pack, write_max_file_bytes};
use crate::state::TableState;
use crate::types::{FileGroup, LiveFile, RewritePlan, ScanFile, SkipReason};

/// Snapshot summary property: the action that made the snapshot.
pub const ACTION_SUMMARY_KEY: &str = "snowpack.action";
/// Snapshot summary property of rewrites: the target size they wrote to, in bytes.
pub const TARGET_SUMMARY_KEY: &str = "snowpack.target-file-size-bytes";

/// Plans a rewrite of the state's data files by `job`, if it is one. The options must have passed
/// [`check_settings`](crate::check_settings).
pub fn plan(
    state: &TableState,
    metadata: &TableMetadata,
    settings: &Compaction,
    job: Option<&JobId>,
) -> RewritePlan {
    let deletes = DeleteIndex::new(state, metadata);
    let mut planner = Planner::new(metadata, settings, job);
    let mut partitions = Partitions::new(metadata, planner.output_spec_id);
    let filter = FileFilter::checked(settings.filter.as_deref(), metadata);
    for data in &state.data {
        if filter.as_ref().is_some_and(|filter| !filter.selects(data)) {
            planner.skip(SkipReason::FilteredOut, 1);
            continue;
        }
        if planner.rewrite_all.wrote(data) {
            planner.skip(SkipReason::AlreadyRewritten, 1);
            continue;
        }
        let file = deletes.scan(data);
        if planner.rewrite_all.is_asked() || planner.is_candidate(&file) {
            partitions.add(file);
        } else {
            planner.skip(SkipReason::AtTarget, 1);
        }
    }
    for part in partitions.parts {
        for files in pack(part.files, settings.max_group_bytes, ScanFile::bytes) {
            planner.offer(files, &part.partition, part.repartition);
        }
    }
    RewritePlan {
        snapshot_id: state.snapshot_id,
        starting_sequence_number: state.sequence_number,
        output_spec_id: planner.output_spec_id,
        files_considered: state.data.len() as u64,
        groups: in_order(planner.groups, settings.job_order),
        skipped: planner.skipped,
    }
}

/// Candidates of one partition of the output spec, or those that have to be split over its partitions.
struct Part {
    partition: Struct,
    repartition: bool,
    files: Vec<ScanFile>,
}

/// Candidates by partition, in the order the partitions were first met.
struct Partitions {
    types: PartitionTypes,
    output_spec_id: i32,
    /// The output spec's tuple of nulls: where every row goes when it is unpartitioned.
    nulls: Struct,
    is_unpartitioned: bool,
    parts: Vec<Part>,
    positions: HashMap<(Struct, bool), usize>,
}

impl Partitions {
    fn new(metadata: &TableMetadata, output_spec_id: i32) -> Self {
        let spec = metadata.partition_spec_by_id(output_spec_id);
        Self {
            types: PartitionTypes::of(metadata),
            output_spec_id,
            nulls: spec.iter().flat_map(|spec| spec.fields()).map(|_| None).collect(),
            is_unpartitioned: spec.is_none_or(|spec| spec.is_unpartitioned()),
            parts: Vec::new(),
            positions: HashMap::new(),
        }
    }

    fn add(&mut self, file: ScanFile) {
        let data = &file.data;
        let repartition = data.spec_id != self.output_spec_id && !self.is_unpartitioned;
        let partition = if repartition || self.is_unpartitioned {
            self.nulls.clone()
        } else {
            self.types
                .current(data.spec_id, data.file.partition())
                .into_owned()
        };
        let next = self.parts.len();
        let position = *self
            .positions
            .entry((partition.clone(), repartition))
            .or_insert(next);
        if position == next {
            self.parts.push(Part {
                partition,
                repartition,
                files: Vec::new(),
            });
        }
        self.parts[position].files.push(file);
    }
}

/// Decides on candidates and groups, and keeps count.
struct Planner<'a> {
    settings: &'a Compaction,
    output_spec_id: i32,
    wanted: Band,
    of_own_output: Band,
    own_rewrites: HashSet<i64>,
    rewrite_all: RewriteAll,
    files_left: usize,
    groups: Vec<FileGroup>,
    skipped: BTreeMap<SkipReason, u64>,
}

impl<'a> Planner<'a> {
    fn new(metadata: &TableMetadata, settings: &'a Compaction, job: Option<&JobId>) -> Self {
        let action = Action::RewriteDataFiles;
        Self {
            settings,
            output_spec_id: settings
                .output_spec_id
                .unwrap_or_else(|| metadata.default_partition_spec_id()),
            wanted: Band::wanted(settings.sizes()),
            of_own_output: Band::of_own_output(settings.sizes()),
            own_rewrites: own_rewrites(metadata, action, settings.target_file_bytes),
            rewrite_all: RewriteAll::new(settings.rewrite_all, metadata, action, job),
            files_left: settings.max_files_to_rewrite.unwrap_or(usize::MAX),
            groups: Vec::new(),
            skipped: BTreeMap::new(),
        }
    }

    fn skip(&mut self, reason: SkipReason, files: usize) {
        if files > 0 {
            *self.skipped.entry(reason).or_default() += files as u64;
        }
    }

    fn is_candidate(&self, file: &ScanFile) -> bool {
        !self.has_right_size(&file.data) || self.has_too_many_deletes(file)
    }

    fn has_right_size(&self, data: &LiveFile) -> bool {
        let bytes = data.file.file_size_in_bytes();
        let is_own = self.own_rewrites.contains(&data.snapshot_id);
        self.wanted.contains(bytes) || (is_own && self.of_own_output.contains(bytes))
    }

    fn has_too_many_deletes(&self, file: &ScanFile) -> bool {
        let deleted_share = file.known_deleted_rows() as f64 / file.data.file.record_count() as f64;
        file.has_effective_deletes(self.settings.delete_file_threshold)
            || (deleted_share >= self.settings.delete_ratio_threshold && file.has_effective_deletes(1))
    }

    /// Takes a packed run of candidates into the plan, whole, in part, or not at all.
    fn offer(&mut self, mut files: Vec<ScanFile>, partition: &Struct, repartition: bool) {
        if !self.rewrite_all.is_asked() {
            if !self.is_worth_a_group(&files) {
                return self.skip(SkipReason::TooFewFiles, files.len());
            }
            if !self.gains(&files) {
                return self.skip(SkipReason::NoGain, files.len());
            }
        }
        let beyond_limit = files.split_off(files.len().min(self.files_left));
        self.skip(SkipReason::FileLimit, beyond_limit.len());
        if files.is_empty() {
            return;
        }
        if !beyond_limit.is_empty() && !self.rewrite_all.is_asked() && !self.gains(&files) {
            return self.skip(SkipReason::FileLimit, files.len());
        }
        self.files_left -= files.len();
        let group = self.group(files, partition, repartition);
        self.groups.push(group);
    }

    fn is_worth_a_group(&self, files: &[ScanFile]) -> bool {
        let bytes = total(files, ScanFile::bytes);
        let is_enough =
            files.len() >= self.settings.min_input_files || bytes > self.settings.target_file_bytes;
        (files.len() > 1 && is_enough)
            || bytes > self.settings.max_file_bytes
            || files.iter().any(|file| self.has_too_many_deletes(file))
    }

    fn gains(&self, files: &[ScanFile]) -> bool {
        let moves = files.iter().any(|file| file.data.spec_id != self.output_spec_id);
        if moves || files.iter().any(|file| file.has_effective_deletes(1)) {
            return true;
        }
        let wrong_sizes = files
            .iter()
            .filter(|file| !self.has_right_size(&file.data))
            .count();
        let bytes = total(files, ScanFile::live_bytes);
        let outputs = expected_output_files(bytes, self.settings.sizes());
        let is_right_size = self.wanted.contains(bytes / outputs as u64);
        let wrong_outputs = if is_right_size { 0 } else { outputs };
        (wrong_outputs, outputs) < (wrong_sizes, files.len())
    }

    fn group(&self, files: Vec<ScanFile>, partition: &Struct, repartition: bool) -> FileGroup {
        FileGroup {
            index: 0,
            partition: partition.clone(),
            input_bytes: total(&files, ScanFile::bytes),
            output_files: expected_output_files(total(&files, ScanFile::live_bytes), self.settings.sizes()),
            max_output_bytes: write_max_file_bytes(self.settings.sizes()),
            repartition,
            files,
        }
    }
}

fn total(files: &[ScanFile], bytes: impl Fn(&ScanFile) -> u64) -> u64 {
    files.iter().map(bytes).fold(0, u64::saturating_add)
}

/// Snapshots of our own rewrites by this action and to this target that the metadata still has.
pub(crate) fn own_rewrites(metadata: &TableMetadata, action: Action, target_bytes: u64) -> HashSet<i64> {
    let target = target_bytes.to_string();
    let is_own = |properties: &HashMap<String, String>| {
        properties.get(ACTION_SUMMARY_KEY).map(String::as_str) == Some(action.as_str())
            && properties.get(TARGET_SUMMARY_KEY) == Some(&target)
    };
    let snapshots = metadata
        .snapshots()
        .filter(|snapshot| is_own(&snapshot.summary().additional_properties));
    snapshots.map(|snapshot| snapshot.snapshot_id()).collect()
}

fn in_order(mut groups: Vec<FileGroup>, order: RewriteJobOrder) -> Vec<FileGroup> {
    sort_by_order(
        &mut groups,
        order,
        |group| group.input_bytes,
        |group| group.files.len(),
    );
    for (index, group) in groups.iter_mut().enumerate() {
        group.index = index;
    }
    groups
}

/// Sorts file groups as `rewrite-job-order` says; those alike stay as planned.
pub(crate) fn sort_by_order<G>(
    groups: &mut [G],
    order: RewriteJobOrder,
    bytes: impl Fn(&G) -> u64,
    files: impl Fn(&G) -> usize,
) {
    use std::cmp::Reverse;
    match order {
        RewriteJobOrder::None => {}
        RewriteJobOrder::BytesAscending => groups.sort_by_key(bytes),
        RewriteJobOrder::BytesDescending => groups.sort_by_key(|group| Reverse(bytes(group))),
        RewriteJobOrder::FilesAscending => groups.sort_by_key(files),
        RewriteJobOrder::FilesDescending => groups.sort_by_key(|group| Reverse(files(group))),
    }
}

#[cfg(test)]
mod tests;
