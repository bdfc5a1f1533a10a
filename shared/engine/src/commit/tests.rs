//! Commits against other writers, on tables whose content is known.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{FormatVersion, ManifestContentType, Operation};
use snowpack_domain::Timestamp;
use snowpack_manifest::read_manifest_list;
use snowpack_plan::LiveFile;
use snowpack_telemetry::Capture;

use super::conflicts::Conflict;
use super::replace::Replaced;
use super::*;
use crate::fake::{BY_PART, FLAT, FakeSupervisor, FakeTable, Fault, Row};

mod answers;
mod histories;

/// What all commits of a rewrite planned now have in common.
pub(crate) fn planned(table: &FakeTable, spec: i32, keep_sequence_number: bool) -> RewriteBase {
    let now = table.now();
    let head = now.metadata.current_snapshot().unwrap();
    RewriteBase {
        uuid: now.metadata.uuid(),
        snapshot_id: head.snapshot_id(),
        sequence_number: head.sequence_number(),
        files: Rewritten::Data {
            output_spec: Arc::clone(now.metadata.partition_spec_by_id(spec).unwrap()),
            keep_sequence_number,
        },
        verify: snowpack_domain::Verification::Counts,
        remove_dangling: false,
        summary: BTreeMap::from([("engine-name".to_owned(), "snowpack".to_owned())]),
        cache: ManifestCache::default(),
    }
}

/// All live files of one partition, rewritten into one.
pub(crate) async fn rewrite(table: &FakeTable, group: usize, spec: i32, part: i32) -> Replacement {
    let (data, deletes) = table.live_now().await;
    let probe = table.data_file(spec, part, Vec::new());
    let inside = |file: &LiveFile| file.spec_id == spec && file.file.partition() == probe.partition();
    let replaced: Vec<_> = data.into_iter().filter(inside).map(Arc::new).collect();
    let rows: Vec<Row> = replaced
        .iter()
        .flat_map(|file| table.rows_of(file, &deletes))
        .collect();
    let rows_in: u64 = replaced.iter().map(|file| file.file.record_count()).sum();
    let rows_deleted = rows_in - rows.len() as u64;
    let added = if rows.is_empty() {
        Vec::new()
    } else {
        vec![table.data_file(spec, part, rows)]
    };
    Replacement {
        group,
        replaced,
        added,
        rows_deleted,
        placed: Vec::new(),
        dangling: 0,
        content: None,
    }
}

pub(crate) async fn commit(
    table: &FakeTable,
    rewrite: &RewriteBase,
    groups: &[Replacement],
    supervisor: &FakeSupervisor,
) -> Result<Committed<Replaced>, EngineError> {
    let committer = Committer {
        catalog: table.catalog.as_ref(),
        table: table.catalog.id(),
        supervisor,
    };
    let proposal = Replace {
        rewrite,
        groups,
        counted: &HashSet::new(),
        now: || Timestamp::from_micros(0),
    };
    committer.commit(&proposal).await
}

async fn commit_one(table: &FakeTable, base: &RewriteBase, group: Replacement) -> Replaced {
    commit(table, base, &[group], &FakeSupervisor::default())
        .await
        .unwrap()
        .outcome
}

/// Two partitions of two files each, one of them with deletes of every kind.
async fn busy_table(version: FormatVersion) -> FakeTable {
    let table = FakeTable::new(version);
    for part in [1, 2] {
        for file in 0..2 {
            let first = i64::from(part * 100 + file * 10);
            table
                .append(BY_PART, part, (first..first + 5).map(|id| (id, id % 3)).collect())
                .await;
        }
    }
    if version == FormatVersion::V2 {
        let (data, _) = table.live_now().await;
        let in_part_1 = |file: &&LiveFile| table.rows_of(file, &[])[0].0 < 200;
        let targets: Vec<_> = data.iter().filter(in_part_1).collect();
        table.delete_positions(targets[0], &[0], true).await;
        table.delete_positions(targets[1], &[1], false).await;
        table.delete_keys(BY_PART, 1, &[2]).await;
    }
    table
}

