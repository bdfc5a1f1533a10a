//! What rewrite_position_delete_files does in format version 3: position-delete files become deletion vectors,
//! vectors of dead data files go, and small Puffin files are merged.
//!
//! - Every position-delete file is converted, however few there are: version 3 writes none any more. A data
//!   file gets one vector, so all delete files that may be about it are in one [`Conversion`].
//! - A vector that is there already holds every older position delete (spec, Deletion Vectors), and readers
//!   apply it alone: data files that have one are no targets of a conversion.
//! - A Puffin file is *small* below `min-file-size-bytes`, *wasteful* when less than half of it is of live
//!   vectors. Wasteful ones are rewritten; small ones once there are `min-input-files` of them, counting what
//!   this run writes, and, if it writes nothing else, only for fewer files.
//! - Small files that are all of earlier runs of this action with the same target stay: what is left over when
//!   files are filled in order would not get fewer. So a second run does nothing.

mod survey;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use iceberg::spec::TableMetadata;
use snowpack_domain::{Action, JobId, PositionDeleteCompaction};

use crate::filter::FileFilter;
use crate::position_deletes::DeletePlan;
use crate::rewrite::{own_rewrites, sort_by_order};
use crate::rewrite_all::RewriteAll;
use crate::sizing::{pack, write_max_file_bytes};
use crate::state::TableState;
use crate::types::{LiveFile, SkipReason};
use survey::{PuffinFile, Survey};

/// What one vector takes in a Puffin file besides its bitmap and its data file's path: frame and footer entry.
const BLOB_OVERHEAD_BYTES: u64 = 224;
/// Share of a Puffin file that live vectors must fill, as a divisor: below a half, rewriting it pays.
const MIN_LIVE_DIVISOR: u64 = 2;

/// Position-delete files that become vectors together, since they may be about the same data files.
#[derive(Clone, Debug, Default)]
pub struct Conversion {
    /// The position-delete files.
    pub deletes: Vec<Arc<LiveFile>>,
    /// The live data files that they may name and that have no vector yet.
    pub targets: Vec<Arc<LiveFile>>,
}

/// What becomes of one Puffin file, or of several when the first one is full.
#[derive(Clone, Debug, Default)]
pub struct VectorGroup {
    /// Position in the plan.
    pub index: usize,
    /// Position-delete files to convert.
    pub conversions: Vec<Conversion>,
    /// Vectors to copy from other Puffin files.
    pub copies: Vec<Arc<LiveFile>>,
    /// Delete files and vectors that apply to no live data file, as metadata alone shows.
    pub dangling: Vec<Arc<LiveFile>>,
    /// About as many bytes as will be written.
    pub input_bytes: u64,
    /// Where a Puffin file must end (`SizeBasedFileRewritePlanner.writeMaxFileSize`).
    pub max_output_bytes: u64,
}

impl VectorGroup {
    /// Every delete file and vector that the group replaces.
    pub fn files(&self) -> impl Iterator<Item = &Arc<LiveFile>> {
        let converted = self.conversions.iter().flat_map(|conversion| &conversion.deletes);
        converted.chain(&self.copies).chain(&self.dangling)
    }
}

/// Plans for the state of a version 3 table.
///
/// # Errors
/// The state breaks a rule of the specification, in one sentence: two vectors of one data file, or a vector
/// that does not say which file it is about. No reader can tell which rows such a table has.
pub(crate) fn plan(
    state: &TableState,
    metadata: &TableMetadata,
    settings: &PositionDeleteCompaction,
    job: Option<&JobId>,
) -> Result<DeletePlan<VectorGroup>, String> {
    let action = Action::RewritePositionDeleteFiles;
    let survey = Survey::of(state, metadata)?;
    let mut planner = Planner {
        settings,
        own_rewrites: own_rewrites(metadata, action, settings.sizes.target_bytes),
        rewrite_all: RewriteAll::new(settings.rewrite_all, metadata, action, job),
        units: Vec::new(),
        skipped: BTreeMap::new(),
    };
    let files_considered = survey.files_considered;
    let survey = planner.selected(survey, FileFilter::checked(settings.filter.as_deref(), metadata));
    planner
        .units
        .extend(survey.conversions.into_iter().map(Unit::Convert));
    planner.offer_puffin_files(survey.puffin_files);
    let groups = planner.groups(survey.dangling);
    Ok(DeletePlan {
        snapshot_id: state.snapshot_id,
        sequence_number: state.sequence_number,
        groups,
        skipped: planner.skipped,
        files_considered,
    })
}

/// What goes into one group whole.
#[derive(Clone)]
enum Unit {
    Convert(Conversion),
    Copy(Arc<LiveFile>),
}

impl Unit {
    /// About the bytes it becomes: positions take no more in a bitmap than in Parquet.
    fn bytes(&self) -> u64 {
        match self {
            Self::Convert(conversion) => {
                let deletes = || conversion.deletes.iter().map(|delete| &delete.file);
                let rows = deletes()
                    .map(|file| file.record_count())
                    .fold(0, u64::saturating_add);
                let bytes = deletes().map(|file| file.file_size_in_bytes());
                let paths = conversion.targets.iter().map(|target| path_bytes(target));
                let vectors = rows.min(conversion.targets.len() as u64);
                let per_vector = BLOB_OVERHEAD_BYTES + paths.max().unwrap_or(0);
                bytes.fold(vectors.saturating_mul(per_vector), u64::saturating_add)
            }
            Self::Copy(vector) => vector_bytes(vector),
        }
    }
}

