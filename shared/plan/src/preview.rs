//! What a dry run says: the numbers of each action, from metadata alone. Absent where only running it, or a
//! listing of storage, could tell.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{DataContentType, ManifestContentType, ManifestFile, TableMetadata};
use snowpack_catalog::LoadedTable;
use snowpack_domain::{
    Action, Compaction, Expiry, JobOptions, OrphanRemoval, Preview, PreviewSource, Properties, Timestamp,
};

use crate::error::PlanError;
use crate::expire::{ExpiryError, ExpiryPlan, gc_enabled, plan_expiry};
use crate::rewrite::plan;
use crate::state::TableState;
use crate::supported::{check_files, check_metadata, check_settings};
use crate::types::RewritePlan;

/// `commit.manifest.target-size-bytes` and its default, 8 MiB.
const MANIFEST_TARGET_PROPERTY: &str = "commit.manifest.target-size-bytes";
const DEFAULT_MANIFEST_TARGET_BYTES: u64 = 8 * 1024 * 1024;

type Numbers = BTreeMap<String, Option<u64>>;

/// What a dry run asks of a loaded table.
#[derive(Debug)]
pub(crate) struct PreviewRequest<'a> {
    pub(crate) table: &'a LoadedTable,
    /// The table's snapshot, or why it could not be read (in time).
    pub(crate) state: Result<&'a TableState, String>,
    pub(crate) options: &'a JobOptions,
    pub(crate) deployment: &'a HashMap<String, String>,
    pub(crate) now: Timestamp,
}

/// Whether an action's preview needs the live files; expiry is decided from the metadata file.
pub(crate) fn needs_state(action: Action) -> bool {
    matches!(
        action,
        Action::RewriteDataFiles | Action::RewritePositionDeleteFiles | Action::RewriteManifests
    )
}

/// No preview, and why.
pub(crate) fn no_preview(note: String) -> Preview {
    Preview {
        source: PreviewSource::None,
        numbers: Numbers::new(),
        note: Some(note),
    }
}

impl PreviewRequest<'_> {
    /// What one action would do.
    pub(crate) fn preview(&self, action: Action) -> Preview {
        let numbers = match action {
            Action::RewriteDataFiles => self.rewrite(),
            Action::ExpireSnapshots => self.expiry(),
            Action::RewritePositionDeleteFiles => self.state.clone().map(position_delete_numbers),
            Action::RewriteManifests => {
                let target = manifest_target_bytes(&self.table.metadata);
                self.state
                    .clone()
                    .map(|state| manifest_numbers(&state.manifests, target))
            }
            Action::RemoveOrphanFiles => self.orphans(),
        };
        match numbers {
            Ok(numbers) => Preview {
                source: PreviewSource::Live,
                numbers,
                note: self.note(action),
            },
            Err(note) => no_preview(note),
        }
    }

    fn properties(&self) -> Properties<'_> {
        Properties {
            table: self.table.metadata.properties(),
            deployment: self.deployment,
        }
    }

    fn rewrite(&self) -> Result<Numbers, String> {
        let settings =
            Compaction::resolve(self.options, self.properties()).map_err(|error| error.to_string())?;
        let refused = |error: PlanError| error.to_string();
        check_metadata(self.table).map_err(refused)?;
        check_settings(self.table, &settings).map_err(refused)?;
        let state = self.state.clone()?;
        check_files(self.table, state).map_err(refused)?;
        Ok(rewrite_numbers(&plan(state, &self.table.metadata, &settings)))
    }

    fn expiry(&self) -> Result<Numbers, String> {
        let settings =
            Expiry::resolve(self.options, self.properties(), self.now).map_err(|error| error.to_string())?;
        check_metadata(self.table).map_err(|error| error.to_string())?;
        let planned = plan_expiry(&self.table.metadata, self.table.refs(), &settings, self.now);
        planned
            .map(|plan| expiry_numbers(&plan))
            .map_err(|error: ExpiryError| error.to_string())
    }

    fn orphans(&self) -> Result<Numbers, String> {
        OrphanRemoval::resolve(self.options, self.properties(), self.now)
            .map_err(|error| error.to_string())?;
        check_metadata(self.table).map_err(|error| error.to_string())?;
        Ok(numbers([("orphan_files", None)]))
    }

    fn note(&self, action: Action) -> Option<String> {
        let note = match action {
            Action::RewriteDataFiles => return None,
            Action::ExpireSnapshots if gc_enabled(&self.table.metadata) => return None,
            Action::ExpireSnapshots => "gc.enabled is false: snapshots expire, but no file is deleted",
            Action::RewritePositionDeleteFiles | Action::RewriteManifests => {
                "this action is not built yet: these are the files it would look at, and a run is refused"
            }
            Action::RemoveOrphanFiles if gc_enabled(&self.table.metadata) => {
                "only listing the table's storage tells: run it with the option remove_orphan_files.dry_run"
            }
            Action::RemoveOrphanFiles => "gc.enabled is false: no file is deleted",
        };
        Some(note.to_owned())
    }
}

