//! One job's action in several slices and attempts: its result tells of all of them.

use super::*;

/// Packs for a job, one partition after the other.
async fn pack_for(table: &FakeTable, job: u128, supervisor: FakeSupervisor) -> Result<Report, EngineError> {
    let mut settings = settings();
    settings.partial_progress = true;
    settings.max_concurrent_groups = Some(1);
    if table.now().metadata.format_version() == FormatVersion::V3 {
        // Version 3 fills groups with several partitions otherwise.
        settings.max_group_bytes = 1;
    }
    pack_with(table, settings, Some(&JobId::from_u128(job)), supervisor).await
}

/// Runs slices of one file group each until the action ends. How many it took, and its result.
async fn pack_in_slices(table: &FakeTable) -> (usize, Report) {
    for slices in 1..10 {
        let slice = FakeSupervisor {
            groups_in_time: Some(1),
            ..FakeSupervisor::default()
        };
        match pack_for(table, 1, slice).await {
            Ok(report) => return (slices, report),
            Err(EngineError::Stopped(ActionStop::OutOfTime)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the action does not end")
}

/// Bytes of all live delete files, of deletion vectors their own.
async fn delete_bytes(table: &FakeTable) -> u64 {
    let (_, deletes) = table.live_now().await;
    let bytes = deletes.iter().map(|delete| {
        let of_vector = delete.file.content_size_in_bytes();
        of_vector.map_or(delete.file.file_size_in_bytes(), |bytes| bytes as u64)
    });
    bytes.sum()
}

/// Tables with delete files and, after an upgrade, with vectors to be.
async fn tables_of(upgraded: bool) -> [FakeTable; 2] {
    let tables = [deleted_table().await, deleted_table().await];
    if upgraded {
        tables.iter().for_each(FakeTable::upgrade);
    }
    tables
}

#[tokio::test]
async fn slices_add_up_to_what_one_run_does() {
    for upgraded in [false, true] {
        let [at_once, sliced] = tables_of(upgraded).await;
        let (rows, bytes_in) = (sliced.read_now().await, delete_bytes(&sliced).await);
        let whole = pack_for(&at_once, 1, FakeSupervisor::default()).await.unwrap();
        let (slices, report) = pack_in_slices(&sliced).await;
        assert_eq!(slices, 2);
        assert_eq!(report.message, "Rewrote 12 position delete files into 2");
        // Bytes differ: delete files name data files, and their names are random.
        let same = whole
            .metrics
            .keys()
            .filter(|name| !name.starts_with("skipped.") && !name.starts_with("bytes_"));
        for name in same {
            assert_eq!(count(&report, name), count(&whole, name), "{name}");
        }
        let vectors = if upgraded { 4 } else { 0 };
        assert_eq!(count(&report, "vectors_out"), vectors);
        let bytes = (count(&report, "bytes_in"), count(&report, "bytes_out"));
        assert_eq!(bytes, (bytes_in, delete_bytes(&sliced).await));
        assert_eq!(sliced.read_now().await, rows);
    }
}

#[tokio::test]
async fn what_was_committed_before_a_death_is_told_to_its_job_alone() {
    for upgraded in [false, true] {
        let [table, _] = tables_of(upgraded).await;
        let dying = table.clone();
        let died = tokio::spawn(async move {
            let supervisor = FakeSupervisor {
                dies_at: Some(points::AFTER_COMMIT),
                ..FakeSupervisor::default()
            };
            drop(pack_for(&dying, 1, supervisor).await);
        });
        assert!(died.await.is_err());
        for _ in 0..2 {
            let report = pack_for(&table, 1, FakeSupervisor::default()).await.unwrap();
            assert_eq!(report.message, "Rewrote 12 position delete files into 2");
            assert_eq!((count(&report, "commits"), count(&report, "rows_in")), (2, 24));
        }
        let other = pack_for(&table, 2, FakeSupervisor::default()).await.unwrap();
        assert!(other.message.starts_with("Nothing to do"), "{}", other.message);
        assert_eq!(count(&other, "files_in"), 0);
    }
}
