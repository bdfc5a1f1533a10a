//! Expiry on tables whose every file is known: what kept snapshots reach stays, the rest goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iceberg::TableUpdate;
use iceberg::spec::{FormatVersion, PartitionStatisticsFile, Snapshot, StatisticsFile};
use proptest::prelude::*;
use snowpack_domain::{Expiry, Metric, Timestamp};
use snowpack_manifest::read_manifest_list;
use snowpack_service::ports::ActionStop;

use super::*;
use crate::commit::ManifestCache;
use crate::fake::{BY_PART, FakeSupervisor, FakeTable, Fault, Row};

mod outside;
mod unfinished;

/// Expires everything but the newest `retain_last` snapshots of each branch.
fn all_but(table: &FakeTable, retain_last: u32) -> ExpireProposal {
    let far_away = Timestamp::from_micros(i64::MAX / 2);
    ExpireProposal {
        uuid: table.now().metadata.uuid(),
        settings: Expiry {
            older_than: far_away,
            retain_last,
            snapshot_ids: Vec::new(),
            clean_expired_metadata: false,
        },
        now: far_away,
    }
}

async fn expire(table: &FakeTable, proposal: &ExpireProposal) -> Result<Report, EngineError> {
    expire_under(table, proposal, &FakeSupervisor::default()).await
}

async fn expire_under(
    table: &FakeTable,
    proposal: &ExpireProposal,
    supervisor: &FakeSupervisor,
) -> Result<Report, EngineError> {
    let committer = Committer {
        catalog: table.catalog.as_ref(),
        table: table.catalog.id(),
        supervisor,
    };
    let now = table.now();
    let forecast = proposal.forecast(&now)?;
    expire_snapshots(&committer, proposal, &now, forecast).await
}

fn count(report: &Report, name: &str) -> u64 {
    match report.metrics[name] {
        Metric::Count(count) => count,
        Metric::Ratio(_) => panic!("{name} is a count"),
    }
}

/// Every file a snapshot needs.
async fn reached(table: &LoadedTable, snapshot: &Snapshot) -> BTreeSet<String> {
    let mut files = BTreeSet::from([snapshot.manifest_list().to_owned()]);
    for manifest in read_manifest_list(&table.io, &table.metadata, snapshot)
        .await
        .unwrap()
    {
        let content = ManifestCache::none().load(&table.io, &manifest).await.unwrap();
        let live = content.entries().iter().filter(|entry| entry.is_alive());
        files.extend(live.map(|entry| entry.file_path().to_owned()));
        files.insert(manifest.manifest_path);
    }
    files
}

async fn reached_by_any(table: &LoadedTable) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for snapshot in table.metadata.snapshots() {
        files.extend(reached(table, snapshot).await);
    }
    files
}

/// Content of every snapshot.
async fn contents(table: &FakeTable) -> HashMap<i64, BTreeMap<Row, usize>> {
    let mut contents = HashMap::new();
    for snapshot in table.now().metadata.snapshots() {
        contents.insert(snapshot.snapshot_id(), table.read(snapshot).await);
    }
    contents
}

/// Appends, deletes, and takes files out by going back: five snapshots.
async fn history() -> FakeTable {
    grown(FakeTable::new(FormatVersion::V2)).await
}

async fn grown(table: FakeTable) -> FakeTable {
    table.append(BY_PART, 1, vec![(1, 1)]).await;
    let first = table.now().metadata.current_snapshot_id().unwrap();
    table.append(BY_PART, 1, vec![(2, 2)]).await;
    table.delete_keys(BY_PART, 1, &[2]).await;
    table.roll_back(first);
    table.append(BY_PART, 2, vec![(3, 3)]).await;
    table.append(BY_PART, 2, vec![(4, 4)]).await;
    table
}

