//! The file itself: what is found after a crash, and what is refused on opening.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::path::Path;
use std::time::Duration;

use snowpack_domain::TableId;
use snowpack_embedded::{OpenError, SqliteStore};
use snowpack_service::ports::{JobQueue, JobStore, StoreError, Versioned, Write, Written};
use snowpack_testkit::{ManualClock, any_jobs, job_id, time};
use snowpack_wire::stored::JOB_FORMAT;
use tempfile::TempDir;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

fn a_job() -> snowpack_domain::Job {
    let mut runner = TestRunner::deterministic();
    let sets = any_jobs().prop_filter("at least one", |jobs| !jobs.is_empty());
    sets.new_tree(&mut runner).unwrap().current().remove(0)
}

async fn put(store: &SqliteStore, job: &snowpack_domain::Job) {
    let job = Some(Versioned {
        value: job.clone(),
        version: 0,
    });
    let write = Write {
        job,
        ..Write::default()
    };
    assert_eq!(store.write(&write).await.unwrap(), Written::Applied);
}

/// The file as a crash at this instant leaves it: copied with its log, nothing closed or flushed.
fn crash_image(directory: &Path) -> TempDir {
    let image = TempDir::new().unwrap();
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(directory.join(name), image.path().join(name)).unwrap();
    }
    image
}

#[tokio::test]
async fn what_was_stored_and_sent_outlives_a_crash() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(&directory.path().join("state.db")).unwrap();
    let queue = store.queue(ManualClock::new(time(0)));
    let job = a_job();
    put(&store, &job).await;
    queue.send(&job.id, 0).await.unwrap();
    queue.send(&job_id(2), 0).await.unwrap();
    let (_, receipt) = queue.receive(time(0), 30).await.unwrap().unwrap();
    queue.ack(&receipt).await.unwrap();
    let (held, _) = queue.receive(time(0), 30).await.unwrap().unwrap();

    let image = crash_image(directory.path());
    let reopened = SqliteStore::open(&image.path().join("state.db")).unwrap();
    assert_eq!(reopened.job(&job.id).await.unwrap().unwrap().value, job);
    let queue = reopened.queue(ManualClock::new(time(0)));
    assert_eq!(
        queue.receive(time(29), 30).await.unwrap(),
        None,
        "acknowledged, and hidden"
    );
    let (again, receipt) = queue.receive(time(30), 30).await.unwrap().unwrap();
    assert_eq!((again, receipt.receive_count), (held, 2));
}

#[tokio::test]
async fn a_void_receipt_acknowledges_nothing() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(&directory.path().join("state.db")).unwrap();
    let queue = store.queue(ManualClock::new(time(0)));
    queue.send(&job_id(1), 0).await.unwrap();
    let (_, late) = queue.receive(time(0), 10).await.unwrap().unwrap();
    queue.receive(time(10), 10).await.unwrap().unwrap();
    queue.ack(&late).await.unwrap();
    assert!(queue.receive(time(20), 10).await.unwrap().is_some());
}

#[tokio::test]
async fn sending_wakes_a_waiting_worker_of_the_process() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(&directory.path().join("state.db")).unwrap();
    let (sender, receiver) = (
        store.queue(ManualClock::new(time(0))),
        store.queue(ManualClock::new(time(0))),
    );
    let waiting = tokio::spawn(async move { receiver.notified().await });
    sender.send(&job_id(1), 0).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .unwrap()
        .unwrap();
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("state.db");
    drop(SqliteStore::open(&path).unwrap());
    drop(SqliteStore::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let refused = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 99, .. }));
    assert!(
        refused.to_string().contains("newer version of Snowpack"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_lock_of_an_earlier_version_is_read() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("state.db");
    drop(SqliteStore::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "DROP TABLE health_sync;
             ALTER TABLE locks DROP COLUMN ended_at;
             INSERT INTO locks (database_name, table_name, version, fence, completed_at) VALUES ('a', 't', 1, 7, 5);
             PRAGMA user_version = 2;",
        )
        .unwrap();
    drop(connection);
    let store = SqliteStore::open(&path).unwrap();
    let lock = store.lock(&TableId::new("a", "t").unwrap()).await.unwrap();
    let upkeep = lock.value.upkeep;
    assert_eq!(upkeep.completed_at.map(|time| time.as_micros()), Some(5));
    assert_eq!((upkeep.ended_at, upkeep.last_turn()), (None, upkeep.completed_at));
}

#[test]
fn what_is_no_database_is_refused_by_name() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "these are my notes, not a database\n".repeat(100)).unwrap();
    for path in [path, directory.path().join("missing/state.db")] {
        let refused = SqliteStore::open(&path).unwrap_err().to_string();
        assert!(refused.contains(path.to_str().unwrap()), "{refused}");
    }
}

#[tokio::test]
async fn a_document_of_another_format_is_corrupt_and_not_guessed_at() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("state.db");
    let store = SqliteStore::open(&path).unwrap();
    let job = a_job();
    put(&store, &job).await;
    let foreign = rusqlite::Connection::open(&path).unwrap();
    let current = format!("\"format\":{JOB_FORMAT}");
    let changed = foreign.execute(
        "UPDATE jobs SET document = replace(document, ?1, '\"format\":7')",
        [current],
    );
    assert_eq!(changed.unwrap(), 1);
    let Err(StoreError::Corrupt(reason)) = store.job(&job.id).await else {
        panic!("a foreign document was read");
    };
    assert!(reason.contains("format 7"), "{reason}");
}
