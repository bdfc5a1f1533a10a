//! Tables of version 3 beside other writers. Random histories are in the action's own tests.

use std::collections::HashSet;

use iceberg::spec::{DataFileFormat, FormatVersion};

use super::super::tests::{by_partition, count, deleted_table, pack};
use crate::commit::tests::{commit, planned, rewrite};
use crate::fake::{BY_PART, FakeSupervisor, FakeTable, Fault};
use crate::points;

/// Four data files of two partitions with delete files of version 2.
async fn upgraded() -> FakeTable {
    let table = deleted_table().await;
    table.upgrade();
    table
}

async fn formats(table: &FakeTable) -> (usize, usize) {
    let (_, deletes) = table.live_now().await;
    let is_vector = |file: &DataFileFormat| *file == DataFileFormat::Puffin;
    let vectors = deletes
        .iter()
        .filter(|delete| is_vector(&delete.file.file_format()))
        .count();
    (vectors, deletes.len() - vectors)
}

#[tokio::test]
async fn delete_files_become_one_vector_for_each_data_file() {
    let table = upgraded().await;
    let (before, (data, old)) = (table.read_now().await, table.live_now().await);
    let report = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert_eq!(report.message, "Rewrote 12 position delete files into 1");
    assert_eq!(
        (count(&report, "vectors_in"), count(&report, "vectors_out")),
        (0, 4)
    );
    assert_eq!((table.read_now().await, formats(&table).await), (before, (4, 0)));
    let (_, vectors) = table.live_now().await;
    for target in &data {
        let path = target.file.file_path();
        let mut found = vectors
            .iter()
            .filter(|v| v.file.referenced_data_file().as_deref() == Some(path));
        let vector = found.next().unwrap();
        assert_eq!(vector.file.partition(), target.file.partition());
        assert_eq!((vector.spec_id, vector.file.record_count()), (target.spec_id, 6));
        let bytes = deletes_bytes(&table, &vector.file).await;
        let source = old.iter().map(|delete| delete.sequence_number);
        assert!(bytes > 0 && source.clone().any(|number| number == vector.sequence_number));
        assert!(vector.sequence_number >= target.sequence_number);
    }
    let summary = table.now().metadata.current_snapshot().unwrap().summary().clone();
    let get = |name: &str| summary.additional_properties.get(name).map(String::as_str);
    assert_eq!((get("added-dvs"), get("removed-dvs")), (Some("4"), None));
    assert_eq!(
        (get("added-delete-files"), get("removed-delete-files")),
        (Some("4"), Some("12"))
    );
    assert_eq!(get("added-position-delete-files"), None);
    assert_eq!(get("removed-position-delete-files"), Some("12"));
    let again = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert!(again.message.starts_with("Nothing to do"), "{}", again.message);
}

async fn deletes_bytes(table: &FakeTable, file: &iceberg::spec::DataFile) -> u64 {
    let found = table.now().io.new_input(file.file_path()).unwrap();
    let size = found.metadata().await.unwrap().size;
    assert_eq!(size, file.file_size_in_bytes());
    size
}

#[tokio::test]
async fn a_vector_that_is_there_holds_everything_older() {
    let table = upgraded().await;
    let (data, _) = table.live_now().await;
    table.delete_by_vector(&data[0], &[3]).await;
    let before = table.read_now().await;
    let report = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert_eq!((table.read_now().await, formats(&table).await), (before, (4, 0)));
    // The writer of the vector took out the delete file that is about its data file only.
    assert_eq!(
        report.message,
        "Rewrote 11 position delete files into 1, dropped 2 dangling"
    );
    assert_eq!(count(&report, "vectors_in"), 0);
}

#[tokio::test]
async fn small_puffin_files_are_merged_once_there_are_enough() {
    let table = FakeTable::with_properties(FormatVersion::V3, by_partition());
    for part in 0..6 {
        let id = i64::from(part) * 10;
        table
            .append(BY_PART, part, (id..id + 10).map(|id| (id, 0)).collect())
            .await;
    }
    let (data, _) = table.live_now().await;
    for target in &data[..4] {
        table.delete_by_vector(target, &[2, 4]).await;
    }
    let report = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert!(report.message.contains("(too_few_files 4)"), "{}", report.message);
    table.delete_by_vector(&data[4], &[7]).await;
    let before = table.read_now().await;
    let report = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert_eq!(report.message, "Rewrote 5 position delete files into 1");
    assert_eq!(
        (count(&report, "vectors_in"), count(&report, "vectors_out")),
        (5, 5)
    );
    assert_eq!(table.read_now().await, before);
    let again = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert!(again.message.starts_with("Nothing to do"), "{}", again.message);
    // Another writer merges with a vector of ours, of which the others stay.
    table.delete_by_vector(&data[0], &[9]).await;
    let (_, deletes) = table.live_now().await;
    let files: HashSet<_> = deletes.iter().map(|delete| delete.file.file_path()).collect();
    assert_eq!((deletes.len(), files.len()), (5, 2));
}