#[tokio::test]
async fn a_replace_snapshot_keeps_rows_and_counts_right() {
    for version in [FormatVersion::V1, FormatVersion::V2] {
        let table = busy_table(version).await;
        let before = table.read_now().await;
        let base = planned(&table, BY_PART, true);
        let group = rewrite(&table, 0, BY_PART, 1).await;
        let outcome = commit_one(&table, &base, group).await;
        assert_eq!(table.read_now().await, before);
        let now = table.now();
        let head = now.metadata.current_snapshot().unwrap();
        assert_eq!(head.parent_snapshot_id(), Some(base.snapshot_id));
        assert_eq!(head.summary().operation, Operation::Replace);
        let get = |name: &str| {
            head.summary()
                .additional_properties
                .get(name)
                .cloned()
                .unwrap_or_default()
        };
        assert_eq!(
            (get("added-data-files"), get("deleted-data-files")),
            ("1".to_owned(), "2".to_owned())
        );
        assert_eq!(get("deleted-records"), "10");
        assert_eq!(get("engine-name"), "snowpack");
        let (data, deletes) = table.live_now().await;
        assert_eq!((data.len(), deletes.len()), (3, 0));
        if version == FormatVersion::V2 {
            assert_eq!(outcome.done.delete_files_removed, 3);
            assert_eq!(get("removed-position-delete-files"), "2");
            assert_eq!(get("removed-equality-delete-files"), "1");
            let rewritten = data
                .iter()
                .find(|file| file.snapshot_id == head.snapshot_id())
                .unwrap();
            assert_eq!(rewritten.sequence_number, base.sequence_number);
            assert_eq!(rewritten.file_sequence_number, Some(head.sequence_number()));
        }
        let manifests = read_manifest_list(&now.io, &now.metadata, head).await.unwrap();
        let created = manifests
            .iter()
            .filter(|file| file.added_snapshot_id == head.snapshot_id())
            .count();
        assert_eq!(get("manifests-created"), created.to_string());
        assert_eq!(get("manifests-kept"), (manifests.len() - created).to_string());
    }
}

#[tokio::test]
async fn untouched_manifests_are_carried_over_and_entries_keep_their_numbers() {
    let table = FakeTable::new(FormatVersion::V2);
    for id in 0..3 {
        table.append(BY_PART, 1, vec![(id, 0)]).await;
    }
    let base = planned(&table, BY_PART, true);
    let before = table.now();
    let old = read_manifest_list(
        &before.io,
        &before.metadata,
        before.metadata.current_snapshot().unwrap(),
    );
    let old = old.await.unwrap();
    let mut group = rewrite(&table, 0, BY_PART, 1).await;
    let kept = group.replaced.pop().unwrap();
    group.rows_deleted = 0;
    group.added = vec![table.data_file(BY_PART, 1, vec![(8, 0), (9, 0)])];
    commit_one(&table, &base, group).await;
    let now = table.now();
    let new = read_manifest_list(&now.io, &now.metadata, now.metadata.current_snapshot().unwrap())
        .await
        .unwrap();
    let untouched = old.iter().filter(|manifest| new.contains(manifest)).count();
    assert_eq!(untouched, 1);
    let (data, _) = table.live_now().await;
    let survivor = data
        .iter()
        .find(|file| file.file.file_path() == kept.file.file_path())
        .unwrap();
    assert_eq!(survivor.sequence_number, kept.sequence_number);
    assert_eq!(
        (survivor.file_sequence_number, survivor.snapshot_id),
        (kept.file_sequence_number, kept.snapshot_id)
    );
    assert!(
        new.iter()
            .all(|manifest| manifest.content == ManifestContentType::Data)
    );
}

