//! What a rewrite would take the native engine, and whether it would refuse: from metadata, before anything runs.

use std::collections::HashSet;

use iceberg::spec::FormatVersion;
use snowpack_catalog::LoadedTable;
use snowpack_domain::{
    Action, Compaction, Duration, JobOptions, ManifestRewrite, PositionDeleteCompaction, Properties,
    Strategy, Verification,
};

use crate::error::PlanError;
use crate::filter::FileFilter;
use crate::manifests::check_manifest_settings;
use crate::position_deletes;
use crate::rewrite::plan;
use crate::state::TableState;
use crate::supported::{
    check_files, check_metadata, check_position_delete_files, check_position_delete_settings, check_settings,
};
use crate::types::{RewritePlan, ScanFile};
use crate::vectors;

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
}

fn is_copied(file: &ScanFile) -> bool {
    file.delete_count() == 0 && file.bytes() >= LEAST_COPIED_BYTES
}

/// What is known of an action on a table before it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// Why the native engine refuses the table, if it does.
    pub refusal: Option<String>,
    /// The work, of the two actions that rewrite rows; absent for the others, and where manifests cannot be read.
    pub work: Option<NativeWork>,
}

/// Checks the options of an action against a loaded table, whoever will do it. Reads nothing.
///
/// # Errors
/// [`PlanError`] naming the option that cannot be used.
pub fn check_options(
    table: &LoadedTable,
    action: Action,
    options: &JobOptions,
    properties: Properties<'_>,
) -> Result<(), PlanError> {
    match action {
        Action::RewriteDataFiles => check_settings(table, &Compaction::resolve(options, properties)?),
        Action::RewritePositionDeleteFiles => {
            let settings = PositionDeleteCompaction::resolve(options, properties)?;
            check_position_delete_settings(table, &settings)
        }
        Action::RewriteManifests => {
            check_manifest_settings(table, &ManifestRewrite::resolve(options, properties)?)
        }
        Action::ExpireSnapshots | Action::RemoveOrphanFiles => Ok(()),
    }
}

/// Assesses an action on a loaded table. Reads the current snapshot's manifests for the actions that rewrite rows.
///
/// # Errors
/// [`PlanError`] when options cannot be used, or a manifest not be read.
pub async fn assess(
    table: &LoadedTable,
    action: Action,
    options: &JobOptions,
    properties: Properties<'_>,
) -> Result<Assessment, PlanError> {
    check_options(table, action, options, properties)?;
    let refusal = refusal_of(check_metadata(table))?;
    match action {
        Action::RewriteDataFiles if refusal.is_none() => {
            assess_rewrite(table, &Compaction::resolve(options, properties)?).await
        }
        Action::RewritePositionDeleteFiles if refusal.is_none() => {
            assess_position_deletes(table, &PositionDeleteCompaction::resolve(options, properties)?).await
        }
        _ => Ok(Assessment { refusal, work: None }),
    }
}

/// Why the engine refuses, taken out of the error that says so.
pub(crate) fn refusal_of(checked: Result<(), PlanError>) -> Result<Option<String>, PlanError> {
    match checked {
        Ok(()) => Ok(None),
        Err(PlanError::Unsupported { reason, .. }) => Ok(Some(reason)),
        Err(other) => Err(other),
    }
}

async fn assess_rewrite(table: &LoadedTable, settings: &Compaction) -> Result<Assessment, PlanError> {
    let filter = FileFilter::checked(settings.filter.as_deref(), &table.metadata);
    let columns = filter.map(|filter| filter.columns()).unwrap_or_default();
    let state = TableState::read_with(table, columns).await?;
    let planned = plan(&state, &table.metadata, settings, None);
    Ok(Assessment {
        refusal: refusal_of(check_files(table, &state))?,
        work: Some(NativeWork::of_rewrite(
            &planned,
            settings,
            table.metadata.format_version(),
        )),
    })
}

async fn assess_position_deletes(
    table: &LoadedTable,
    settings: &PositionDeleteCompaction,
) -> Result<Assessment, PlanError> {
    let state = TableState::read(table).await?;
    let refusal = refusal_of(check_position_delete_files(table, &state))?;
    let work = if table.metadata.format_version() < FormatVersion::V3 {
        let plan = position_deletes::plan(&state, &table.metadata, settings, None);
        NativeWork {
            encoded_bytes: plan.groups.iter().map(|group| group.input_bytes).sum(),
            files: plan.groups.iter().map(|group| group.files.len() as u64).sum(),
            files_considered: plan.files_considered,
            ..NativeWork::default()
        }
    } else {
        match vectors::plan(&state, &table.metadata, settings, None) {
            Err(_) => return Ok(Assessment { refusal, work: None }),
            Ok(plan) => vector_work(&plan),
        }
    };
    Ok(Assessment {
        refusal,
        work: Some(work),
    })
}

/// Vectors share Puffin files, which are read once.
fn vector_work(plan: &position_deletes::DeletePlan<vectors::VectorGroup>) -> NativeWork {
    let files = plan.groups.iter().flat_map(vectors::VectorGroup::files);
    let sizes: HashSet<(&str, u64)> = files
        .map(|file| (file.file.file_path(), file.file.file_size_in_bytes()))
        .collect();
    NativeWork {
        encoded_bytes: sizes.iter().map(|(_, bytes)| bytes).sum(),
        files: sizes.len() as u64,
        files_considered: plan.files_considered,
        ..NativeWork::default()
    }
}

#[cfg(test)]
mod tests;
