//! What a rewrite would take the native engine: from its plan, before anything runs.

use std::collections::HashSet;

use iceberg::spec::FormatVersion;
use snowpack_domain::{Compaction, Duration, Strategy, Verification};

use crate::position_deletes::{DeleteFileGroup, DeletePlan};
use crate::types::{RewritePlan, ScanFile};
use crate::vectors::VectorGroup;

/// Bytes that one worker function decodes and encodes in a second. Two cores of the size of Lambda's took 26 s for
/// 1.52 GiB from a local disk (engine.md, Speed to design for); half of that is left for S3 and for slower codecs.
const ENCODED_BYTES_PER_SECOND: u64 = 30 << 20;
/// Bytes whose row groups it copies in a second: the network's pace, read and written.
const COPIED_BYTES_PER_SECOND: u64 = 150 << 20;
/// How much longer sorted rows take than those kept in order: they go through a sort, in part on disk.
const SORTING_FACTOR: u64 = 3;
/// Files opened in a second: footers are fetched side by side.
const FILES_PER_SECOND: u64 = 50;
/// Smaller files hold no row group that is worth copying (`engine::write::copy`).
const LEAST_COPIED_BYTES: u64 = 1 << 20;

/// What a rewrite has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NativeWork {
    /// Bytes of files whose rows are decoded and encoded anew.
    pub encoded_bytes: u64,
    /// Bytes of files whose row groups can be copied, as far as metadata tells.
    pub copied_bytes: u64,
    /// Files to read.
    pub files: u64,
    /// Live files that were looked at.
    pub files_considered: u64,
    /// Whether rows are sorted.
    pub sorts: bool,
    /// Whether what was written is read back.
    pub reads_back: bool,
}

impl NativeWork {
    /// Whether the action has nothing to rewrite.
    pub fn is_nothing(&self) -> bool {
        self.files == 0
    }

    /// How long one worker function takes, in all its slices. Meant to tell minutes from hours and days; footers,
    /// which nobody has read yet, may make the truth some times less or more.
    pub fn estimate(&self) -> Duration {
        let factor = if self.sorts { SORTING_FACTOR } else { 1 };
        let again = if self.reads_back {
            self.encoded_bytes.saturating_add(self.copied_bytes)
        } else {
            0
        };
        let encoded = self.encoded_bytes.saturating_mul(factor) / ENCODED_BYTES_PER_SECOND;
        let copied = self.copied_bytes.saturating_add(again) / COPIED_BYTES_PER_SECOND;
        let seconds = encoded
            .saturating_add(copied)
            .saturating_add(self.files / FILES_PER_SECOND);
        Duration::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// The work of a planned rewrite of data files.
    pub(crate) fn of_rewrite(plan: &RewritePlan, settings: &Compaction, format: FormatVersion) -> Self {
        let sorts = settings.strategy != Strategy::BinPack || settings.sort_order.is_some();
        let mut work = Self {
            files_considered: plan.files_considered,
            sorts,
            reads_back: settings.verify == Verification::Content,
            ..Self::default()
        };
        for group in &plan.groups {
            // From version 3 on rows take their lineage along, which takes encoding.
            let may_copy = !sorts && !group.repartition && format < FormatVersion::V3;
            for file in &group.files {
                work.files += 1 + file.delete_count() as u64;
                if may_copy && is_copied(file) {
                    work.copied_bytes += file.bytes();
                } else {
                    work.encoded_bytes += file.bytes();
                }
            }
        }
        work
    }

    /// The work of a planned rewrite of position-delete files.
    pub(crate) fn of_delete_files(plan: &DeletePlan<DeleteFileGroup>) -> Self {
        Self {
            encoded_bytes: plan.groups.iter().map(|group| group.input_bytes).sum(),
            files: plan.groups.iter().map(|group| group.files.len() as u64).sum(),
            files_considered: plan.files_considered,
            ..Self::default()
        }
    }

    /// The work of a planned rewrite of deletion vectors. They share Puffin files, which are read once.
    pub(crate) fn of_vectors(plan: &DeletePlan<VectorGroup>) -> Self {
        let files = plan.groups.iter().flat_map(VectorGroup::files);
        let sizes: HashSet<(&str, u64)> = files
            .map(|file| (file.file.file_path(), file.file.file_size_in_bytes()))
            .collect();
        Self {
            encoded_bytes: sizes.iter().map(|(_, bytes)| bytes).sum(),
            files: sizes.len() as u64,
            files_considered: plan.files_considered,
            ..Self::default()
        }
    }
}

fn is_copied(file: &ScanFile) -> bool {
    file.delete_count() == 0 && file.bytes() >= LEAST_COPIED_BYTES
}

#[cfg(test)]
mod tests;
