//! The use cases end to end over the embedded store: what a job goes through, and what stops it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod elsewhere;
mod events;
mod notes;
mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use snowpack_domain::{
    Action, CancelRefused, Drain, JobStatus, LEASE_SECONDS, Pair, SubmitRefused, TableId, check_pair,
};
use snowpack_service::ports::{JobStore, PageRequest, Write};
use snowpack_service::{
    CancelRefusal, Handled, SubmitRefusal, SweepReport, TimeLimit, abandon_leases, cancel, sync_tables,
};
use support::{Behaviour, World, request, world};
use tokio_util::sync::CancellationToken;

const BOTH: [Action; 2] = [Action::RewriteDataFiles, Action::ExpireSnapshots];

async fn handle(world: &World, id: &snowpack_domain::JobId) -> Handled {
    world
        .worker
        .handle(id, None, CancellationToken::new())
        .await
        .unwrap()
}

async fn check(world: &World, id: &snowpack_domain::JobId) {
    let job = world.job(id).await;
    let lock = world.store.lock(&job.table).await.unwrap().value;
    check_pair(&Pair { job, lock }).unwrap();
}

#[tokio::test]
async fn a_job_runs_its_actions_in_order_and_frees_the_table() {
    let world = world();
    let job = world.submit(&BOTH).await.unwrap();
    assert_eq!(world.queue.sent.lock().unwrap().as_slice(), [(job.id.clone(), 0)]);
    let busy = world.submit(&BOTH).await.unwrap_err();
    assert_eq!(busy, SubmitRefusal::Protocol(SubmitRefused::Busy(job.id.clone())));
    assert_eq!(handle(&world, &job.id).await, Handled::Finished);
    let done = world.job(&job.id).await;
    assert_eq!(
        (done.status, done.results.len(), done.attempt),
        (JobStatus::Completed, 2, 1)
    );
    check(&world, &job.id).await;
    assert_eq!(
        handle(&world, &job.id).await,
        Handled::Ignored,
        "a second delivery"
    );
    world.submit(&BOTH).await.unwrap();
}

