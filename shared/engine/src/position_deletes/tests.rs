//! The action beside other writers, on tables whose content is known: rows never change by it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use iceberg::spec::{FormatVersion, Operation};
use proptest::prelude::*;
use snowpack_domain::{JobId, JobOptions, Metric, Properties};
use snowpack_plan::{ACTION_SUMMARY_KEY, JOB_SUMMARY_KEY};
use snowpack_service::ports::ActionStop;
use snowpack_telemetry::Capture;

use super::*;
use crate::commit::tests::{commit, planned, rewrite};
use crate::fake::{BY_PART, FLAT, FakeSupervisor, FakeTable, Fault};
use crate::points;

mod slices;

pub(super) fn by_partition() -> HashMap<String, String> {
    HashMap::from([("write.delete.granularity".to_owned(), "partition".to_owned())])
}

pub(super) async fn pack(table: &FakeTable, supervisor: FakeSupervisor) -> Result<Report, EngineError> {
    pack_with(table, settings(), None, supervisor).await
}

fn settings() -> PositionDeleteCompaction {
    let properties = by_partition();
    let properties = Properties {
        table: &properties,
        deployment: &HashMap::new(),
    };
    PositionDeleteCompaction::resolve(&JobOptions::default(), properties).unwrap()
}

async fn pack_with(
    table: &FakeTable,
    settings: PositionDeleteCompaction,
    job: Option<&JobId>,
    supervisor: FakeSupervisor,
) -> Result<Report, EngineError> {
    let supervisor = Arc::new(supervisor);
    let committer = Committer {
        catalog: table.catalog.as_ref(),
        table: table.catalog.id(),
        supervisor: supervisor.as_ref(),
    };
    let said = job.map(|job| (JOB_SUMMARY_KEY, job.to_string()));
    let said = said
        .into_iter()
        .chain([(ACTION_SUMMARY_KEY, Action::RewritePositionDeleteFiles.to_string())]);
    let action = PositionDeleteRewrite {
        committer: &committer,
        supervisor: &supervisor,
        settings,
        job,
        summary: said.map(|(key, value)| (key.to_owned(), value)).collect(),
        now: || Timestamp::from_micros(0),
    };
    let report = action.run(&table.now()).await;
    table.learn_deletes().await;
    report
}

/// Two partitions of ten rows in two files, each file deleted from in three commits.
pub(super) async fn deleted_table() -> FakeTable {
    let table = FakeTable::with_properties(FormatVersion::V2, by_partition());
    for part in [1, 2] {
        for file in 0..2 {
            let first = i64::from(part * 100 + file * 10);
            table
                .append(
                    BY_PART,
                    part,
                    (first..first + 10).map(|id| (id, id % 4)).collect(),
                )
                .await;
        }
    }
    let (data, _) = table.live_now().await;
    for position in [8, 1, 5] {
        for target in &data {
            table
                .delete_positions(target, &[position, position - 1], position == 5)
                .await;
        }
    }
    table
}

pub(super) fn count(report: &Report, name: &str) -> u64 {
    match report.metrics[name] {
        Metric::Count(count) => count,
        Metric::Ratio(_) => panic!("{name} is a count"),
    }
}

#[tokio::test]
async fn deletes_are_packed_by_partition_and_the_second_run_finds_nothing() {
    let table = deleted_table().await;
    let before = table.read_now().await;
    let (_, old) = table.live_now().await;
    let highest = old.iter().map(|file| file.sequence_number).max();
    let report = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert_eq!(report.message, "Rewrote 12 position delete files into 2");
    assert_eq!(table.read_now().await, before);
    let (_, deletes) = table.live_now().await;
    assert_eq!(deletes.iter().map(|file| file.sequence_number).max(), highest);
    let now = table.now();
    let head = now.metadata.current_snapshot().unwrap();
    let summary = head.summary();
    assert_eq!(summary.operation, Operation::Replace);
    let get = |name: &str| summary.additional_properties.get(name).map(String::as_str);
    assert_eq!(
        (get("added-delete-files"), get("removed-delete-files")),
        (Some("2"), Some("12"))
    );
    assert_eq!(
        (get("added-position-deletes"), get("removed-position-deletes")),
        (Some("24"), Some("24"))
    );
    assert_eq!(
        (get("added-data-files"), get("total-records")),
        (None, Some("1000000"))
    );
    let again = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert!(again.message.starts_with("Nothing to do"), "{}", again.message);
    assert_eq!(
        table.now().metadata.current_snapshot_id(),
        Some(head.snapshot_id())
    );
}

