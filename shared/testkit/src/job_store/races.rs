//! Writers that meet: exactly one wins, and the others leave nothing behind.

use std::sync::Arc;

use snowpack_domain::{Drain, JobStatus, Pair, SubmitRefused, TableId, cancel, claim};
use snowpack_service::ports::{IdempotencyRecord, JobStore, Versioned, Write, Written};
use tokio::task::JoinSet;

use super::steps::{cached, load, read, step, submit_write, submitted};
use crate::sample::{job_id, new_job, table, time};

/// Submitters that start at once: more than any deployment has API functions for one table.
const SUBMITTERS: u128 = 200;
/// Workers that get the same message.
const CLAIMERS: u128 = 20;

async fn assert_lost(store: &impl JobStore, write: &Write) {
    assert_eq!(store.write(write).await.expect("write"), Written::LostRace);
}

pub(super) async fn stale_versions_store_nothing<S: JobStore>(store: &S) {
    let table = table("db.t");
    cached(store, &table).await;
    let id = submitted(store, 1, &table, time(0)).await;
    let stale = read(store, &id).await;
    let current = step(store, &id, |pair| {
        claim(pair, &Drain::default(), "w", time(1)).expect("claim")
    })
    .await;

    let cancelled = cancel(stale.pair.clone(), time(2)).expect("cancel");
    let both_stale = stale.replaced_by(cancelled.clone());
    assert_lost(store, &both_stale).await;

    let mut only_lock_stale = read(store, &id).await.replaced_by(cancelled.clone());
    only_lock_stale.lock.clone_from(&both_stale.lock);
    assert_lost(store, &only_lock_stale).await;

    let mut only_job_stale = read(store, &id).await.replaced_by(cancelled);
    only_job_stale.job.clone_from(&both_stale.job);
    assert_lost(store, &only_job_stale).await;

    for (number, version) in [(1, 0), (2, 5)] {
        let mut job = current.job.clone();
        job.id = job_id(number);
        let job = Some(Versioned { value: job, version });
        let write = Write {
            job,
            ..Write::default()
        };
        assert_lost(store, &write).await;
    }
    assert_eq!(
        read(store, &id).await.pair,
        current,
        "nothing of a lost race is stored"
    );
    assert!(store.job(&job_id(2)).await.expect("read").is_none());
    let unlocked = store.lock(&crate::sample::table("db.other")).await.expect("read");
    assert_eq!((unlocked.version, unlocked.value.holder), (0, None));
}

/// Submits as the use case does: again after each lost race.
async fn race(store: &impl JobStore, number: u128, table: &TableId) -> Result<(), SubmitRefused> {
    loop {
        let write = submit_write(store, new_job(number, table), time(0)).await?;
        if store.write(&write).await.expect("write") == Written::Applied {
            return Ok(());
        }
    }
}

pub(super) async fn one_of_200_submitters_wins<S: JobStore>(store: S) {
    let table = table("db.contended");
    cached(&store, &table).await;
    let store = Arc::new(store);
    let mut submitters = JoinSet::new();
    for number in 1..=SUBMITTERS {
        let (store, table) = (Arc::clone(&store), table.clone());
        submitters.spawn(async move { (number, race(&*store, number, &table).await) });
    }
    let outcomes = submitters.join_all().await;
    let winners: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).collect();
    let [(winner, _)] = winners[..] else {
        panic!("{} submitters won", winners.len());
    };
    for (number, outcome) in &outcomes {
        let stored = store.job(&job_id(*number)).await.expect("read");
        assert_eq!(
            stored.is_some(),
            number == winner,
            "a refused submit leaves nothing behind"
        );
        if let Err(refused) = outcome {
            assert_eq!(*refused, SubmitRefused::Busy(job_id(*winner)));
        }
    }
    read(&*store, &job_id(*winner)).await;
}

