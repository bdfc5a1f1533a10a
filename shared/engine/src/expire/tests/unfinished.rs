//! An expiry that is interrupted after its commit: the next slice or attempt deletes the rest and tells of all.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use futures::FutureExt;

use super::*;
use crate::fake::stubborn::{Stubborn, stubborn};
use crate::points;

/// The counts of a result.
fn counts(report: &Report) -> BTreeMap<&str, u64> {
    let names = report.metrics.keys().map(String::as_str);
    names.map(|name| (name, count(report, name))).collect()
}

/// What one run that nothing interrupts does, on a table like the others.
async fn at_once() -> Report {
    let table = history().await;
    expire(&table, &all_but(&table, 1)).await.unwrap()
}

/// A table, all the files it reaches, and what an action notes about it.
struct Interrupted {
    table: FakeTable,
    storage: Stubborn,
    files: BTreeSet<String>,
    note: Arc<Mutex<Option<String>>>,
}

impl Interrupted {
    async fn new() -> Self {
        let (io, storage) = stubborn();
        let table = grown(FakeTable::at(
            "memory:///t",
            io,
            FormatVersion::V2,
            HashMap::new(),
        ))
        .await;
        let now = table.now();
        let metadata = serde_json::to_string(now.metadata.as_ref()).unwrap();
        let file = now.io.new_output(&now.metadata_location).unwrap();
        file.write(metadata.into()).await.unwrap();
        Self {
            files: reached_by_any(&now).await,
            table,
            storage,
            note: Arc::default(),
        }
    }

    async fn run(&self, supervisor: FakeSupervisor) -> Result<Report, EngineError> {
        let supervisor = FakeSupervisor {
            note: Arc::clone(&self.note),
            ..supervisor
        };
        expire_under(&self.table, &all_but(&self.table, 1), &supervisor).await
    }

    async fn die_at(&self, point: &'static str) {
        let dying = FakeSupervisor {
            dies_at: Some(point),
            ..FakeSupervisor::default()
        };
        let dead = AssertUnwindSafe(self.run(dying)).catch_unwind().await;
        assert!(dead.is_err(), "it lived on after {point}");
    }

    /// Checks that nothing is left to do, and that the result is that of one run.
    async fn check_done(&self, report: &Report) {
        let whole = at_once().await;
        assert_eq!(report.message, whole.message);
        let mut told = counts(report);
        // Paths differ from table to table, and with them the sizes of compressed manifests.
        assert!(told.remove("bytes").unwrap() > 0);
        let mut expected = counts(&whole);
        expected.remove("bytes");
        assert_eq!(told, expected);
        assert_eq!(report.predicted["snapshots"], 4);
        check_files(&self.table, &self.files).await;
    }
}

#[tokio::test]
async fn an_attempt_after_a_death_deletes_the_rest_and_tells_of_all() {
    for point in [points::BEFORE_COMMIT, points::AFTER_COMMIT, points::MID_DELETE] {
        let job = Interrupted::new().await;
        job.die_at(point).await;
        let report = job.run(FakeSupervisor::default()).await.unwrap();
        job.check_done(&report).await;
    }
}

#[tokio::test]
async fn slices_add_up_to_what_one_run_does() {
    let job = Interrupted::new().await;
    let mut slices = 1;
    let report = loop {
        let slice = FakeSupervisor {
            batches_in_time: Some(1),
            ..FakeSupervisor::default()
        };
        match job.run(slice).await {
            Ok(report) => break report,
            Err(EngineError::Stopped(ActionStop::OutOfTime)) => slices += 1,
            Err(error) => panic!("{error}"),
        }
    };
    let kinds = [
        "data_files",
        "delete_files",
        "manifests",
        "manifest_lists",
        "statistics_files",
    ];
    let told = counts(&report);
    let deleted = kinds.into_iter().filter(|kind| told[*kind] > 0).count();
    assert_eq!(
        slices,
        deleted + 1,
        "each deletes one kind of file, the last finds nothing more to expire"
    );
    job.check_done(&report).await;
}