#[tokio::test]
async fn what_names_no_live_file_is_dropped_with_its_files() {
    let table = deleted_table().await;
    let base = planned(&table, BY_PART, true);
    let (data, _) = table.live_now().await;
    let one = table.data_file(BY_PART, 1, table.rows_of(&data[0], &table.live_now().await.1));
    let (rows, gone) = (one.record_count(), Arc::new(data[0].clone()));
    let group = crate::commit::Replacement {
        group: 0,
        rows_deleted: gone.file.record_count() - rows,
        replaced: vec![gone],
        added: vec![one],
        placed: Vec::new(),
        dangling: 0,
        content: None,
    };
    commit(&table, &base, &[group], &FakeSupervisor::default())
        .await
        .unwrap();
    let before = table.read_now().await;
    let report = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert_eq!(table.read_now().await, before);
    // Of three delete files of the lost data file, the commit of its rewrite removed the one that says so.
    assert_eq!(
        report.message,
        "Rewrote 11 position delete files into 2, dropped 2 dangling"
    );
    assert_eq!(
        (count(&report, "rows_in"), count(&report, "rows_deleted")),
        (22, 4)
    );
}

#[tokio::test]
async fn other_writers_keep_what_they_did_and_lose_nothing() {
    let table = deleted_table().await;
    let other = table.clone();
    table.catalog.will(Fault::Meanwhile(Box::new(move || {
        Box::pin(async move {
            let base = planned(&other, BY_PART, true);
            let group = rewrite(&other, 0, BY_PART, 1).await;
            commit(&other, &base, &[group], &FakeSupervisor::default())
                .await
                .unwrap();
            let (data, _) = other.live_now().await;
            other.delete_positions(data.last().unwrap(), &[9], false).await;
        })
    })));
    let expected = {
        let table = deleted_table().await;
        let rows: usize = table.read_now().await.values().sum();
        rows - 1
    };
    let capture = Capture::start();
    let report = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert_eq!(capture.check(), Ok(()));
    let conflicts = capture.named("commit_conflict");
    assert!(
        conflicts.iter().any(|conflict| conflict.get("group").is_some()),
        "{conflicts:?}"
    );
    assert!(
        report
            .message
            .contains("Rewrote 6 position delete files into 1; left 1 file group"),
        "{}",
        report.message
    );
    assert_eq!(
        (count(&report, "conflicts"), count(&report, "file_groups_failed")),
        (1, 1)
    );
    assert_eq!(table.read_now().await.values().sum::<usize>(), expected);
    assert_eq!(table.live_now().await.1.len(), 2);
}

#[tokio::test]
async fn a_roll_back_meanwhile_drops_everything() {
    let table = deleted_table().await;
    let other = table.clone();
    let parent = table
        .now()
        .metadata
        .current_snapshot()
        .unwrap()
        .parent_snapshot_id()
        .unwrap();
    table.catalog.will(Fault::Meanwhile(Box::new(move || {
        Box::pin(async move { other.roll_back(parent) })
    })));
    let report = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert_eq!(
        (count(&report, "commits"), count(&report, "file_groups_failed")),
        (0, 2)
    );
    assert_eq!(table.now().metadata.current_snapshot_id(), Some(parent));
}

#[tokio::test]
async fn death_and_a_lost_fence_leave_the_table_readable() {
    for point in [points::FILES_WRITTEN, points::BEFORE_COMMIT, points::AFTER_COMMIT] {
        let table = deleted_table().await;
        let before = table.read_now().await;
        let dying = table.clone();
        let died = tokio::spawn(async move {
            let supervisor = FakeSupervisor {
                dies_at: Some(point),
                ..FakeSupervisor::default()
            };
            drop(pack(&dying, supervisor).await);
        });
        assert!(died.await.is_err(), "{point}");
        table.learn_deletes().await;
        assert_eq!(table.read_now().await, before, "{point}");
        pack(&table, FakeSupervisor::default()).await.unwrap();
        assert_eq!(
            (table.read_now().await, table.live_now().await.1.len()),
            (before, 2),
            "{point}"
        );
    }
    let table = deleted_table().await;
    let head = table.now().metadata.current_snapshot_id();
    let revoked = FakeSupervisor {
        revoke_at: Some(0),
        ..FakeSupervisor::default()
    };
    let stopped = pack(&table, revoked).await;
    assert!(matches!(stopped, Err(EngineError::Stopped(ActionStop::Revoked))));
    assert_eq!(table.now().metadata.current_snapshot_id(), head);
    assert_eq!(table.catalog.commits.load(Ordering::SeqCst), 0);
}

