//! Sync of the table cache: compares the catalog's list with what is cached, and writes what differs.
//!
//! A table whose listed metadata file is the cached one has not changed: it is neither loaded nor written. Others are
//! loaded in order of their names. When time is up, no further one is begun, the position is kept and the next sync goes
//! on behind it; only a sync that came to the end counts as one. A listing that fails changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use snowpack_domain::{CacheEntry, CacheState, SyncGeneration, TableId};
use snowpack_telemetry::events::TABLE_CACHE_SYNCED;

use crate::failure::Failure;
use crate::in_time;
use crate::ports::{CatalogUnavailable, Clock, JobStore, ListError, ListedTable, PageRequest, Tables};
use crate::time_limit::TimeLimit;

/// Tables whose metadata is read at once; metadata reads wait on storage, not on cores.
const CONCURRENT_READS: usize = 16;
/// Databases listed at once: enough to hide a catalog's latency, few enough not to be throttled by it.
const CONCURRENT_LISTS: usize = 8;
/// Entries written together.
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

/// The whole catalog by name, or the first failure.
async fn list_all<T: Tables>(tables: &T) -> Result<Vec<ListedTable>, Failure> {
    let databases = tables.databases().await?;
    let lists = stream::iter(databases).map(|database| async move { tables.list(&database).await });
    let listed: Vec<_> = lists.buffer_unordered(CONCURRENT_LISTS).try_collect().await?;
    let mut listed: Vec<_> = listed.into_iter().flatten().collect();
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
        let tables = self.tables;
        // Made as they are begun: a read not yet begun takes kilobytes too, and there may be 100,000.
        let (mut left, mut finds) = (waiting.iter(), FuturesUnordered::new());
        let (mut read, mut changed) = (0, Vec::new());
        loop {
            while finds.len() < CONCURRENT_READS
                && !limit.is_reached()
                && let Some(table) = left.next()
            {
                finds.push(async move { (table, in_time::find(tables, table).await) });
            }
            let Some((table, found)) = finds.next().await else {
                break;
            };
            read += 1;
            changed.extend(self.changed_entry(table, found, cached.remove(table)));
            if changed.len() == BATCH {
                self.put(&mut changed).await?;
            }
        }
        self.put(&mut changed).await?;
        if read == waiting.len() {
            return Ok(Refreshed::All);
        }
        // Tables are begun in order, and all that were are done.
        let last = read.checked_sub(1).map(|last| &waiting[last]).or(position);
        Ok(Refreshed::UpTo(last.cloned()))
    }

    /// What is to be cached of a table from now on; `None` to leave it as it is.
    fn changed_entry(
        &mut self,
        table: &TableId,
        found: Result<Option<CacheEntry>, CatalogUnavailable>,
        known: Option<CacheEntry>,
    ) -> Option<CacheEntry> {
        let entry = match found {
            // Its metadata is damaged now; what it said of itself before still counts, an opt-out first of all.
            Ok(Some(entry)) if entry.location.is_none() && known.is_some() => {
                self.report.unreadable += 1;
                return None;
            }
            Ok(Some(entry)) => CacheEntry {
                generation: self.generation,
                ..entry
            },
            // Dropped since it was listed: the next sync removes it.
            Ok(None) => return None,
            Err(error) => {
                tracing::warn!(%table, %error, "the table's metadata cannot be read");
                self.report.unreadable += 1;
                match known {
                    Some(_) => return None,
                    None => by_name(table, self.generation),
                }
            }
        };
        let is_changed = known.is_none_or(|known| !is_same(&known, &entry));
        is_changed.then_some(entry)
    }

    async fn put(&mut self, changed: &mut Vec<CacheEntry>) -> Result<(), Failure> {
        self.report.written += changed.len() as u64;
        self.store.put_cache_entries(changed).await?;
        changed.clear();
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