/// Checks that exactly what the table reaches exists, of what it reached before.
async fn check_files(table: &FakeTable, before: &BTreeSet<String>) {
    let now = table.now();
    let needed = reached_by_any(&now).await;
    for path in before {
        assert_eq!(
            now.io.exists(path).await.unwrap(),
            needed.contains(path),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_only_expired_snapshots_reach_is_deleted() {
    let table = history().await;
    let before = reached_by_any(&table.now()).await;
    let rows = table.read_now().await;
    let report = expire(&table, &all_but(&table, 1)).await.unwrap();
    assert_eq!(report.message, "Expired 4 snapshots");
    assert_eq!(
        (count(&report, "data_files"), count(&report, "delete_files")),
        (1, 1)
    );
    assert_eq!(
        (count(&report, "manifests"), count(&report, "manifest_lists")),
        (2, 4)
    );
    assert!(count(&report, "bytes") > 0);
    check_files(&table, &before).await;
    assert_eq!(table.read_now().await, rows);
    let again = expire(&table, &all_but(&table, 1)).await.unwrap();
    assert!(again.message.starts_with("Nothing to do"), "{}", again.message);
}

#[tokio::test]
async fn gc_disabled_tables_lose_no_file() {
    let table = history().await;
    let updates = HashMap::from([("gc.enabled".to_owned(), "false".to_owned())]);
    table.update(vec![TableUpdate::SetProperties { updates }]);
    let before = reached_by_any(&table.now()).await;
    let report = expire(&table, &all_but(&table, 1)).await.unwrap();
    assert_eq!(
        report.message,
        "Expired 4 snapshots; gc.enabled is false, so no file was deleted"
    );
    assert_eq!(table.now().metadata.snapshots().len(), 1);
    for path in before {
        assert!(table.now().io.exists(&path).await.unwrap(), "{path}");
    }
}

#[tokio::test]
async fn a_lost_manifest_list_of_an_expired_snapshot_is_survived() {
    let table = history().await;
    let now = table.now();
    let head = now.metadata.current_snapshot_id().unwrap();
    let expired = now
        .metadata
        .snapshots()
        .filter(|snapshot| snapshot.snapshot_id() != head);
    for snapshot in expired {
        now.io.delete(snapshot.manifest_list()).await.unwrap();
    }
    let report = expire(&table, &all_but(&table, 1)).await.unwrap();
    assert_eq!(
        (report.message.as_str(), count(&report, "data_files")),
        ("Expired 4 snapshots", 0)
    );
    assert_eq!(table.read_now().await.len(), 3);
}

#[tokio::test]
async fn nothing_is_deleted_when_a_kept_snapshot_cannot_be_read() {
    let table = history().await;
    let before = reached_by_any(&table.now()).await;
    let head = table.now().metadata.current_snapshot().unwrap().clone();
    table.now().io.delete(head.manifest_list()).await.unwrap();
    let report = expire(&table, &all_but(&table, 1)).await.unwrap();
    assert!(
        report.message.contains("no file was deleted, because"),
        "{}",
        report.message
    );
    for path in before.iter().filter(|path| *path != head.manifest_list()) {
        assert!(table.now().io.exists(path).await.unwrap(), "{path}");
    }
}

#[tokio::test]
async fn a_fence_lost_while_deleting_leaves_kept_snapshots_whole() {
    let table = history().await;
    for checkpoints in 0..6 {
        table
            .append(BY_PART, 1, vec![(100 + checkpoints as i64, 0)])
            .await;
        let kept = reached(&table.now(), table.now().metadata.current_snapshot().unwrap()).await;
        let supervisor = FakeSupervisor {
            revoke_at: Some(checkpoints),
            ..FakeSupervisor::default()
        };
        let ended = expire_under(&table, &all_but(&table, 1), &supervisor).await;
        assert!(matches!(
            ended,
            Err(EngineError::Stopped(ActionStop::Revoked)) | Ok(_)
        ));
        for path in kept {
            assert!(table.now().io.exists(&path).await.unwrap(), "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refs_and_commits_made_meanwhile_are_respected() {
    let table = history().await;
    let old = table
        .now()
        .metadata
        .snapshots()
        .map(|s| (s.sequence_number(), s.snapshot_id()))
        .min()
        .unwrap()
        .1;
    let before = contents(&table).await;
    let other = table.clone();
    table.catalog.will(Fault::Meanwhile(Box::new(move || {
        Box::pin(async move {
            other.tag("keep", old);
            other.append(BY_PART, 1, vec![(50, 0)]).await;
        })
    })));
    let report = expire(&table, &all_but(&table, 1)).await.unwrap();
    assert_eq!(report.message, "Expired 4 snapshots");
    let after = contents(&table).await;
    assert_eq!((after.len(), &after[&old]), (2, &before[&old]));
}

#[tokio::test]
async fn statistics_go_with_their_snapshots() {
    let table = history().await;
    let now = table.now();
    let head = now.metadata.current_snapshot_id().unwrap();
    for snapshot in now.metadata.snapshots() {
        let snapshot_id = snapshot.snapshot_id();
        let path = |kind: &str| format!("memory:///t/metadata/{kind}-{snapshot_id}");
        let (statistics_path, partition_path) = (path("stats"), path("partition-stats"));
        for path in [&statistics_path, &partition_path] {
            now.io.new_output(path).unwrap().write("s".into()).await.unwrap();
        }
        let statistics = StatisticsFile {
            snapshot_id,
            statistics_path,
            file_size_in_bytes: 1,
            file_footer_size_in_bytes: 1,
            key_metadata: None,
            blob_metadata: Vec::new(),
        };
        let partition_statistics = PartitionStatisticsFile {
            snapshot_id,
            statistics_path: partition_path,
            file_size_in_bytes: 1,
        };
        table.update(vec![
            TableUpdate::SetStatistics { statistics },
            TableUpdate::SetPartitionStatistics { partition_statistics },
        ]);
    }
    let report = expire(&table, &all_but(&table, 1)).await.unwrap();
    assert_eq!(count(&report, "statistics_files"), 8);
    let after = table.now();
    assert_eq!(after.metadata.statistics_iter().len(), 1);
    for kind in ["stats", "partition-stats"] {
        assert!(
            after
                .io
                .exists(format!("memory:///t/metadata/{kind}-{head}"))
                .await
                .unwrap()
        );
    }
}

#[tokio::test]
async fn unused_specs_go_when_asked() {
    let table = history().await;
    let mut proposal = all_but(&table, 1);
    proposal.settings.clean_expired_metadata = true;
    assert_eq!(table.now().metadata.partition_specs_iter().len(), 2);
    expire(&table, &proposal).await.unwrap();
    let specs: Vec<_> = table
        .now()
        .metadata
        .partition_specs_iter()
        .map(|spec| spec.spec_id())
        .collect();
    assert_eq!(
        specs,
        [BY_PART],
        "no manifest was ever written under the flat spec"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Appends, deletes, roll-backs and tags in any order: kept snapshots keep their rows and files, and of
    /// the rest nothing is left.
    #[test]
    fn kept_snapshots_keep_everything(steps in prop::collection::vec((0..5u8, any::<prop::sample::Index>()), 1..14),
                                      retain in 1..4u32) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let table = FakeTable::new(FormatVersion::V2);
            for (id, (step, index)) in steps.into_iter().enumerate() {
                let id = id as i64;
                let now = table.now();
                let mut known: Vec<_> = now.metadata.snapshots().collect();
                known.sort_by_key(|snapshot| snapshot.sequence_number());
                match step {
                    2 => drop(table.delete_keys(BY_PART, 1, &[index.index(9) as i64]).await),
                    3 if !known.is_empty() => table.roll_back(index.get(&known).snapshot_id()),
                    4 if !known.is_empty() => table.tag(&format!("t{id}"), index.get(&known).snapshot_id()),
                    _ => drop(table.append(BY_PART, 1 + id as i32 % 2, vec![(id, id % 9)]).await),
                }
            }
            let before = contents(&table).await;
            let files = reached_by_any(&table.now()).await;
            expire(&table, &all_but(&table, retain)).await.unwrap();
            for (snapshot, rows) in contents(&table).await {
                assert_eq!(rows, before[&snapshot]);
            }
            check_files(&table, &files).await;
        });
    }
}
