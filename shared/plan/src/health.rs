//! A table's health: what its metadata says of its files, and what each action would do about them.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{DataContentType, DataFileFormat};
use snowpack_catalog::LoadedTable;
use snowpack_domain::{
    Action, Compaction, Deployment, FileStats, JobOptions, OptionError, OptionValue, Preview, Properties,
    TableHealth, Timestamp,
};

use crate::preview::PreviewRequest;
use crate::state::TableState;
use crate::types::LiveFile;

/// The health of a table whose current snapshot holds `state`, as of `now`.
pub(crate) fn health_of(
    table: &LoadedTable,
    state: &TableState,
    deployment: &Deployment,
    now: Timestamp,
) -> TableHealth {
    let metadata = &table.metadata;
    let made = metadata.snapshots().map(|snapshot| snapshot.timestamp_ms()).min();
    let count = |files: &[std::sync::Arc<LiveFile>]| files.iter().map(|live| live.file.record_count()).sum();
    TableHealth {
        table: table.id.clone(),
        location: metadata.location().to_owned(),
        metadata_location: table.metadata_location.clone(),
        format_version: metadata.format_version() as u8,
        snapshot_id: metadata.current_snapshot_id(),
        files: file_stats(state, small_below(table, &deployment.settings)),
        snapshot_count: metadata.snapshots().len() as u64,
        oldest_snapshot_at: made.map(|millis| Timestamp::from_micros(millis.saturating_mul(1000))),
        manifest_count: state.manifests.len() as u64,
        total_records: count(&state.data),
        deleted_records: deleted_records(state),
        outlook: outlook(table, state, deployment, now),
        collected_at: now,
    }
}

/// The size below which compaction calls a file small. A property that cannot be read counts as not set: the outlook
/// says which it is.
fn small_below(table: &LoadedTable, deployment: &HashMap<String, String>) -> u64 {
    let smallest = |table: &HashMap<String, String>| {
        let compaction = Compaction::resolve(&JobOptions::default(), Properties { table, deployment })?;
        Ok::<_, OptionError>(compaction.min_file_bytes)
    };
    smallest(table.metadata.properties())
        .or_else(|_| smallest(&HashMap::new()))
        .unwrap_or_default()
}

fn file_stats(state: &TableState, small_below: u64) -> FileStats {
    let mut stats = FileStats::default();
    for live in &state.data {
        let bytes = live.file.file_size_in_bytes();
        stats.data_files += 1;
        stats.total_size_bytes += bytes;
        stats.small_files += u64::from(bytes < small_below);
    }
    for live in &state.deletes {
        let counter = match live.file.content_type() {
            DataContentType::EqualityDeletes => &mut stats.equality_delete_files,
            _ if live.file.file_format() == DataFileFormat::Puffin => &mut stats.deletion_vectors,
            _ => &mut stats.position_delete_files,
        };
        *counter += 1;
    }
    stats
}

/// Positions of position deletes and deletion vectors. How many rows an equality delete matches is not in any metadata.
fn deleted_records(state: &TableState) -> u64 {
    let positions = state
        .deletes
        .iter()
        .filter(|live| live.file.content_type() == DataContentType::PositionDeletes);
    positions.map(|live| live.file.record_count()).sum()
}

/// What is due.
fn outlook(
    table: &LoadedTable,
    state: &TableState,
    deployment: &Deployment,
    now: Timestamp,
) -> BTreeMap<Action, Preview> {
    let request = PreviewRequest {
        table,
        state: Ok(state),
        options: &options(table, deployment),
        deployment,
        now,
    };
    let preview = |action| (action, request.preview(action).unwrap_or_else(Preview::from));
    Action::ALL.into_iter().map(preview).collect()
}

/// Options under which what is to do is what is due. `rewrite-all` is off: it says what a rewrite takes once there is
/// one, and under it no table would ever be through. A property that cannot be read is not hidden.
fn options(table: &LoadedTable, deployment: &Deployment) -> JobOptions {
    let mut options = JobOptions::default();
    let properties = Properties {
        table: table.metadata.properties(),
        deployment: &deployment.settings,
    };
    if Compaction::resolve(&options, properties).is_ok() {
        let set = options.set(Action::RewriteDataFiles, "rewrite-all", OptionValue::Bool(false));
        set.expect("the action has this option");
    }
    options
}

#[cfg(test)]
mod tests;
