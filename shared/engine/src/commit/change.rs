//! The metadata change of a replace snapshot: add it, and move `main` to it.

use iceberg::spec::{MAIN_BRANCH, Snapshot, SnapshotReference, SnapshotRetention, Summary};
use iceberg::{TableRequirement, TableUpdate};
use snowpack_catalog::{LoadedTable, TableChange};
use snowpack_domain::Timestamp;

use super::workshop::WrittenList;

/// The child of `base`'s newest snapshot that has the manifest list `list`.
pub(crate) fn snapshot(
    base: &LoadedTable,
    id: i64,
    list: WrittenList,
    summary: Summary,
    now: Timestamp,
) -> Snapshot {
    let metadata = &base.metadata;
    // Clocks of writers differ; history must not run backwards for it.
    let timestamp_ms = (now.as_micros() / 1000).max(metadata.last_updated_ms());
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(metadata.current_snapshot_id())
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(timestamp_ms)
        .with_manifest_list(list.path)
        .with_summary(summary)
        .with_schema_id(metadata.current_schema_id());
    match list.row_ids {
        Some(ids) => snapshot.with_row_range(ids.start, ids.end - ids.start).build(),
        None => snapshot.build(),
    }
}

/// Adds `snapshot` if `main` still is at `head`, and moves `main`, which keeps its retention settings.
pub(crate) fn change(base: &LoadedTable, head: &Snapshot, snapshot: Snapshot) -> TableChange {
    let retention = base.refs().get(MAIN_BRANCH).map(|main| main.retention.clone());
    let reference = SnapshotReference {
        snapshot_id: snapshot.snapshot_id(),
        retention: retention.unwrap_or_else(|| SnapshotRetention::branch(None, None, None)),
    };
    TableChange {
        requirements: vec![
            TableRequirement::UuidMatch {
                uuid: base.metadata.uuid(),
            },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: MAIN_BRANCH.to_owned(),
                snapshot_id: Some(head.snapshot_id()),
            },
        ],
        updates: vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef {
                ref_name: MAIN_BRANCH.to_owned(),
                reference,
            },
        ],
    }
}
