//! What the log says of a job's life: every event as it is defined, and the metrics taken from them.

use serde_json::{Value, json};
use snowpack_domain::{Action, Fence, JobId, LEASE_SECONDS, TableId};
use snowpack_service::ports::{DeadLetter, DeadLetters, JobStore, StoreError, Write};
use snowpack_service::{TimeLimit, cancel, sweep, sync_tables};
use snowpack_telemetry::{Capture, Record, request_span};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::support::{Behaviour, World, world};

const BOTH: [Action; 2] = [Action::RewriteDataFiles, Action::ExpireSnapshots];

async fn handle(world: &World, id: &JobId) {
    let handled = world.worker.handle(id, None, CancellationToken::new());
    handled.instrument(request_span("r1")).await.unwrap();
}

/// The values of a metric, in the order they were reported.
fn values(capture: &Capture, metric: &str) -> Vec<Value> {
    let lines = capture.metrics();
    lines
        .iter()
        .filter_map(|line| line.get(metric))
        .cloned()
        .collect()
}

fn assert_context(record: &Record, job: &JobId) {
    for (member, value) in [("job_id", json!(job.as_str())), ("table", json!("db.t"))] {
        assert_eq!(record.get(member), Some(&value), "{record:?}");
    }
}

#[tokio::test]
async fn a_job_that_completes() {
    let (world, capture) = (world(), Capture::start());
    let job = world.submit(&BOTH).await.unwrap();
    world.clock.advance(40);
    handle(&world, &job.id).await;
    capture.check().unwrap();
    assert_eq!(
        capture.names(),
        [
            "job_submitted",
            "job_started",
            "action_started",
            "action_completed",
            "action_started",
            "action_completed",
            "job_completed"
        ]
    );
    for record in capture.events() {
        assert_context(&record, &job.id);
        let in_request = record.event() != Some("job_submitted");
        assert_eq!(record.get("request_id").is_some(), in_request, "{record:?}");
    }
    let actions: Vec<_> = capture.named("action_completed");
    assert_eq!(actions[1].get("action"), Some(&json!("expire_snapshots")));
    assert_eq!(values(&capture, "JobsSubmitted"), [json!(1)]);
    assert_eq!(values(&capture, "QueueAge"), [json!(40.0)]);
    assert_eq!(values(&capture, "Actions"), [json!(1), json!(1)]);
    assert_eq!(values(&capture, "JobDuration"), [json!(0.0)]);
    assert_eq!(values(&capture, "JobsCompleted"), [json!(1)]);
}

#[tokio::test]
async fn what_an_action_counted_is_reported() {
    const COUNTED: [(&str, u64); 5] = [
        ("files_in", 847),
        ("files_out", 52),
        ("bytes_in", 9_000),
        ("bytes_out", 8_000),
        ("bytes", 7_000),
    ];
    const METRICS: [&str; 5] = ["FilesIn", "FilesOut", "BytesIn", "BytesOut", "BytesReclaimed"];
    let (world, capture) = (world(), Capture::start());
    *world.engine.script.lock().unwrap() = vec![Behaviour::Measure(&COUNTED)];
    let job = world.submit(&[Action::RewriteDataFiles]).await.unwrap();
    handle(&world, &job.id).await;
    capture.check().unwrap();
    for (metric, (_, count)) in METRICS.into_iter().zip(COUNTED) {
        assert_eq!(values(&capture, metric), [json!(count)], "{metric}");
    }
}

#[tokio::test]
async fn a_job_that_yields_and_then_fails() {
    let (world, capture) = (world(), Capture::start());
    let script = vec![
        Behaviour::Succeed,
        Behaviour::RunOutOfTime,
        Behaviour::Fail { retry: true },
        Behaviour::Fail { retry: false },
    ];
    *world.engine.script.lock().unwrap() = script;
    let job = world.submit(&BOTH).await.unwrap();
    world.clock.advance(5);
    handle(&world, &job.id).await;
    for _ in 0..2 {
        world.clock.advance(3600);
        handle(&world, &job.id).await;
    }
    capture.check().unwrap();
    let yields = capture.named("job_yielded");
    assert_eq!(yields.len(), 2);
    assert_eq!(
        (yields[0].get("cause"), yields[1].get("cause")),
        (None, Some(&json!("disk on fire")))
    );
    let ended = capture.named("action_completed");
    assert_eq!(ended.len(), 2, "an action that goes on has not ended");
    assert_eq!(ended[1].get("status"), Some(&json!("failed")));
    let [end] = &capture.named("job_failed")[..] else {
        panic!("{:?}", capture.names())
    };
    assert_eq!(end.get("cause"), Some(&json!("disk on fire")));
    assert_eq!(values(&capture, "JobsYielded"), [json!(1), json!(1)]);
    assert_eq!(values(&capture, "JobsFailed"), [json!(1)]);
    assert_eq!(values(&capture, "JobDuration"), [json!(7200.0)]);
    let ages = values(&capture, "QueueAge");
    assert_eq!(ages[..2], [json!(5.0), json!(3600.0)], "each slice waits anew");
}

