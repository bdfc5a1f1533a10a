//! Locks: which tables are held, and that a lock is freed without its job.

use snowpack_domain::{TableId, cancel, free_lock};
use snowpack_service::ports::{JobStore, ListError, PageRequest, Versioned, Write, Written};

use super::steps::{cached, step, submitted};
use crate::sample::{table, time};

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