#[tokio::test]
async fn what_may_pass_after_the_commit_is_tried_again() {
    let job = Interrupted::new().await;
    let head = job.table.now().metadata.current_snapshot().unwrap().clone();
    job.storage.throttle(head.manifest_list());
    let failed = job.run(FakeSupervisor::default()).await.unwrap_err();
    let said = failed.to_string();
    assert!(said.starts_with("Expired 4 snapshots; then: "), "{said}");
    assert!(failed.is_transient());
    assert_eq!(
        reached_by_all_of(&job).await,
        job.files.len(),
        "nothing is deleted"
    );
    job.storage.relent();
    let report = job.run(FakeSupervisor::default()).await.unwrap();
    job.check_done(&report).await;
}

async fn reached_by_all_of(job: &Interrupted) -> usize {
    let io = job.table.now().io;
    let mut there = 0;
    for path in &job.files {
        there += usize::from(io.exists(path).await.unwrap());
    }
    there
}

#[tokio::test]
async fn a_catalog_that_is_busy_after_the_commit_is_asked_again() {
    let job = Interrupted::new().await;
    let catalog = Arc::clone(&job.table.catalog);
    let id = catalog.id().clone();
    job.table.catalog.will(Fault::Meanwhile(Box::new(move || {
        Box::pin(async move { drop(catalog.neighbours.lock().unwrap().insert(id, None)) })
    })));
    let failed = job.run(FakeSupervisor::default()).await.unwrap_err();
    assert!(failed.is_transient(), "{failed}");
    job.table.catalog.neighbours.lock().unwrap().clear();
    let report = job.run(FakeSupervisor::default()).await.unwrap();
    job.check_done(&report).await;
}

#[tokio::test]
async fn a_search_that_takes_longer_than_a_slice_ends_the_action() {
    let job = Interrupted::new().await;
    job.die_at(points::AFTER_COMMIT).await;
    // Looked at: when it starts, before it reads older metadata, before it loads the table once more.
    let short = FakeSupervisor {
        polls_in_time: Some(2),
        ..FakeSupervisor::default()
    };
    let report = job.run(short).await.unwrap();
    assert_eq!(
        report.message,
        "Expired 4 snapshots; files that only they had are left to remove_orphan_files, because there was not the \
         time to find them"
    );
    assert_eq!(
        (count(&report, "snapshots"), count(&report, "data_files")),
        (4, 0)
    );
    assert_eq!(reached_by_all_of(&job).await, job.files.len());
}

#[tokio::test]
async fn without_older_metadata_files_are_left_and_told_of() {
    for (point, said) in [
        (
            points::MID_DELETE,
            "Expired 4 snapshots; files that only they had are left to remove_orphan_files, ",
        ),
        (
            points::AFTER_COMMIT,
            "Nothing to do: all 1 snapshot are within retention",
        ),
    ] {
        let job = Interrupted::new().await;
        let location = job.table.now().metadata_location;
        job.die_at(point).await;
        job.table.now().io.delete(&location).await.unwrap();
        let report = job.run(FakeSupervisor::default()).await.unwrap();
        assert!(report.message.starts_with(said), "{}", report.message);
    }
}

#[tokio::test]
async fn what_others_still_reach_stays_when_a_dead_attempt_is_taken_up() {
    let job = Interrupted::new().await;
    job.die_at(points::AFTER_COMMIT).await;
    let rows = job.table.read_now().await;
    job.table.append(BY_PART, 1, vec![(70, 7)]).await;
    let needed = reached_by_any(&job.table.now()).await;
    job.run(FakeSupervisor::default()).await.unwrap();
    let io = job.table.now().io;
    for path in needed.iter().filter(|path| path.contains("/data/")) {
        assert!(io.exists(path).await.unwrap(), "{path}");
    }
    assert_eq!(job.table.read_now().await.len(), rows.len() + 1);
}