/// Runs the action while another writer does something before its first compare-and-set.
async fn beside<F: Future<Output = ()> + Send + 'static>(
    table: &FakeTable,
    other: impl FnOnce(FakeTable) -> F + Send + 'static,
) -> crate::report::Report {
    let writer = table.clone();
    table
        .catalog
        .will(Fault::Meanwhile(Box::new(move || Box::pin(other(writer)))));
    pack(table, FakeSupervisor::default()).await.unwrap()
}

#[tokio::test]
async fn a_vector_that_another_writer_added_stands() {
    let table = upgraded().await;
    let rows: usize = table.read_now().await.values().sum();
    let report = beside(&table, |other| async move {
        let (data, _) = other.live_now().await;
        other.delete_by_vector(&data[1], &[3]).await;
    });
    let report = report.await;
    assert_eq!(table.read_now().await.values().sum::<usize>(), rows - 1);
    assert_eq!(formats(&table).await, (4, 0));
    assert_eq!(
        (count(&report, "vectors_out"), count(&report, "skipped.conflict")),
        (3, 1)
    );
    assert_eq!(
        (count(&report, "conflicts"), count(&report, "file_groups_failed")),
        (1, 0)
    );
}

#[tokio::test]
async fn a_copy_that_another_writer_replaced_is_left_out() {
    let table = upgraded().await;
    let (data, _) = table.live_now().await;
    for target in &data {
        table.delete_by_vector(target, &[3]).await;
    }
    let rows: usize = table.read_now().await.values().sum();
    let report = beside(&table, |other| async move {
        let (data, _) = other.live_now().await;
        other.delete_by_vector(&data[2], &[6]).await;
    });
    let report = report.await;
    assert_eq!(
        table.read_now().await.values().sum::<usize>(),
        rows - 1,
        "{}",
        report.message
    );
    assert_eq!(formats(&table).await, (4, 0));
}

#[tokio::test]
async fn a_data_file_that_is_gone_gets_no_vector() {
    let table = upgraded().await;
    let before = table.read_now().await;
    let report = beside(&table, |other| async move {
        let base = planned(&other, BY_PART, true);
        let group = rewrite(&other, 0, BY_PART, 1).await;
        commit(&other, &base, &[group], &FakeSupervisor::default())
            .await
            .unwrap();
    });
    let report = report.await;
    assert_eq!(table.read_now().await, before);
    assert_eq!(
        (formats(&table).await, count(&report, "vectors_out")),
        ((2, 0), 2)
    );
}

/// A writer that does not know of the upgrade yet: a vector would hide what it deleted.
#[tokio::test]
async fn a_late_delete_file_keeps_its_group_from_being_converted() {
    let table = upgraded().await;
    let rows: usize = table.read_now().await.values().sum();
    let report = beside(&table, |other| async move {
        let (data, _) = other.live_now().await;
        other.delete_positions(&data[0], &[3], false).await;
    });
    let report = report.await;
    assert_eq!(count(&report, "file_groups_failed"), 1);
    assert_eq!(table.read_now().await.values().sum::<usize>(), rows - 1);
    let report = pack(&table, FakeSupervisor::default()).await.unwrap();
    assert_eq!(report.message, "Rewrote 13 position delete files into 1");
    assert_eq!(table.read_now().await.values().sum::<usize>(), rows - 1);
}

#[tokio::test]
async fn a_roll_back_meanwhile_drops_everything() {
    let table = upgraded().await;
    let head = table.now().metadata.current_snapshot().unwrap().clone();
    let parent = head.parent_snapshot_id().unwrap();
    let report = beside(&table, move |other| async move { other.roll_back(parent) }).await;
    assert_eq!((count(&report, "commits"), count(&report, "vectors_out")), (0, 0));
    assert_eq!(table.now().metadata.current_snapshot_id(), Some(parent));
}

#[tokio::test]
async fn death_leaves_the_table_readable() {
    for point in [points::FILES_WRITTEN, points::BEFORE_COMMIT, points::AFTER_COMMIT] {
        let table = upgraded().await;
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
            (table.read_now().await, formats(&table).await),
            (before, (4, 0)),
            "{point}"
        );
    }
}