#[tokio::test]
async fn a_job_cancelled_while_it_runs() {
    let (world, capture) = (world(), Capture::start());
    *world.engine.script.lock().unwrap() = vec![Behaviour::RunUntilStopped];
    let job = world.submit(&BOTH).await.unwrap();
    let cancelled = async {
        while world
            .store
            .job(&job.id)
            .await
            .unwrap()
            .unwrap()
            .value
            .lease
            .is_none()
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        cancel(&*world.store, &world.clock, &job.id)
            .await
            .unwrap()
            .unwrap();
    };
    tokio::join!(handle(&world, &job.id), cancelled);
    capture.check().unwrap();
    let lost = capture.named("fence_lost");
    assert_eq!(lost.len(), 1, "said once: {:?}", capture.names());
    assert_context(&lost[0], &job.id);
    assert!(
        lost[0].get("request_id").is_some(),
        "the heartbeat is within the request"
    );
    assert_eq!(values(&capture, "FencesRevoked"), [json!(1)]);
    assert_eq!(values(&capture, "JobsCancelled"), [json!(1)]);
}

#[tokio::test]
async fn sweeps_and_syncs() {
    let (world, capture) = (world(), Capture::start());
    world.sweep().await;
    assert_eq!(
        values(&capture, "TableCacheAge"),
        [] as [Value; 0],
        "never synced"
    );
    sync_tables(&*world.store, &world.tables, &world.clock, TimeLimit::none())
        .await
        .unwrap();
    world
        .queue
        .broken
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let job = world.submit(&BOTH).await.unwrap();
    world
        .queue
        .broken
        .store(false, std::sync::atomic::Ordering::SeqCst);
    world.clock.advance(60);
    world.sweep().await;
    capture.check().unwrap();
    let names = capture.names();
    assert_eq!(
        names,
        [
            "sweep_completed",
            "table_cache_synced",
            "job_submitted",
            "job_recovered",
            "sweep_completed"
        ]
    );
    assert_context(&capture.named("job_recovered")[0], &job.id);
    assert_eq!(values(&capture, "TableCacheAge"), [json!(60)]);
    assert_eq!(values(&capture, "SweepMessagesSent"), [json!(0), json!(1)]);
    assert_eq!(values(&capture, "SweepsCompleted"), [json!(1), json!(1)]);
    assert_eq!(values(&capture, "TableCacheSyncs"), [json!(1)]);
    assert_eq!(values(&capture, "TablesCached"), [json!(1)]);
    assert_eq!(values(&capture, "TablesUnreadable"), [json!(0)]);
}

#[tokio::test]
async fn jobs_that_nobody_works_on_any_more() {
    let (world, capture) = (world(), Capture::start());
    let spent = world.submit(&BOTH).await.unwrap();
    *world.engine.script.lock().unwrap() = vec![Behaviour::RunUntilStopped; 3];
    for _ in 0..3 {
        let dead =
            tokio::time::timeout(std::time::Duration::from_millis(50), handle(&world, &spent.id)).await;
        assert!(dead.is_err(), "still running when it dies");
        world.clock.advance(LEASE_SECONDS + 1);
    }
    world.sweep().await;
    let undeliverable = world.submit(&BOTH).await.unwrap();
    world.dead_letters.put(Some(undeliverable.id.clone()));
    world.sweep().await;
    capture.check().unwrap();
    let failed = capture.named("job_failed");
    assert_eq!(failed.len(), 2);
    assert_context(&failed[0], &spent.id);
    assert_context(&failed[1], &undeliverable.id);
    assert_eq!(values(&capture, "SweepJobsGivenUp"), [json!(1), json!(0)]);
    assert_eq!(values(&capture, "SweepDeadLetters"), [json!(0), json!(1)]);
    assert_eq!(values(&capture, "JobsFailed"), [json!(1), json!(1)]);
}

#[tokio::test]
async fn a_lock_whose_job_is_gone() {
    let (world, capture) = (world(), Capture::start());
    let table = TableId::new("db", "t").unwrap();
    let gone = JobId::from_u128(404);
    let mut lock = world.store.lock(&table).await.unwrap();
    lock.value.holder = Some(gone.clone());
    lock.value.fence = Fence::new(3);
    let write = Write {
        lock: Some((table, lock)),
        ..Write::default()
    };
    world.store.write(&write).await.unwrap();
    world.sweep().await;
    capture.check().unwrap();
    assert_eq!(capture.names(), ["lock_freed", "sweep_completed"]);
    let freed = &capture.named("lock_freed")[0];
    assert_context(freed, &gone);
    assert_eq!(freed.get("fence"), Some(&json!(3)));
    assert_eq!(values(&capture, "SweepLocksFreed"), [json!(1)]);
}

/// A queue of dead letters that does not answer.
struct Away;

impl DeadLetters for Away {
    async fn receive(&self, _: u32) -> Result<Vec<DeadLetter>, StoreError> {
        Err(StoreError::Unavailable("throttled".to_owned()))
    }

    async fn remove(&self, _: &str) -> Result<(), StoreError> {
        unreachable!("nothing was received")
    }
}

#[tokio::test]
async fn a_sweep_that_could_not_do_everything() {
    let (world, capture) = (world(), Capture::start());
    sync_tables(&*world.store, &world.tables, &world.clock, TimeLimit::none())
        .await
        .unwrap();
    world.clock.advance(7);
    sweep(&*world.store, &*world.queue, &Away, &world.clock)
        .await
        .unwrap_err();
    capture.check().unwrap();
    assert_eq!(capture.names(), ["table_cache_synced", "sweep_failed"]);
    let cause = capture.named("sweep_failed")[0].get("cause").cloned().unwrap();
    assert!(cause.as_str().unwrap().contains("throttled"), "{cause}");
    assert_eq!(values(&capture, "TableCacheAge"), [json!(7)]);
    assert_eq!(values(&capture, "SweepsCompleted"), [] as [Value; 0]);
}
