//! The table cache: entries by name, forgotten when a sync no longer sees them.

use snowpack_domain::{CacheEntry, CacheState};
use snowpack_service::ports::{JobStore, PageRequest};

use super::steps::entry;
use crate::sample::{table, time};

/// More entries than any store takes or gives in one request.
const MANY: u32 = 130;

async fn all_entries(store: &impl JobStore, database: Option<&str>, limit: usize) -> Vec<CacheEntry> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = store
            .cache_entries(database, &PageRequest { limit, cursor })
            .await
            .expect("list entries");
        assert!(page.items.len() <= limit);
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

fn entries() -> Vec<CacheEntry> {
    let many = (0..MANY).map(|number| format!("a.t{number:03}"));
    let alike = ["a.t-1", "a-b.t", "a.b.t", "A.t", "_.t", "b.t"].map(str::to_owned);
    many.chain(alike).map(|name| entry(&table(&name), 1)).collect()
}

pub(super) async fn entries_are_listed_by_name<S: JobStore>(store: &S) {
    let mut entries = entries();
    store.put_cache_entries(&entries).await.expect("put");
    entries.sort_by(|a, b| a.table.cmp(&b.table));
    for limit in [7, 500] {
        assert_eq!(all_entries(store, None, limit).await, entries);
        for database in ["a", "a.b", "a-b", "none"] {
            let of_it: Vec<_> = entries
                .iter()
                .filter(|entry| entry.table.database.as_str() == database)
                .cloned()
                .collect();
            assert_eq!(
                all_entries(store, Some(database), limit).await,
                of_it,
                "{database}"
            );
        }
    }
    let mut bare = entries[0].clone();
    (bare.location, bare.metadata_location, bare.format_version) = (None, None, None);
    bare.properties.clear();
    store
        .put_cache_entries(std::slice::from_ref(&bare))
        .await
        .expect("replace");
    assert_eq!(
        store.cache_entry(&bare.table).await.expect("read"),
        Some(bare.clone())
    );
    let context = store
        .submit_context(&bare.table, None, time(0))
        .await
        .expect("read");
    assert_eq!(context.entry.map(|entry| entry.value), Some(bare));
    assert_eq!(store.cache_entry(&table("a.unknown")).await.expect("read"), None);
}

pub(super) async fn a_sync_removes_what_it_did_not_see<S: JobStore>(store: &S) {
    let entries = entries();
    store.put_cache_entries(&entries).await.expect("put");
    let all: Vec<_> = entries.iter().map(|entry| entry.table.clone()).collect();
    let (vanished, seen) = all.split_at(30);
    // A request found one of them in the catalog after the sync had listed it.
    store
        .put_cache_entries(&[entry(&vanished[0], 2)])
        .await
        .expect("put");
    assert_eq!(store.remove_cache_entries(vanished, 2).await.expect("remove"), 29);
    assert_eq!(store.remove_cache_entries(vanished, 2).await.expect("remove"), 0);
    assert_eq!(all_entries(store, None, 500).await.len(), seen.len() + 1);

    let gone = &seen[0];
    store.remove_cache_entry(gone).await.expect("remove");
    store
        .remove_cache_entry(gone)
        .await
        .expect("removing twice is no error");
    assert_eq!(store.cache_entry(gone).await.expect("read"), None);
}

pub(super) async fn its_state_is_remembered<S: JobStore>(store: &S) {
    assert_eq!(store.cache_state().await.expect("read"), CacheState::default());
    for generation in [1, 2] {
        let state = CacheState {
            generation,
            last_synced: Some(time(5)),
            table_count: 10_000,
            position: (generation == 1).then(|| table("a.b.t")),
        };
        store.set_cache_state(&state).await.expect("set");
        assert_eq!(store.cache_state().await.expect("read"), state);
    }
}
