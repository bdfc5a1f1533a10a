//! Sync of the table cache: compares the catalog's list with what is cached, and writes what differs.
//!
//! A table whose listed metadata file is the cached one has not changed: it is neither loaded nor written. Others are
//! loaded in order of their names, a batch at a time. When time is up, the position is kept and the next sync goes on
//! behind it; only a sync that came to the end counts as one. A listing that fails changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::stream::{self, StreamExt};
use snowpack_domain::{CacheEntry, CacheState, SyncGeneration, TableId};
use snowpack_telemetry::events::TABLE_CACHE_SYNCED;

use crate::failure::Failure;
use crate::ports::{Clock, JobStore, ListError, ListedTable, PageRequest, Tables};
use crate::time_limit::TimeLimit;

/// Tables whose metadata is read at once; metadata reads wait on storage, not on cores.
const CONCURRENT_READS: usize = 16;
/// Tables loaded between two looks at the clock, and entries written together.
const BATCH: usize = 100;
/// Entries read or removed in one request to the store.
pub(crate) const PAGE: usize = 500;

/// What a sync did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Tables in the catalog.
    pub tables: u64,
    /// Entries that were new or had changed, and were written.
    pub written: u64,
    /// Cached tables that had vanished and were removed.
    pub removed: u64,
    /// Tables whose metadata could not be read; they stay cached as they were, or by name.
    pub unreadable: u64,
    /// Whether every table was looked at. If not, the next sync goes on.
    pub finished: bool,
}

/// Brings the cache up to date with the catalog, as far as the time allows.
///
/// # Errors
/// [`Failure`] when the catalog cannot be listed or the store failed.
pub async fn sync_tables<S: JobStore, T: Tables>(
    store: &S,
    tables: &T,
    clock: &impl Clock,
    limit: TimeLimit,
) -> Result<SyncReport, Failure> {
    let state = store.cache_state().await?;
    let listed = list_all(tables).await?;
    let cached = read_all(store).await?;
    let mut sync = Sync {
        store,
        tables,
        generation: state.generation + 1,
        report: SyncReport {
            tables: listed.len() as u64,
            ..SyncReport::default()
        },
    };
    sync.remove_vanished(&listed, &cached).await?;
    let refreshed = sync
        .refresh(listed, cached, state.position.as_ref(), limit)
        .await?;
    sync.report.finished = refreshed == Refreshed::All;
    let next = match refreshed {
        Refreshed::All => CacheState {
            generation: sync.generation,
            last_synced: Some(clock.now()),
            table_count: sync.report.tables,
            position: None,
        },
        Refreshed::UpTo(position) => CacheState { position, ..state },
    };
    store.set_cache_state(&next).await?;
    let report = sync.report;
    tracing::info!(
        event = TABLE_CACHE_SYNCED.name,
        tables = report.tables,
        written = report.written,
        removed = report.removed,
        unreadable = report.unreadable,
        finished = report.finished
    );
    Ok(report)
}

/// The whole catalog by name.
async fn list_all<T: Tables>(tables: &T) -> Result<Vec<ListedTable>, Failure> {
    let mut listed = Vec::new();
    for database in tables.databases().await? {
        listed.extend(tables.list(&database).await?);
    }
    listed.sort_by(|a, b| a.table.cmp(&b.table));
    listed.dedup_by(|a, b| a.table == b.table);
    Ok(listed)
}

/// Every cached entry by table.
async fn read_all<S: JobStore>(store: &S) -> Result<HashMap<TableId, CacheEntry>, Failure> {
    let (mut all, mut cursor) = (HashMap::new(), None);
    loop {
        let page = entries(store, cursor).await?;
        all.extend(page.items.into_iter().map(|entry| (entry.table.clone(), entry)));
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

/// A page of cached entries; the cursor is one that the store gave.
pub(crate) async fn entries<S: JobStore>(
    store: &S,
    cursor: Option<String>,
) -> Result<crate::ports::Page<CacheEntry>, Failure> {
    let request = PageRequest { limit: PAGE, cursor };
    store.cache_entries(None, &request).await.map_err(list_failure)
}

/// Cursors here are always the store's own.
pub(crate) fn list_failure(error: ListError) -> Failure {
    match error {
        ListError::Store(error) => error.into(),
        ListError::BadCursor => Failure::Contended,
    }
}

/// Whether the table has to be loaded to know what its entry should be.
fn may_have_changed(listed: &ListedTable, cached: Option<&CacheEntry>) -> bool {
    let Some(cached) = cached else {
        return true;
    };
    match &listed.metadata_location {
        Some(location) => cached.metadata_location.as_ref() != Some(location),
        None => true,
    }
}

/// How far a sync came.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refreshed {
    All,
    /// Behind the last table looked at, if any.
    UpTo(Option<TableId>),
}

struct Sync<'a, S, T> {
    store: &'a S,
    tables: &'a T,
    generation: SyncGeneration,
    report: SyncReport,
}