pub(super) async fn one_of_many_claimers_wins<S: JobStore>(store: S) {
    let table = table("db.t");
    cached(&store, &table).await;
    let id = submitted(&store, 1, &table, time(0)).await;
    let store = Arc::new(store);
    let mut claimers = JoinSet::new();
    for number in 0..CLAIMERS {
        let (store, id) = (Arc::clone(&store), id.clone());
        claimers.spawn(async move {
            let before = load(&*store, &id).await;
            match claim(
                before.pair.clone(),
                &Drain::default(),
                &format!("w{number}"),
                time(1),
            ) {
                Ok(after) => store.write(&before.replaced_by(after)).await.expect("write"),
                Err(_) => Written::LostRace,
            }
        });
    }
    let won = claimers
        .join_all()
        .await
        .into_iter()
        .filter(|written| *written == Written::Applied)
        .count();
    assert_eq!(won, 1);
    let Pair { job, .. } = read(&*store, &id).await.pair;
    assert_eq!((job.status, job.attempt), (JobStatus::Running, 1));
}

pub(super) async fn drain_stops_a_submit_decided_before<S: JobStore>(store: &S) {
    let table = table("db.t");
    cached(store, &table).await;
    let never_set = store.drain().await.expect("read");
    assert_eq!((never_set.version, never_set.value), (0, Drain::default()));
    let on = Drain {
        enabled: true,
        reason: Some("migration".into()),
    };
    for (number, next) in [(1, on.clone()), (2, on), (3, Drain::default())] {
        let decided = Write {
            expect_drain: Some(store.drain().await.expect("read").version),
            lock: None,
            expect_cached: None,
            ..submit_write_anyway(number, &table)
        };
        store.set_drain(&next).await.expect("set");
        assert_eq!(store.drain().await.expect("read").value, next);
        assert_lost(store, &decided).await;
    }
    let id = submitted(store, 4, &table, time(0)).await;
    assert_eq!(read(store, &id).await.pair.job.status, JobStatus::Pending);
}

fn submit_write_anyway(number: u128, table: &TableId) -> Write {
    let pair = snowpack_domain::submit(
        new_job(number, table),
        true,
        &Drain::default(),
        &snowpack_domain::Lock::default(),
        time(0),
    )
    .expect("nothing stands against the job");
    Write {
        job: Some(Versioned {
            value: pair.job,
            version: 0,
        }),
        ..Write::default()
    }
}

pub(super) async fn a_forgotten_table_stops_a_submit_decided_before<S: JobStore>(store: &S) {
    let table = table("db.t");
    cached(store, &table).await;
    let write = submit_write(store, new_job(1, &table), time(0))
        .await
        .expect("decided");
    store.remove_cache_entry(&table).await.expect("remove");
    assert_lost(store, &write).await;
    let refused = submit_write(store, new_job(1, &table), time(0))
        .await
        .expect_err("unknown now");
    assert_eq!(refused, SubmitRefused::UnknownTable);
    assert!(store.job(&job_id(1)).await.expect("read").is_none());
    assert_eq!(store.lock(&table).await.expect("read").version, 0);
}

pub(super) async fn idempotency_keys_are_kept_until_they_expire<S: JobStore>(store: &S) {
    let (key, expiry) = ("a key: ~!", 86_400);
    let tables = ["db.a", "db.b", "db.c"].map(table);
    let record = |number, seconds| IdempotencyRecord {
        key: key.into(),
        request_hash: format!("hash {number}"),
        job: job_id(number),
        expires_at: time(seconds),
    };
    for (number, at, taken) in [(1, 0, true), (2, expiry - 1, false), (3, expiry, true)] {
        let table = &tables[usize::try_from(number).expect("small") - 1];
        cached(store, table).await;
        let mut write = submit_write(store, new_job(number, table), time(at))
            .await
            .expect("decided");
        write.idempotency = Some(record(number, at + expiry));
        let written = store.write(&write).await.expect("write");
        assert_eq!(written == Written::Applied, taken, "at {at} s");
        assert_eq!(store.job(&job_id(number)).await.expect("read").is_some(), taken);
        let found = store
            .submit_context(table, Some(key), time(at))
            .await
            .expect("read")
            .idempotency;
        let holder = if taken {
            record(number, at + expiry)
        } else {
            record(1, expiry)
        };
        assert_eq!(found, Some(holder));
    }
    let later = store
        .submit_context(&tables[0], Some(key), time(2 * expiry))
        .await
        .expect("read");
    assert_eq!(later.idempotency, None, "an expired key stands for nothing");
    let other = store
        .submit_context(&tables[0], Some("other"), time(0))
        .await
        .expect("read");
    assert_eq!(other.idempotency, None);
}