fn path_bytes(file: &LiveFile) -> u64 {
    file.file.file_path().len() as u64
}

/// What a vector takes in the Puffin file it is written to.
fn vector_bytes(vector: &LiveFile) -> u64 {
    let content = vector.file.content_size_in_bytes().unwrap_or(0);
    let path = vector.file.referenced_data_file().map_or(0, |path| path.len());
    u64::try_from(content).unwrap_or(0) + path as u64 + BLOB_OVERHEAD_BYTES
}

struct Planner<'a> {
    settings: &'a PositionDeleteCompaction,
    own_rewrites: HashSet<i64>,
    rewrite_all: RewriteAll,
    units: Vec<Unit>,
    skipped: BTreeMap<SkipReason, u64>,
}

impl Planner<'_> {
    fn skip(&mut self, reason: SkipReason, files: usize) {
        if files > 0 {
            *self.skipped.entry(reason).or_default() += files as u64;
        }
    }

    /// What the filter leaves. What is done together stays together: one delete file outside the filter keeps all of
    /// a conversion, and one vector all of a Puffin file.
    fn selected(&mut self, mut survey: Survey, filter: Option<FileFilter>) -> Survey {
        let Some(filter) = filter else {
            return survey;
        };
        let selects = |file: &Arc<LiveFile>| filter.selects_partition(file);
        let mut left_out = 0;
        survey.conversions.retain(|conversion| {
            let selected = conversion.deletes.iter().all(selects);
            left_out += if selected { 0 } else { conversion.deletes.len() };
            selected
        });
        survey.puffin_files.retain(|file| {
            let selected = file.live.iter().all(selects);
            left_out += usize::from(!selected);
            selected
        });
        survey.dangling.retain(|file| {
            let selected = selects(file);
            left_out += usize::from(!selected);
            selected
        });
        self.skip(SkipReason::FilteredOut, left_out);
        survey
    }

    fn offer_puffin_files(&mut self, files: Vec<PuffinFile>) {
        let mut small = Vec::new();
        for file in files {
            if self.rewrite_all.is_asked() && file.live.iter().all(|vector| self.rewrite_all.wrote(vector)) {
                self.skip(SkipReason::AlreadyRewritten, 1);
            } else if self.rewrite_all.is_asked() || self.is_wasteful(&file) {
                self.units.extend(file.live.into_iter().map(Unit::Copy));
            } else if file.bytes < self.settings.sizes.min_bytes {
                small.push(file);
            } else {
                self.skip(SkipReason::AtTarget, 1);
            }
        }
        if let Some(reason) = self.reason_to_leave(&small) {
            return self.skip(reason, small.len());
        }
        self.units
            .extend(small.into_iter().flat_map(|file| file.live).map(Unit::Copy));
    }

    /// Small files are merged with others anyway, so only the others are looked at.
    fn is_wasteful(&self, file: &PuffinFile) -> bool {
        let live: u64 = file.live.iter().map(|vector| vector_bytes(vector)).sum();
        file.bytes >= self.settings.sizes.min_bytes && live < file.bytes / MIN_LIVE_DIVISOR
    }

    /// Why small files stay, if they do. Beside other files of this run they are merged whatever comes of it:
    /// how large those get is only known once they are written, and a second run must not find more to do.
    fn reason_to_leave(&self, small: &[PuffinFile]) -> Option<SkipReason> {
        let written = self.pack(self.units.clone()).len();
        if written + small.len() < self.settings.min_input_files {
            return Some(SkipReason::TooFewFiles);
        }
        if written > 0 {
            return None;
        }
        let is_own = |file: &PuffinFile| {
            let mut snapshots = file.live.iter().map(|vector| vector.snapshot_id);
            snapshots.all(|snapshot| self.own_rewrites.contains(&snapshot))
        };
        let copies = small.iter().flat_map(|file| &file.live).cloned();
        let gains = self.pack(copies.map(Unit::Copy).collect()).len() < small.len();
        (!gains || small.iter().all(is_own)).then_some(SkipReason::NoGain)
    }

    /// Fills groups in order, each with about one file of the target size.
    fn pack(&self, units: Vec<Unit>) -> Vec<Vec<Unit>> {
        let limit = self
            .settings
            .max_group_bytes
            .min(self.settings.sizes.target_bytes);
        pack(units, limit, Unit::bytes)
    }

    fn groups(&mut self, dangling: Vec<Arc<LiveFile>>) -> Vec<VectorGroup> {
        let units = std::mem::take(&mut self.units);
        let mut groups: Vec<_> = self
            .pack(units)
            .into_iter()
            .map(|units| self.group(units))
            .collect();
        let order = self.settings.job_order;
        sort_by_order(
            &mut groups,
            order,
            |group| group.input_bytes,
            |group| group.files().count(),
        );
        if !dangling.is_empty() {
            groups.push(VectorGroup {
                dangling,
                ..VectorGroup::default()
            });
        }
        for (index, group) in groups.iter_mut().enumerate() {
            group.index = index;
        }
        groups
    }

    fn group(&self, units: Vec<Unit>) -> VectorGroup {
        let mut group = VectorGroup {
            input_bytes: units.iter().map(Unit::bytes).fold(0, u64::saturating_add),
            max_output_bytes: write_max_file_bytes(self.settings.sizes),
            ..VectorGroup::default()
        };
        for unit in units {
            match unit {
                Unit::Convert(conversion) => group.conversions.push(conversion),
                Unit::Copy(vector) => group.copies.push(vector),
            }
        }
        group
    }
}

#[cfg(test)]
mod tests;