impl<S: JobStore, T: Tables> Sync<'_, S, T> {
    /// Removes what is cached and not listed, unless a request put it meanwhile because the catalog has it after all.
    async fn remove_vanished(
        &mut self,
        listed: &[ListedTable],
        cached: &HashMap<TableId, CacheEntry>,
    ) -> Result<(), Failure> {
        let present: HashSet<_> = listed.iter().map(|listed| &listed.table).collect();
        let vanished: Vec<_> = cached
            .keys()
            .filter(|table| !present.contains(table))
            .cloned()
            .collect();
        for batch in vanished.chunks(PAGE) {
            self.report.removed += self.store.remove_cache_entries(batch, self.generation).await?;
        }
        Ok(())
    }

    /// Loads what may have changed, behind `position` if given.
    async fn refresh(
        &mut self,
        listed: Vec<ListedTable>,
        mut cached: HashMap<TableId, CacheEntry>,
        position: Option<&TableId>,
        limit: TimeLimit,
    ) -> Result<Refreshed, Failure> {
        let is_left = |listed: &ListedTable| position.is_none_or(|position| listed.table > *position);
        let waiting = listed
            .into_iter()
            .filter(|listed| is_left(listed) && may_have_changed(listed, cached.get(&listed.table)));
        let waiting: Vec<_> = waiting.map(|listed| listed.table).collect();
        let mut reached = position.cloned();
        for batch in waiting.chunks(BATCH) {
            if limit.is_reached() {
                return Ok(Refreshed::UpTo(reached));
            }
            self.refresh_batch(batch, &mut cached).await?;
            reached = batch.last().cloned();
        }
        Ok(Refreshed::All)
    }

    async fn refresh_batch(
        &mut self,
        batch: &[TableId],
        cached: &mut HashMap<TableId, CacheEntry>,
    ) -> Result<(), Failure> {
        let tables = self.tables;
        let reads = stream::iter(batch.to_vec()).map(|table| async move {
            let found = tables.find(&table).await;
            (table, found)
        });
        let found: Vec<_> = reads.buffer_unordered(CONCURRENT_READS).collect().await;
        let mut changed = Vec::new();
        for (table, read) in found {
            let known = cached.remove(&table);
            let entry = match read {
                // Its metadata is damaged now; what it said of itself before still counts, an opt-out first of all.
                Ok(Some(entry)) if entry.location.is_none() && known.is_some() => {
                    self.report.unreadable += 1;
                    continue;
                }
                Ok(Some(entry)) => CacheEntry {
                    generation: self.generation,
                    ..entry
                },
                // Dropped since it was listed: the next sync removes it.
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%table, %error, "the table's metadata cannot be read");
                    self.report.unreadable += 1;
                    match known {
                        Some(_) => continue,
                        None => by_name(&table, self.generation),
                    }
                }
            };
            if known.is_none_or(|known| !is_same(&known, &entry)) {
                changed.push(entry);
            }
        }
        self.report.written += changed.len() as u64;
        self.store.put_cache_entries(&changed).await?;
        Ok(())
    }
}

fn is_same(known: &CacheEntry, entry: &CacheEntry) -> bool {
    let generation = known.generation;
    *known
        == CacheEntry {
            generation,
            ..entry.clone()
        }
}

fn by_name(table: &TableId, generation: SyncGeneration) -> CacheEntry {
    CacheEntry {
        table: table.clone(),
        location: None,
        metadata_location: None,
        format_version: None,
        properties: BTreeMap::new(),
        generation,
    }
}
