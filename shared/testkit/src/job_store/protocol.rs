//! Whole lives of jobs, step by step through the domain's decisions.

use std::collections::BTreeMap;

use snowpack_domain::{
    Action, ActionResult, Drain, Job, JobStatus, LEASE_SECONDS, Metric, Pair, Progress, Verdict, cancel,
    claim, dry_run, dry_run_result, enqueued, finish, heartbeat, keep_result, yield_slice,
};
use snowpack_service::ports::{JobStore, Versioned, Write, Written};

use super::steps::{cached, put_jobs, read, step, submitted};
use crate::sample::{job_id, new_job, table, time};

fn with_job(pair: Pair, change: impl FnOnce(Job) -> Job) -> Pair {
    Pair {
        job: change(pair.job),
        lock: pair.lock,
    }
}

fn result(action: Action) -> ActionResult {
    ActionResult {
        action,
        outcome: Ok("Compacted 847 files into 52 files".into()),
        elapsed_seconds: 124.8,
        metrics: BTreeMap::from([
            ("files_in".to_owned(), Metric::Count(847)),
            ("deleted_ratio".to_owned(), Metric::Ratio(0.1)),
        ]),
        predicted: BTreeMap::new(),
        preview: None,
    }
}

pub(super) async fn a_job_runs_in_slices_to_its_end<S: JobStore>(store: &S) {
    let table = table("offer_service.offers");
    cached(store, &table).await;
    let id = submitted(store, 1, &table, time(0)).await;
    step(store, &id, |pair| with_job(pair, |job| enqueued(job, time(1)))).await;

    let off = Drain::default();
    let held = step(store, &id, |pair| {
        claim(pair, &off, "w1", time(2)).expect("claim")
    })
    .await
    .job
    .fence;
    let progress = Progress {
        action: Action::RewriteDataFiles,
        done: 3,
        total: 9,
        unit: "file_groups".into(),
    };
    step(store, &id, |pair| {
        with_job(pair, |job| {
            heartbeat(job, held, Some(progress), time(60)).expect("heartbeat")
        })
    })
    .await;
    step(store, &id, |pair| {
        with_job(pair, |job| {
            keep_result(job, held, result(Action::RewriteDataFiles), time(70)).expect("keep")
        })
    })
    .await;
    step(store, &id, |pair| {
        with_job(pair, |job| yield_slice(job, held).expect("yield"))
    })
    .await;

    let held = step(store, &id, |pair| {
        claim(pair, &off, "w2", time(80)).expect("claim")
    })
    .await
    .job
    .fence;
    let ended = step(store, &id, |pair| {
        let job = keep_result(pair.job, held, result(Action::ExpireSnapshots), time(90)).expect("keep");
        let pair = Pair { job, lock: pair.lock };
        finish(pair, held, Verdict::Completed, time(90)).expect("finish")
    })
    .await;
    assert_eq!(
        (ended.job.status, ended.job.results.len()),
        (JobStatus::Completed, 2)
    );
    assert_eq!(ended.lock.holder, None);
    let next = submitted(store, 2, &table, time(100)).await;
    assert!(
        read(store, &next).await.pair.job.fence > ended.lock.fence,
        "fences grow over jobs"
    );
}

pub(super) async fn a_cancelled_job_frees_its_table<S: JobStore>(store: &S) {
    let table = table("db.t");
    cached(store, &table).await;
    let pending = submitted(store, 1, &table, time(0)).await;
    step(store, &pending, |pair| cancel(pair, time(1)).expect("cancel")).await;

    let running = submitted(store, 2, &table, time(2)).await;
    let off = Drain::default();
    let claimed = step(store, &running, |pair| {
        claim(pair, &off, "w", time(3)).expect("claim")
    })
    .await;
    step(store, &running, |pair| cancel(pair, time(4)).expect("cancel")).await;
    let next = submitted(store, 3, &table, time(4)).await;

    let revoked = read(store, &running).await.pair;
    assert!(heartbeat(revoked.job.clone(), claimed.job.fence, None, time(5)).is_err());
    assert_eq!(
        revoked.lock.holder,
        Some(next.clone()),
        "the lock is the next job's"
    );
    let taken_over = step(store, &next, |pair| {
        claim(pair, &off, "w", time(5)).expect("claim")
    })
    .await;
    let late = time(5 + LEASE_SECONDS);
    let reclaimed = step(store, &next, |pair| {
        claim(pair, &off, "w2", late).expect("reclaim")
    })
    .await;
    assert!(reclaimed.job.fence > taken_over.job.fence && reclaimed.job.attempt == 2);
}

pub(super) async fn a_dry_run_needs_no_lock<S: JobStore>(store: &S) {
    let table = table("db.t");
    cached(store, &table).await;
    submitted(store, 1, &table, time(0)).await;
    let results = vec![dry_run_result(Action::RewriteDataFiles, None)];
    let job = dry_run(new_job(2, &table), true, &Drain::default(), results, time(0)).expect("dry run");
    put_jobs(store, std::slice::from_ref(&job)).await;
    assert_eq!(
        store.job(&job.id).await.expect("read").expect("stored").value,
        job
    );
    assert_eq!(
        store.lock(&table).await.expect("read").value.holder,
        Some(job_id(1))
    );
    assert!(
        store.job(&job_id(3)).await.expect("read").is_none(),
        "an unknown job is none"
    );
}

pub(super) async fn a_big_job_comes_back_whole<S: JobStore>(store: &S) {
    let table = table("db.t");
    cached(store, &table).await;
    let id = submitted(store, 1, &table, time(0)).await;
    let mut job = read(store, &id).await.pair.job;
    let off = Drain::default();
    let held = step(store, &id, |pair| claim(pair, &off, "w", time(1)).expect("claim"))
        .await
        .job
        .fence;
    // As long as a cause gets: the error of a storage service with a page of HTML in it, in a script that
    // takes three bytes a letter, and quotes that JSON escapes.
    let cause = "\"雪\"".repeat(20_000);
    step(store, &id, |pair| {
        finish(pair, held, Verdict::Failed(cause.clone()), time(2)).expect("finish")
    })
    .await;
    job.id = job_id(2);
    job.options
        .set(
            Action::RewriteDataFiles,
            "where",
            snowpack_domain::OptionValue::Text("x = 1 or ".repeat(7_000)),
        )
        .expect("a filter");
    let write = Write {
        job: Some(Versioned {
            value: job.clone(),
            version: 0,
        }),
        ..Write::default()
    };
    assert_eq!(store.write(&write).await.expect("write"), Written::Applied);
    assert_eq!(
        store.job(&job.id).await.expect("read").expect("stored").value,
        job
    );
}
