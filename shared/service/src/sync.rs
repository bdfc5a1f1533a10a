//! Sync: fill the table cache from the catalog, one generation at a time.

use futures::stream::{self, StreamExt, TryStreamExt};
use snowpack_domain::{CacheEntry, CacheState, TableId};
use snowpack_telemetry::events::TABLE_CACHE_SYNCED;

use crate::failure::Failure;
use crate::ports::{Clock, JobStore, Tables};

/// Tables whose metadata is read at once; metadata reads wait on storage, not on cores.
const CONCURRENT_READS: usize = 16;
/// Entries written together.
const WRITE_BATCH: usize = 100;

/// What a sync did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// Tables in the catalog.
    pub tables: u64,
    /// Cached tables that had vanished and were removed.
    pub removed: u64,
    /// Tables whose metadata could not be read; they stay cached by name.
    pub unreadable: u64,
}

/// Lists the whole catalog, then replaces the cache. A failed listing changes nothing.
///
/// # Errors
/// [`Failure`] when the catalog cannot be listed or the store cannot be written.
pub async fn sync_tables<S: JobStore, T: Tables>(
    store: &S,
    tables: &T,
    clock: &impl Clock,
) -> Result<SyncReport, Failure> {
    let generation = store.cache_state().await?.generation + 1;
    let mut names = Vec::new();
    for database in tables.databases().await? {
        names.extend(tables.list(&database).await?);
    }
    let table_count = names.len() as u64;
    let unreadable: u64 = stream::iter(names)
        .map(|table| async move { read_entry(store, tables, table, generation).await })
        .buffer_unordered(CONCURRENT_READS)
        .try_chunks(WRITE_BATCH)
        .map_err(|error| error.1)
        .and_then(|batch| async move {
            let unreadable = batch.iter().filter(|(_, readable)| !readable).count() as u64;
            let entries: Vec<_> = batch.into_iter().filter_map(|(entry, _)| entry).collect();
            store.put_cache_entries(&entries).await?;
            Ok(unreadable)
        })
        .try_fold(0, |total, unreadable| async move {
            Ok::<_, Failure>(total + unreadable)
        })
        .await?;
    let removed = store.remove_cache_entries_before(generation).await?;
    let state = CacheState {
        generation,
        last_synced: Some(clock.now()),
        table_count,
    };
    store.set_cache_state(&state).await?;
    tracing::info!(
        event = TABLE_CACHE_SYNCED.name,
        tables = table_count,
        removed,
        unreadable
    );
    Ok(SyncReport {
        tables: table_count,
        removed,
        unreadable,
    })
}

/// The table's entry and whether its metadata could be read. No entry: it vanished since it was listed.
async fn read_entry<S: JobStore, T: Tables>(
    store: &S,
    tables: &T,
    table: TableId,
    generation: u64,
) -> Result<(Option<CacheEntry>, bool), Failure> {
    match tables.find(&table).await {
        Ok(entry) => Ok((entry.map(|entry| CacheEntry { generation, ..entry }), true)),
        Err(error) => {
            tracing::warn!(%table, %error, "the table's metadata cannot be read");
            let known = store.cache_entry(&table).await?.unwrap_or_else(|| CacheEntry {
                table,
                location: None,
                metadata_location: None,
                format_version: None,
                properties: std::collections::BTreeMap::new(),
                generation,
            });
            Ok((Some(CacheEntry { generation, ..known }), false))
        }
    }
}