#[tokio::test(start_paused = true)]
async fn an_append_meanwhile_is_kept() {
    let table = busy_table(FormatVersion::V2).await;
    let base = planned(&table, BY_PART, true);
    let group = rewrite(&table, 0, BY_PART, 1).await;
    let other = table.clone();
    table.catalog.will(Fault::Meanwhile(Box::new(move || {
        Box::pin(async move {
            other.append(BY_PART, 1, vec![(999, 2)]).await;
        })
    })));
    let capture = Capture::start();
    let committed = commit(&table, &base, &[group], &FakeSupervisor::default())
        .await
        .unwrap();
    assert_eq!((committed.conflicts, committed.outcome.committed), (1, vec![0]));
    assert_eq!(capture.names(), ["commit_conflict", "table_committed"]);
    assert_eq!(capture.check(), Ok(()));
    assert_eq!(table.read_now().await[&(999, 2)], 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_position_delete_drops_its_group_only() {
    for scoped in [true, false] {
        let table = busy_table(FormatVersion::V2).await;
        let base = planned(&table, BY_PART, true);
        let groups = [
            rewrite(&table, 0, BY_PART, 1).await,
            rewrite(&table, 1, BY_PART, 2).await,
        ];
        let (other, target) = (table.clone(), Arc::clone(&groups[0].replaced[0]));
        table.catalog.will(Fault::Meanwhile(Box::new(move || {
            Box::pin(async move {
                other.delete_positions(&target, &[3], scoped).await;
            })
        })));
        let outcome = commit(&table, &base, &groups, &FakeSupervisor::default())
            .await
            .unwrap()
            .outcome;
        assert_eq!(outcome.committed, [1]);
        assert!(
            matches!(outcome.dropped[..], [(0, Conflict::NewDeletes(_))]),
            "{:?}",
            outcome.dropped
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_equality_delete_still_applies() {
    for spec in [BY_PART, FLAT] {
        let table = busy_table(FormatVersion::V2).await;
        let base = planned(&table, BY_PART, true);
        let group = rewrite(&table, 0, BY_PART, 1).await;
        let other = table.clone();
        table.catalog.will(Fault::Meanwhile(Box::new(move || {
            Box::pin(async move {
                other.delete_keys(spec, 1, &[0]).await;
            })
        })));
        let outcome = commit_one(&table, &base, group).await;
        assert_eq!(outcome.committed, [0]);
        let rows = table.read_now().await;
        assert!(rows.keys().all(|row| row.0 >= 200 || row.1 != 0), "{rows:?}");
        assert_eq!(
            table.live_now().await.1.len(),
            1,
            "the old deletes are gone, the new one stays"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn equality_deletes_conflict_when_files_get_a_new_number_or_another_spec() {
    for (keep, source, delete) in [
        (false, BY_PART, BY_PART),
        (false, BY_PART, FLAT),
        (true, FLAT, BY_PART),
    ] {
        let table = busy_table(FormatVersion::V2).await;
        table.append(FLAT, 0, vec![(700, 0)]).await;
        let base = planned(&table, BY_PART, keep);
        let mut group = rewrite(&table, 0, source, 1).await;
        group.added = vec![table.data_file(BY_PART, 1, vec![(700, 0); group.rows_out() as usize])];
        let other = table.clone();
        table.catalog.will(Fault::Meanwhile(Box::new(move || {
            Box::pin(async move {
                other.delete_keys(delete, 1, &[0]).await;
            })
        })));
        let outcome = commit_one(&table, &base, group).await;
        assert!(
            matches!(outcome.dropped[..], [(0, Conflict::NewDeletes(_))]),
            "{keep} {source} {delete}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_replaced_meanwhile_drops_the_group() {
    let table = busy_table(FormatVersion::V2).await;
    let before = table.read_now().await;
    let base = planned(&table, BY_PART, true);
    let group = rewrite(&table, 0, BY_PART, 1).await;
    let other = table.clone();
    table.catalog.will(Fault::Meanwhile(Box::new(move || {
        Box::pin(async move {
            let base = planned(&other, BY_PART, true);
            let group = rewrite(&other, 0, BY_PART, 1).await;
            commit_one(&other, &base, group).await;
        })
    })));
    let outcome = commit_one(&table, &base, group).await;
    assert!(matches!(outcome.dropped[..], [(0, Conflict::FileGone(_))]));
    assert_eq!(table.read_now().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_roll_back_meanwhile_drops_the_group() {
    let table = FakeTable::new(FormatVersion::V2);
    table.append(BY_PART, 1, vec![(1, 1), (2, 2)]).await;
    let first = table.now().metadata.current_snapshot_id().unwrap();
    table.delete_keys(BY_PART, 1, &[1]).await;
    let base = planned(&table, BY_PART, true);
    let group = rewrite(&table, 0, BY_PART, 1).await;
    let other = table.clone();
    table.catalog.will(Fault::Meanwhile(Box::new(move || {
        Box::pin(async move { other.roll_back(first) })
    })));
    let outcome = commit_one(&table, &base, group).await;
    assert_eq!(outcome.dropped, [(0, Conflict::HistoryChanged)]);
    assert_eq!(
        table.read_now().await.len(),
        2,
        "the row deleted after the roll-back's target is back"
    );
}

#[tokio::test]
async fn lost_rows_are_not_committed() {
    let table = busy_table(FormatVersion::V2).await;
    let group = Replacement {
        rows_deleted: 0,
        ..rewrite(&table, 3, BY_PART, 1).await
    };
    let error = group
        .check(snowpack_domain::Verification::Counts, "db.t")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("file group 3 read 10 rows") && error.contains("nothing of it was committed"),
        "{error}"
    );
}

#[tokio::test]
async fn a_table_created_anew_is_not_touched() {
    let table = busy_table(FormatVersion::V2).await;
    let mut base = planned(&table, BY_PART, true);
    base.uuid = uuid::Uuid::new_v4();
    let group = rewrite(&table, 0, BY_PART, 1).await;
    let refused = commit(&table, &base, &[group], &FakeSupervisor::default()).await;
    assert!(matches!(refused, Err(EngineError::TableReplaced(_))));
}