#[tokio::test]
async fn the_first_failure_ends_the_job() {
    let world = world();
    world
        .engine
        .script
        .lock()
        .unwrap()
        .push(Behaviour::Fail { retry: false });
    let job = world.submit(&BOTH).await.unwrap();
    assert_eq!(handle(&world, &job.id).await, Handled::Finished);
    let failed = world.job(&job.id).await;
    assert_eq!(failed.status, JobStatus::Failed);
    assert_eq!(failed.error.as_deref(), Some("disk on fire"));
    assert_eq!(failed.results.len(), 1);
    assert_eq!(failed.results[0].outcome, Err("disk on fire".into()));
    check(&world, &job.id).await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_before_anything_runs() {
    let world = world();
    world.engine.refuse.store(true, Ordering::SeqCst);
    let job = world
        .submit(&[Action::RewriteDataFiles, Action::RewriteManifests])
        .await
        .unwrap();
    assert_eq!(handle(&world, &job.id).await, Handled::Finished);
    assert!(world.engine.ran.lock().unwrap().is_empty());
    let failed = world.job(&job.id).await;
    assert_eq!(failed.results[0].action, Action::RewriteManifests);
    assert_eq!(failed.error.as_deref(), Some("rewrite_manifests is refused"));
}

#[tokio::test]
async fn a_passing_fault_is_tried_three_times() {
    let world = world();
    world
        .engine
        .script
        .lock()
        .unwrap()
        .extend([Behaviour::Fail { retry: true }; 3]);
    let job = world.submit(&BOTH).await.unwrap();
    assert_eq!(handle(&world, &job.id).await, Handled::Yielded);
    assert_eq!(handle(&world, &job.id).await, Handled::Yielded);
    assert_eq!(handle(&world, &job.id).await, Handled::Finished);
    let failed = world.job(&job.id).await;
    assert_eq!(
        failed.error.as_deref(),
        Some("gave up after 3 attempts: disk on fire")
    );
    assert_eq!(world.queue.sent.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_slice_that_runs_out_of_time_goes_on_without_repeating() {
    let world = world();
    world
        .engine
        .script
        .lock()
        .unwrap()
        .extend([Behaviour::Succeed, Behaviour::RunOutOfTime]);
    let job = world.submit(&BOTH).await.unwrap();
    assert_eq!(handle(&world, &job.id).await, Handled::Yielded);
    let yielded = world.job(&job.id).await;
    assert_eq!((yielded.status, yielded.results.len()), (JobStatus::Running, 1));
    assert_eq!(handle(&world, &job.id).await, Handled::Finished);
    let done = world.job(&job.id).await;
    assert_eq!((done.attempt, done.slice, done.results.len()), (1, 2, 2));
    let ran = world.engine.ran.lock().unwrap().clone();
    assert_eq!(ran, [BOTH[0], BOTH[1], BOTH[1]]);
}

#[tokio::test]
async fn slices_that_get_nowhere_come_to_an_end() {
    let world = world();
    *world.engine.script.lock().unwrap() = vec![Behaviour::RunOutOfTime; 3];
    let job = world.submit(&BOTH).await.unwrap();
    for handled in [Handled::Yielded, Handled::Yielded, Handled::Finished] {
        assert_eq!(handle(&world, &job.id).await, handled);
    }
    let failed = world.job(&job.id).await;
    let error = failed.error.unwrap();
    assert!(
        error.starts_with("gave up after 3 attempts: nothing could be finished"),
        "{error}"
    );
    check(&world, &job.id).await;
}

#[tokio::test]
async fn a_slice_that_is_told_to_stop_costs_nothing() {
    let world = world();
    *world.engine.script.lock().unwrap() = vec![Behaviour::RunOutOfTime];
    let job = world.submit(&BOTH).await.unwrap();
    let stopped = CancellationToken::new();
    stopped.cancel();
    let handled = world.worker.handle(&job.id, None, stopped).await;
    assert_eq!(handled.unwrap(), Handled::Yielded);
    assert_eq!(world.job(&job.id).await.attempt, 1);
}

#[tokio::test]
async fn cancelling_a_running_job_stops_it_and_frees_the_table_at_once() {
    let world = std::sync::Arc::new(world());
    world
        .engine
        .script
        .lock()
        .unwrap()
        .push(Behaviour::RunUntilStopped);
    let job = world.submit(&BOTH).await.unwrap();
    let running = tokio::spawn({
        let (world, id) = (std::sync::Arc::clone(&world), job.id.clone());
        async move { handle(&world, &id).await }
    });
    while world.engine.ran.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let cancelled = cancel(&*world.store, &world.clock, &job.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(cancelled.status, JobStatus::Cancelled);
    world.submit(&BOTH).await.expect("the table is free at once");
    let stopped = tokio::time::timeout(Duration::from_secs(10), running)
        .await
        .expect("stops within 10 s");
    assert_eq!(stopped.unwrap(), Handled::Revoked);
    assert_eq!(
        world.job(&job.id).await,
        cancelled,
        "a terminal job never changes"
    );
    let again = cancel(&*world.store, &world.clock, &job.id)
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(
        again,
        CancelRefusal::Protocol(CancelRefused::Terminal(JobStatus::Cancelled))
    );
}

#[tokio::test]
async fn a_dead_workers_job_is_recovered_until_its_attempts_are_spent() {
    let world = world();
    let job = world.submit(&BOTH).await.unwrap();
    for attempt in 1..=3 {
        die_while_running(&world, &job.id).await;
        assert_eq!(world.job(&job.id).await.attempt, attempt);
        assert_eq!(world.sweep().await, SweepReport::default(), "the lease is valid");
        world.clock.advance(LEASE_SECONDS + 1);
        if attempt < 3 {
            assert_eq!(world.sweep().await.sent, 1);
            assert_eq!(world.sweep().await.sent, 0, "sent once");
        }
    }
    let done = SweepReport {
        given_up: 1,
        ..SweepReport::default()
    };
    assert_eq!(world.sweep().await, done);
    assert_eq!(handle(&world, &job.id).await, Handled::Ignored);
    let failed = world.job(&job.id).await;
    assert!(failed.error.unwrap().starts_with("gave up after 3 attempts"));
    check(&world, &job.id).await;
}

#[tokio::test]
async fn a_message_that_comes_before_the_sweep_ends_an_exhausted_job_too() {
    let world = world();
    let job = world.submit(&BOTH).await.unwrap();
    for _ in 1..=3 {
        die_while_running(&world, &job.id).await;
        world.clock.advance(LEASE_SECONDS + 1);
    }
    assert_eq!(handle(&world, &job.id).await, Handled::Finished);
    assert_eq!(world.job(&job.id).await.status, JobStatus::Failed);
}

#[tokio::test]
async fn dead_letters_fail_their_jobs_unless_somebody_works_on_them() {
    let world = world();
    let job = world.submit(&BOTH).await.unwrap();
    die_while_running(&world, &job.id).await;
    world.dead_letters.put(Some(job.id.clone()));
    world.dead_letters.put(None);
    world
        .dead_letters
        .put(Some(snowpack_domain::JobId::from_u128(404)));
    assert_eq!(world.sweep().await.dead_letters, 0, "held");
    let left: Vec<_> = world
        .dead_letters
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|letter| letter.job.clone())
        .collect();
    assert_eq!(
        left,
        [Some(job.id.clone()), None],
        "a job that is gone needs no letter"
    );
    world.clock.advance(LEASE_SECONDS + 1);
    world.dead_letters.show_again();
    assert_eq!(world.sweep().await.dead_letters, 1);
    assert_eq!(world.job(&job.id).await.status, JobStatus::Failed);
    check(&world, &job.id).await;
    assert_eq!(
        world.dead_letters.0.lock().unwrap().len(),
        1,
        "a foreign message stays"
    );
}

#[tokio::test]
async fn a_lock_without_its_job_is_freed() {
    let world = world();
    let job = world.submit(&BOTH).await.unwrap();
    assert_eq!(world.sweep().await.freed, 0);
    let lock = world.store.lock(&job.table).await.unwrap();
    let mut orphaned = lock.clone();
    orphaned.value.holder = Some(snowpack_domain::JobId::from_u128(404));
    let write = Write {
        lock: Some((job.table.clone(), orphaned)),
        ..Write::default()
    };
    world.store.write(&write).await.unwrap();
    assert_eq!(world.sweep().await.freed, 1);
    let freed = world.store.lock(&job.table).await.unwrap().value;
    assert!(freed.holder.is_none() && freed.fence > lock.value.fence);
    world.submit(&BOTH).await.unwrap();
}

/// Runs the job in a task that is dropped mid-way, as a killed process would be.
async fn die_while_running(world: &World, id: &snowpack_domain::JobId) {
    let runs = world.engine.ran.lock().unwrap().len();
    world
        .engine
        .script
        .lock()
        .unwrap()
        .push(Behaviour::RunUntilStopped);
    let running = world.worker.handle(id, None, CancellationToken::new());
    let started = async {
        while world.engine.ran.lock().unwrap().len() == runs {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        ended = running => panic!("the job ended: {ended:?}"),
        () = started => {}
    }
}

#[tokio::test]
async fn a_restarted_single_worker_need_not_wait_for_leases() {
    let world = world();
    let job = world.submit(&BOTH).await.unwrap();
    die_while_running(&world, &job.id).await;
    world.clock.advance(1);
    abandon_leases(&*world.store, &world.clock).await.unwrap();
    assert_eq!(world.sweep().await.sent, 1);
    assert_eq!(handle(&world, &job.id).await, Handled::Finished);
    assert_eq!(world.job(&job.id).await.status, JobStatus::Completed);
}

#[tokio::test]
async fn a_job_is_accepted_and_recovered_when_its_message_cannot_be_sent() {
    let world = world();
    world.queue.broken.store(true, Ordering::SeqCst);
    let job = world.submit(&BOTH).await.unwrap();
    world.queue.broken.store(false, Ordering::SeqCst);
    assert_eq!(world.sweep().await.sent, 1);
    assert_eq!(world.queue.sent.lock().unwrap()[0].0, job.id);
}

#[tokio::test]
async fn drain_refuses_submits_and_puts_claims_off() {
    let world = world();
    let job = world.submit(&BOTH).await.unwrap();
    let drain = Drain {
        enabled: true,
        reason: Some("upgrade".into()),
    };
    world.store.set_drain(&drain).await.unwrap();
    let refused = world.submit(&BOTH).await.unwrap_err();
    assert_eq!(
        refused,
        SubmitRefusal::Protocol(SubmitRefused::Draining(Some("upgrade".into())))
    );
    assert_eq!(handle(&world, &job.id).await, Handled::Ignored);
    assert_eq!(world.job(&job.id).await.status, JobStatus::Pending);
    assert_eq!(world.queue.sent.lock().unwrap()[1], (job.id.clone(), 60));
    world.store.set_drain(&Drain::default()).await.unwrap();
    assert_eq!(handle(&world, &job.id).await, Handled::Finished);
}

#[tokio::test]
async fn an_idempotency_key_stands_for_its_first_request() {
    let world = world();
    let keyed = |actions: &[Action]| {
        let mut keyed = request(actions);
        keyed.idempotency_key = Some("k".into());
        world.submitter.submit(keyed)
    };
    let first = keyed(&BOTH).await.unwrap().unwrap();
    assert_eq!(keyed(&BOTH).await.unwrap().unwrap().id, first.id);
    assert_eq!(
        keyed(&BOTH[..1]).await.unwrap(),
        Err(SubmitRefusal::IdempotencyMismatch)
    );
    handle(&world, &first.id).await;
    assert_eq!(keyed(&BOTH).await.unwrap().unwrap().status, JobStatus::Completed);
    world.clock.advance(24 * 3600 + 1);
    assert_ne!(keyed(&BOTH).await.unwrap().unwrap().id, first.id);
}

#[tokio::test]
async fn a_dry_run_is_complete_at_once_and_never_busy() {
    let world = world();
    world.submit(&BOTH).await.unwrap();
    let mut dry = request(&BOTH);
    dry.dry_run = true;
    let job = world.submitter.submit(dry).await.unwrap().unwrap();
    assert_eq!((job.status, job.results.len()), (JobStatus::Completed, 2));
    assert!(job.results.iter().all(|result| result.preview.is_some()));
    assert_eq!(world.job(&job.id).await, job);
    assert_eq!(world.queue.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_unknown_table_is_asked_for_once_a_minute() {
    let world = world();
    let mut unknown = request(&BOTH);
    unknown.table = TableId::new("db", "new").unwrap();
    let refused = SubmitRefusal::Protocol(SubmitRefused::UnknownTable);
    for _ in 0..3 {
        assert_eq!(
            world.submitter.submit(unknown.clone()).await.unwrap(),
            Err(refused.clone())
        );
    }
    assert_eq!(world.tables.asked.load(Ordering::SeqCst), 1);
    world.tables.names.lock().unwrap().insert("db.new".into());
    world.clock.advance(61);
    world.submitter.submit(unknown).await.unwrap().unwrap();
}

#[tokio::test]
async fn sync_follows_the_catalog_and_a_failed_listing_changes_nothing() {
    let world = world();
    let cached = || async {
        let page = PageRequest {
            limit: 100,
            cursor: None,
        };
        let entries = world.store.cache_entries(None, &page).await.unwrap().items;
        entries
            .into_iter()
            .map(|entry| entry.table.to_string())
            .collect::<Vec<_>>()
    };
    world.tables.names.lock().unwrap().insert("db.old".into());
    sync_tables(&*world.store, &world.tables, &world.clock, TimeLimit::none())
        .await
        .unwrap();
    assert_eq!(cached().await, ["db.old", "db.t"]);
    world.tables.names.lock().unwrap().remove("db.old");
    world.tables.broken.store(true, Ordering::SeqCst);
    sync_tables(&*world.store, &world.tables, &world.clock, TimeLimit::none())
        .await
        .unwrap_err();
    assert_eq!(cached().await, ["db.old", "db.t"]);
    world.tables.broken.store(false, Ordering::SeqCst);
    let report = sync_tables(&*world.store, &world.tables, &world.clock, TimeLimit::none())
        .await
        .unwrap();
    assert_eq!((report.tables, report.removed), (1, 1));
    assert_eq!(cached().await, ["db.t"]);
}
