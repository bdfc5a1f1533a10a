//! The engine as its callers see it, on real files: results, refusals, bad input, lost time, lost fences, death.

use std::collections::BTreeSet;

use iceberg::io::FileIO;
use iceberg::spec::FormatVersion;
use snowpack_domain::{Metric, OptionValue, Timestamp};
use snowpack_service::SystemClock;

use super::*;
use crate::fake::parquet::ids;
use crate::fake::{FakeCatalog, FakeSupervisor, FakeTable};
use crate::points;

mod outages;
mod slices;

/// Three partitions of five small files each.
struct Fixture {
    folder: tempfile::TempDir,
    table: FakeTable,
    engine: Arc<MaintenanceEngine<FakeCatalog, SystemClock>>,
}

impl Fixture {
    async fn new(version: FormatVersion) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().display().to_string();
        let table = FakeTable::at(&location, FileIO::new_with_fs(), version, HashMap::new());
        for file in 0..15 {
            table
                .append_parquet((file % 3) as i32, file * 10..file * 10 + 10)
                .await;
        }
        let engine = MaintenanceEngine::new(Arc::clone(&table.catalog), SystemClock, HashMap::new());
        Self {
            folder,
            table,
            engine: Arc::new(engine),
        }
    }

    /// Runs an action; every snapshot counts as old.
    async fn run(&self, action: Action, supervisor: FakeSupervisor) -> Result<ActionResult, ActionStop> {
        let provenance = Provenance { job: None, fence: 7 };
        let mut options = JobOptions::default();
        let far_away = OptionValue::Time(Timestamp::from_micros(i64::MAX / 2));
        options
            .set(Action::ExpireSnapshots, "older_than", far_away)
            .unwrap();
        let table = self.table.catalog.id();
        self.engine
            .run(table, action, &options, &provenance, Arc::new(supervisor))
            .await
    }

    async fn rewrite(&self, supervisor: FakeSupervisor) -> Result<ActionResult, ActionStop> {
        self.run(Action::RewriteDataFiles, supervisor).await
    }

    fn head(&self) -> Option<i64> {
        self.table.now().metadata.current_snapshot_id()
    }

    /// Files in a folder of the table.
    fn files(&self, folder: &str) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        let mut folders = vec![self.folder.path().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.insert(path.display().to_string());
                }
            }
        }
        files
    }

    /// Every file, of data and metadata.
    fn all_files(&self) -> BTreeSet<String> {
        self.files("")
    }
}

fn message(result: Result<ActionResult, ActionStop>) -> String {
    result.unwrap().outcome.unwrap()
}