/// Something that happens to a table.
#[derive(Clone, Debug)]
enum Step {
    Append(i32, i32),
    Delete(prop::sample::Index, usize, bool),
    DeleteKeys(i32),
    Compact(i32, i32),
    Upgrade,
    Pack(Option<Box<Step>>),
}

fn step() -> impl Strategy<Value = Step> {
    let spec = || prop_oneof![3 => Just(BY_PART), 1 => Just(FLAT)];
    let writer = prop_oneof![
        2 => (spec(), 1..3).prop_map(|(spec, part)| Step::Append(spec, part)),
        8 => (any::<prop::sample::Index>(), 0..6_usize, any::<bool>())
            .prop_map(|(file, row, scoped)| Step::Delete(file, row, scoped)),
        1 => (0..4).prop_map(Step::DeleteKeys),
        1 => (spec(), 1..3).prop_map(|(spec, part)| Step::Compact(spec, part)),
        1 => Just(Step::Upgrade),
    ];
    let meanwhile = prop::option::of(writer.clone().prop_map(Box::new));
    prop_oneof![8 => writer, 2 => meanwhile.prop_map(Step::Pack)]
}

/// Does what a writer does.
async fn write(table: &FakeTable, step: &Step, serial: i64) {
    match step {
        Step::Append(spec, part) => {
            let rows = (0..6).map(|row| (serial * 10 + row, row % 4)).collect();
            table.append(*spec, *part, rows).await;
        }
        Step::Delete(file, row, scoped) => {
            let (data, _) = table.live_now().await;
            if data.is_empty() {
            } else if table.now().metadata.format_version() == FormatVersion::V3 {
                table.delete_by_vector(file.get(&data), &[*row]).await;
            } else {
                table.delete_positions(file.get(&data), &[*row], *scoped).await;
            }
        }
        Step::DeleteKeys(key) => {
            table.delete_keys(BY_PART, 1, &[i64::from(*key)]).await;
        }
        Step::Compact(spec, part) if table.now().metadata.current_snapshot_id().is_some() => {
            let base = planned(table, *spec, true);
            let group = rewrite(table, 0, *spec, *part).await;
            if !group.replaced.is_empty() {
                commit(table, &base, &[group], &FakeSupervisor::default())
                    .await
                    .unwrap();
            }
        }
        Step::Upgrade => table.upgrade(),
        Step::Compact(..) | Step::Pack(_) => {}
    }
}

async fn play(steps: Vec<Step>) {
    let table = FakeTable::with_properties(FormatVersion::V2, by_partition());
    for (serial, step) in (0_i64..).zip(&steps) {
        let Step::Pack(meanwhile) = step else {
            write(&table, step, serial).await;
            continue;
        };
        let before = table.read_now().await;
        let Some(meanwhile) = meanwhile.clone() else {
            pack(&table, FakeSupervisor::default()).await.unwrap();
            assert_eq!(table.read_now().await, before);
            let again = pack(&table, FakeSupervisor::default()).await.unwrap();
            assert!(again.message.starts_with("Nothing to do"), "{}", again.message);
            continue;
        };
        let (other, after) = (table.clone(), Arc::new(std::sync::Mutex::new(None)));
        let seen = Arc::clone(&after);
        table.catalog.will(Fault::Meanwhile(Box::new(move || {
            Box::pin(async move {
                write(&other, &meanwhile, serial).await;
                *seen.lock().unwrap() = Some(other.read_now().await);
            })
        })));
        pack(&table, FakeSupervisor::default()).await.unwrap();
        table.catalog.faults.lock().unwrap().clear();
        let expected = after.lock().unwrap().take().unwrap_or(before);
        assert_eq!(table.read_now().await, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// No row appears, vanishes or comes back, whoever writes in between, and a second run has nothing to do.
    #[test]
    fn rows_never_change(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps));
    }
}