fn numbers<const N: usize>(pairs: [(&str, Option<u64>); N]) -> Numbers {
    pairs
        .into_iter()
        .map(|(name, number)| (name.to_owned(), number))
        .collect()
}

fn rewrite_numbers(plan: &RewritePlan) -> Numbers {
    let files = || plan.groups.iter().flat_map(|group| &group.files);
    let deletes: HashSet<_> = files()
        .flat_map(|file| file.position_deletes.iter().chain(&file.equality_deletes))
        .map(Arc::as_ptr)
        .collect();
    let mut numbers = numbers([
        ("files_considered", Some(plan.files_considered)),
        ("files_in", Some(files().count() as u64)),
        (
            "bytes_in",
            Some(plan.groups.iter().map(|group| group.input_bytes).sum()),
        ),
        (
            "rows_in",
            Some(files().map(|file| file.data.file.record_count()).sum()),
        ),
        (
            "files_out",
            Some(plan.groups.iter().map(|group| group.output_files as u64).sum()),
        ),
        ("file_groups", Some(plan.groups.len() as u64)),
        ("delete_files_applied", Some(deletes.len() as u64)),
    ]);
    let skipped = plan
        .skipped
        .iter()
        .map(|(reason, files)| (format!("skipped_{}", reason.as_str()), Some(*files)));
    numbers.extend(skipped);
    numbers
}

fn expiry_numbers(plan: &ExpiryPlan) -> Numbers {
    // Which files go is known only once the manifests of every snapshot were read.
    numbers([
        ("snapshots", Some(plan.snapshots.len() as u64)),
        ("refs", Some(plan.refs.len() as u64)),
        ("data_files", None),
    ])
}

fn position_delete_numbers(state: &TableState) -> Numbers {
    let is_position_delete = |kind| kind == DataContentType::PositionDeletes;
    let files = state
        .deletes
        .iter()
        .filter(|delete| is_position_delete(delete.file.content_type()));
    let bytes = files.clone().map(|delete| delete.file.file_size_in_bytes()).sum();
    numbers([
        ("delete_files_in", Some(files.count() as u64)),
        ("bytes_in", Some(bytes)),
        ("delete_files_out", None),
    ])
}

/// Manifests that merging to the target size would replace, by partition spec and kind.
fn manifest_numbers(manifests: &[ManifestFile], target_bytes: u64) -> Numbers {
    let mut kinds: BTreeMap<(i32, bool), (u64, u64)> = BTreeMap::new();
    for manifest in manifests {
        let key = (
            manifest.partition_spec_id,
            manifest.content == ManifestContentType::Deletes,
        );
        let (count, bytes) = kinds.entry(key).or_default();
        *count += 1;
        *bytes += u64::try_from(manifest.manifest_length).unwrap_or(0);
    }
    let merged = kinds
        .values()
        .map(|(count, bytes)| (*count, bytes.div_ceil(target_bytes).max(1)));
    let worthwhile = merged.filter(|(before, after)| after < before);
    let (before, after) = worthwhile.fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1));
    numbers([
        ("manifests", Some(manifests.len() as u64)),
        ("manifests_in", Some(before)),
        ("manifests_out", Some(after)),
    ])
}

fn manifest_target_bytes(metadata: &TableMetadata) -> u64 {
    let given = metadata.properties().get(MANIFEST_TARGET_PROPERTY);
    given
        .and_then(|value| value.parse().ok())
        .filter(|bytes| *bytes > 0)
        .unwrap_or(DEFAULT_MANIFEST_TARGET_BYTES)
}

#[cfg(test)]
mod tests;