fn failure(result: Result<ActionResult, ActionStop>) -> (String, bool) {
    match result {
        Err(ActionStop::Failed { cause, retry }) => (cause, retry),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn compacts_once_and_then_finds_nothing_to_do() {
    for version in [FormatVersion::V1, FormatVersion::V2] {
        let fixture = Fixture::new(version).await;
        let before = ids(&fixture.table).await;
        let result = fixture.rewrite(FakeSupervisor::default()).await.unwrap();
        assert_eq!(result.outcome, Ok("Compacted 15 files into 3 files".to_owned()));
        assert_eq!(result.metrics["rows_out"], Metric::Count(150));
        assert_eq!(result.metrics["commits"], Metric::Count(3));
        assert_eq!(ids(&fixture.table).await, before);
        let head = fixture.table.now().metadata.current_snapshot().unwrap().clone();
        let summary = &head.summary().additional_properties;
        assert_eq!(summary["snowpack.action"], "rewrite_data_files");
        assert_eq!(summary["snowpack.fence"], "7");
        let head = fixture.head();
        let again = message(fixture.rewrite(FakeSupervisor::default()).await);
        assert!(again.starts_with("Nothing to do"), "{again}");
        assert_eq!(fixture.head(), head);
    }
}

#[tokio::test]
async fn expiry_leaves_only_what_the_newest_snapshots_need() {
    let fixture = Fixture::new(FormatVersion::V2).await;
    let before = ids(&fixture.table).await;
    fixture.rewrite(FakeSupervisor::default()).await.unwrap();
    assert_eq!(fixture.files("data").len(), 18);
    let expired = message(
        fixture
            .run(Action::ExpireSnapshots, FakeSupervisor::default())
            .await,
    );
    assert_eq!(expired, "Expired 15 snapshots");
    assert_eq!(ids(&fixture.table).await, before);
    assert_eq!(
        fixture.files("data").len(),
        3 + 10,
        "the newest three snapshots still need two partitions"
    );
}

#[tokio::test]
async fn a_missing_or_cut_file_fails_the_action_and_changes_nothing() {
    for cut in [true, false] {
        let fixture = Fixture::new(FormatVersion::V2).await;
        let victim = fixture.table.live_now().await.0[7].file.file_path().to_owned();
        if cut {
            let bytes = std::fs::read(&victim).unwrap();
            std::fs::write(&victim, &bytes[..bytes.len() - 9]).unwrap();
        } else {
            std::fs::remove_file(&victim).unwrap();
        }
        let (head, files) = (fixture.head(), fixture.all_files());
        let (cause, retry) = failure(fixture.rewrite(FakeSupervisor::default()).await);
        assert!(cause.contains(&victim), "{cause}");
        assert!(!retry, "the file does not come back by itself");
        assert_eq!((fixture.head(), fixture.all_files()), (head, files));
    }
}

#[tokio::test]
async fn what_is_finished_in_time_is_committed_and_the_rest_comes_later() {
    let fixture = Fixture::new(FormatVersion::V2).await;
    let before = ids(&fixture.table).await;
    let slice = FakeSupervisor {
        groups_in_time: Some(1),
        ..FakeSupervisor::default()
    };
    assert!(matches!(fixture.rewrite(slice).await, Err(ActionStop::OutOfTime)));
    assert_eq!(ids(&fixture.table).await, before);
    let files = fixture.table.live_now().await.0.len();
    assert!((3..15).contains(&files), "{files}");
    fixture.rewrite(FakeSupervisor::default()).await.unwrap();
    assert_eq!(
        (ids(&fixture.table).await, fixture.table.live_now().await.0.len()),
        (before, 3)
    );
}

#[tokio::test]
async fn a_revoked_worker_leaves_no_file_behind() {
    let fixture = Fixture::new(FormatVersion::V2).await;
    let (head, files) = (fixture.head(), fixture.all_files());
    let revoked = FakeSupervisor {
        revoke_at: Some(0),
        ..FakeSupervisor::default()
    };
    assert!(matches!(fixture.rewrite(revoked).await, Err(ActionStop::Revoked)));
    assert_eq!((fixture.head(), fixture.all_files()), (head, files));
}

#[tokio::test]
async fn death_at_any_point_loses_nothing_and_the_next_run_finishes() {
    for point in [
        points::MID_READ,
        points::FILES_WRITTEN,
        points::BEFORE_COMMIT,
        points::AFTER_COMMIT,
    ] {
        let fixture = Fixture::new(FormatVersion::V2).await;
        let before = ids(&fixture.table).await;
        let (engine, id) = (Arc::clone(&fixture.engine), fixture.table.catalog.id().clone());
        let died = tokio::spawn(async move {
            let supervisor = FakeSupervisor {
                dies_at: Some(point),
                ..FakeSupervisor::default()
            };
            let provenance = Provenance { job: None, fence: 1 };
            let (options, action) = (JobOptions::default(), Action::RewriteDataFiles);
            engine
                .run(&id, action, &options, &provenance, Arc::new(supervisor))
                .await
        });
        drop(died.await);
        assert_eq!(ids(&fixture.table).await, before, "{point}");
        fixture.rewrite(FakeSupervisor::default()).await.unwrap();
        assert_eq!(
            (ids(&fixture.table).await, fixture.table.live_now().await.0.len()),
            (before, 3),
            "{point}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_before_anything_is_touched() {
    let fixture = Fixture::new(FormatVersion::V2).await;
    let refuse = async |actions: &[Action], options: &JobOptions| {
        let refused = fixture
            .engine
            .preflight(fixture.table.catalog.id(), actions, options)
            .await;
        match refused {
            Err(ActionStop::Failed { cause, retry: false }) => cause,
            other => panic!("{other:?}"),
        }
    };
    let mut sort = JobOptions::default();
    sort.set(
        Action::RewriteDataFiles,
        "strategy",
        OptionValue::Text("sort".to_owned()),
    )
    .unwrap();
    let none = JobOptions::default();
    assert!(
        refuse(&[Action::RewriteDataFiles], &sort)
            .await
            .contains("the table has no sort order")
    );
    let both = [Action::RewriteDataFiles, Action::ExpireSnapshots];
    fixture
        .engine
        .preflight(fixture.table.catalog.id(), &both, &none)
        .await
        .unwrap();

    let v3 = FakeTable::new(FormatVersion::V3);
    let engine = MaintenanceEngine::new(Arc::clone(&v3.catalog), SystemClock, HashMap::new());
    engine.preflight(v3.catalog.id(), &both, &none).await.unwrap();
}
