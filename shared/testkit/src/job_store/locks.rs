//! Locks: which tables are held, and that a lock is freed without its job.

use snowpack_domain::{Drain, TableId, Verdict, cancel, claim, finish, free_lock};
use snowpack_service::ports::{JobStore, ListError, PageRequest, Versioned, Write, Written};

use super::steps::{cached, step, submitted};
use crate::sample::{job_id, table, time};

async fn all_held(store: &impl JobStore, limit: usize) -> Vec<TableId> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = store
            .held_locks(&PageRequest { limit, cursor })
            .await
            .expect("list locks");
        assert!(page.items.len() <= limit);
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

pub(super) async fn held_locks_are_listed_by_name<S: JobStore>(store: &S) {
    assert_eq!(all_held(store, 500).await, []);
    let mut held: Vec<_> = ["b.t", "a.b.t", "a.t", "a.t-1", "a-b.t"].map(table).into();
    let mut jobs = Vec::new();
    for (number, table) in (1..).zip(&held) {
        cached(store, table).await;
        jobs.push(submitted(store, number, table, time(0)).await);
    }
    let freed = held.remove(0);
    step(store, &jobs[0], |pair| cancel(pair, time(1)).expect("cancel")).await;
    held.sort();
    for limit in [1, 2, 500] {
        assert_eq!(all_held(store, limit).await, held);
    }
    let page = PageRequest {
        limit: 1,
        cursor: Some("s.1.x".to_owned()),
    };
    assert!(matches!(store.held_locks(&page).await, Err(ListError::BadCursor)));

    // A lock alone, as a sweep frees it.
    let lock = store.lock(&held[0]).await.expect("read");
    let free = free_lock(&lock.value, None).expect("its job is gone");
    let write = Write {
        lock: Some((
            held[0].clone(),
            Versioned {
                value: free.clone(),
                version: lock.version,
            },
        )),
        ..Write::default()
    };
    assert_eq!(store.write(&write).await.expect("write"), Written::Applied);
    assert_eq!(store.write(&write).await.expect("write"), Written::LostRace);
    assert_eq!(store.lock(&held[0]).await.expect("read").value, free);
    assert_eq!(all_held(store, 500).await, held[1..]);
    assert!(!held.contains(&freed));
}

/// More locks than any store gives in one request.
const MANY: u128 = 130;

pub(super) async fn many_are_read_at_once_with_what_was_done_last<S: JobStore>(store: &S) {
    let tables: Vec<_> = (0..MANY)
        .map(|number| table(&format!("a.t{number:03}")))
        .collect();
    for (number, table) in (1..).zip(&tables) {
        cached(store, table).await;
        submitted(store, number, table, time(0)).await;
    }
    let first = store.lock(&tables[0]).await.expect("read").value;
    let id = first.holder.clone().expect("held");
    step(store, &id, |pair| {
        claim(pair, &Drain::default(), "w", time(1)).expect("claim")
    })
    .await;
    let ended = step(store, &id, |pair| {
        let fence = pair.job.fence;
        finish(pair, fence, Verdict::Completed, time(2)).expect("finish")
    })
    .await;
    let upkeep = ended.lock.upkeep;
    assert_eq!(
        (upkeep.completed_at, upkeep.ended_at),
        (Some(time(2)), Some(time(2)))
    );

    let mut asked = tables.clone();
    asked.push(table("a.never_locked"));
    let locks = store.locks(&asked).await.expect("read");
    assert_eq!(locks.len(), tables.len());
    assert_eq!(locks[&tables[0]], ended.lock);
    assert!(tables[1..].iter().all(|table| locks[table].holder.is_some()));
    assert!(store.locks(&[]).await.expect("read").is_empty());

    // What was done last outlives the next job's lock.
    submitted(store, MANY + 1, &tables[0], time(3)).await;
    let held = store.lock(&tables[0]).await.expect("read").value;
    assert_eq!((held.holder.is_some(), held.upkeep), (true, ended.lock.upkeep));

    // A job that does not complete ends too.
    let cancelled = step(store, &job_id(MANY + 1), |pair| {
        cancel(pair, time(9)).expect("cancel")
    })
    .await;
    let upkeep = store.lock(&tables[0]).await.expect("read").value.upkeep;
    assert_eq!(upkeep, cancelled.lock.upkeep);
    assert_eq!(
        (upkeep.completed_at, upkeep.ended_at),
        (Some(time(2)), Some(time(9)))
    );
}
