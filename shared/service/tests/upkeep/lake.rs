//! A catalog of made-up tables that counts what is asked of it, and a store beside it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use snowpack_domain::{
    Action, CacheEntry, Duration, FileStats, JobId, JobOptions, ListedTable, Policy, Preview, PreviewSource,
    RunLimits, TableHealth, TableId, settings_hash,
};
use snowpack_embedded::{EmbeddedQueue, SqliteStore};
use snowpack_service::ports::{
    CatalogUnavailable, Clock as _, HealthUnreadable, JobQueue, JobStore as _, NoPreview, PageRequest,
    QueueDepth, StoreError, Tables,
};
use snowpack_service::{HealthBook, Orchestrator, RunPorts, TableCache};
use snowpack_testkit::{ManualClock, SequentialIds};

/// What a table of the catalog is like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Made {
    /// Counts its commits: part of its metadata file's name.
    pub(crate) version: u64,
    pub(crate) properties: BTreeMap<String, String>,
    /// Data files that a rewrite would take.
    pub(crate) files_in: u64,
    /// Its metadata cannot be read: only its name is known.
    pub(crate) damaged: bool,
    /// Whoever asks for it waits for ever.
    pub(crate) hangs: bool,
    /// The catalog is too busy to load it, though its health can be read.
    pub(crate) throttled: bool,
    /// Seconds that reading its health takes.
    pub(crate) slow: u64,
}

#[derive(Default)]
struct Catalog {
    tables: Mutex<BTreeMap<String, Made>>,
    /// Lists name metadata files, as Glue's do.
    lists_locations: AtomicBool,
    broken: AtomicBool,
    listing_seconds: AtomicU64,
    loads: AtomicUsize,
    reads: AtomicUsize,
    /// Tables whose health was read, in order.
    read: Mutex<Vec<String>>,
}

/// The catalog, shared.
#[derive(Clone)]
pub(crate) struct Lake {
    catalog: Arc<Catalog>,
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<SqliteStore>,
    ids: Arc<SequentialIds>,
    _folder: Arc<tempfile::TempDir>,
}

fn metadata(name: &str, version: u64) -> String {
    format!("file:///{name}/metadata/{version}.json")
}

impl Lake {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("state.db")).unwrap();
        let catalog = Catalog {
            lists_locations: AtomicBool::new(true),
            ..Catalog::default()
        };
        Self {
            catalog: Arc::new(catalog),
            clock: ManualClock::new(snowpack_testkit::time(0)),
            store: Arc::new(store),
            ids: Arc::default(),
            _folder: Arc::new(folder),
        }
    }

    /// A list that names tables only, as a REST server's.
    pub(crate) fn listing_names_only(self) -> Self {
        self.catalog.lists_locations.store(false, Ordering::SeqCst);
        self
    }

    /// Makes or changes a table.
    pub(crate) fn table(&self, name: &str, change: impl FnOnce(&mut Made)) {
        let mut tables = self.catalog.tables.lock().unwrap();
        let made = tables.entry(name.to_owned()).or_default();
        made.version += 1;
        change(made);
    }

    pub(crate) fn drop_table(&self, name: &str) {
        self.catalog.tables.lock().unwrap().remove(name);
    }

    pub(crate) fn break_listing(&self, broken: bool) {
        self.catalog.broken.store(broken, Ordering::SeqCst);
    }

    /// Each database takes so long to be listed.
    pub(crate) fn slow_listing(&self, seconds: u64) {
        self.catalog.listing_seconds.store(seconds, Ordering::SeqCst);
    }

    async fn wait_for(&self, table: &TableId) {
        let hangs = {
            let tables = self.catalog.tables.lock().unwrap();
            tables.get(&table.to_string()).is_some_and(|made| made.hangs)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
    }

    /// Tables loaded for the cache, and tables whose health was read, since the last call.
    pub(crate) fn asked(&self) -> (usize, usize) {
        (
            self.catalog.loads.swap(0, Ordering::SeqCst),
            self.catalog.reads.swap(0, Ordering::SeqCst),
        )
    }

    /// The tables whose health was read since the last call, in order.
    pub(crate) fn read_in_order(&self) -> Vec<String> {
        std::mem::take(&mut *self.catalog.read.lock().unwrap())
    }

    pub(crate) async fn cached(&self) -> Vec<CacheEntry> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = PageRequest { limit: 500, cursor };
            let page = self.store.cache_entries(None, &page).await.unwrap();
            all.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return all;
            }
        }
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.advance(Duration::from_seconds(seconds));
    }

    pub(crate) fn book(&self) -> HealthBook<SqliteStore, Self, ManualClock> {
        let cache = TableCache::new(Arc::clone(&self.store), self.clone(), self.clock.clone());
        HealthBook::new(Arc::new(cache), Policy::default())
    }

    pub(crate) fn orchestrator(
        &self,
        policy: Policy,
        limits: RunLimits,
    ) -> Orchestrator<SqliteStore, SlowQueue, Self, ManualClock, SequentialIds> {
        self.orchestrator_with_queue(policy, limits, 0)
    }

    /// One whose queue takes so long for a message.
    pub(crate) fn orchestrator_with_queue(
        &self,
        policy: Policy,
        limits: RunLimits,
        seconds: u64,
    ) -> Orchestrator<SqliteStore, SlowQueue, Self, ManualClock, SequentialIds> {
        let ports = RunPorts {
            store: Arc::clone(&self.store),
            queue: Arc::new(SlowQueue {
                queue: self.store.queue(self.clock.clone()),
                seconds,
            }),
            tables: self.clone(),
            clock: self.clock.clone(),
            ids: Arc::clone(&self.ids),
        };
        Orchestrator::new(ports, policy, limits)
    }

    fn entry(&self, table: &TableId) -> Option<CacheEntry> {
        let name = table.to_string();
        let made = self.catalog.tables.lock().unwrap().get(&name).cloned()?;
        Some(CacheEntry {
            table: table.clone(),
            location: (!made.damaged).then(|| format!("file:///{name}")),
            metadata_location: (!made.damaged).then(|| metadata(&name, made.version)),
            format_version: (!made.damaged).then_some(2),
            properties: match made.damaged {
                true => BTreeMap::new(),
                false => made.properties,
            },
            generation: 0,
        })
    }
}

/// A queue that takes its time.
pub(crate) struct SlowQueue {
    queue: EmbeddedQueue<ManualClock>,
    seconds: u64,
}

impl JobQueue for SlowQueue {
    async fn send(&self, job: &JobId, delay_seconds: u32) -> Result<(), StoreError> {
        if self.seconds > 0 {
            tokio::time::advance(std::time::Duration::from_secs(self.seconds)).await;
        }
        self.queue.send(job, delay_seconds).await
    }

    async fn depth(&self) -> Result<QueueDepth, StoreError> {
        self.queue.depth().await
    }
}

impl Tables for Lake {
    async fn find(&self, table: &TableId) -> Result<Option<CacheEntry>, CatalogUnavailable> {
        self.catalog.loads.fetch_add(1, Ordering::SeqCst);
        self.wait_for(table).await;
        let made = self
            .catalog
            .tables
            .lock()
            .unwrap()
            .get(&table.to_string())
            .cloned();
        if made.is_some_and(|made| made.throttled) {
            return Err(CatalogUnavailable("too many requests".to_owned()));
        }
        Ok(self.entry(table))
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogUnavailable> {
        let tables = self.catalog.tables.lock().unwrap();
        let names = tables
            .keys()
            .map(|name| TableId::parse(name).unwrap().database.to_string());
        let mut names: Vec<_> = names.collect();
        names.dedup();
        Ok(names)
    }

    async fn list(&self, database: &str) -> Result<Vec<ListedTable>, CatalogUnavailable> {
        if self.catalog.broken.load(Ordering::SeqCst) {
            return Err(CatalogUnavailable("out of order".to_owned()));
        }
        let takes = self.catalog.listing_seconds.load(Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_secs(takes)).await;
        let with_location = self.catalog.lists_locations.load(Ordering::SeqCst);
        let tables = self.catalog.tables.lock().unwrap();
        let listed = tables.iter().map(|(name, made)| ListedTable {
            table: TableId::parse(name).unwrap(),
            metadata_location: with_location.then(|| metadata(name, made.version)),
        });
        Ok(listed
            .filter(|listed| listed.table.database.as_str() == database)
            .collect())
    }

    async fn health(&self, table: &TableId) -> Result<Option<TableHealth>, HealthUnreadable> {
        self.catalog.reads.fetch_add(1, Ordering::SeqCst);
        self.wait_for(table).await;
        let name = table.to_string();
        let Some(made) = self.catalog.tables.lock().unwrap().get(&name).cloned() else {
            return Ok(None);
        };
        self.catalog.read.lock().unwrap().push(name.clone());
        if made.slow > 0 {
            tokio::time::advance(std::time::Duration::from_secs(made.slow)).await;
        }
        if made.damaged {
            return Err(HealthUnreadable::Broken(format!(
                "the metadata of {name} is cut off"
            )));
        }
        let outlook = |numbers: &[(&str, u64)]| Preview {
            source: PreviewSource::Live,
            numbers: numbers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Some(*value)))
                .collect(),
            note: None,
        };
        let rewrite = outlook(&[("files_in", made.files_in), ("files_out", made.files_in.min(1))]);
        let mut all: BTreeMap<_, _> = Action::ALL.map(|action| (action, outlook(&[]))).into();
        all.insert(Action::RewriteDataFiles, rewrite);
        // Nothing else is ever due here.
        all.remove(&Action::RemoveOrphanFiles);
        Ok(Some(TableHealth {
            table: table.clone(),
            location: format!("file:///{name}"),
            metadata_location: metadata(&name, made.version),
            format_version: 2,
            snapshot_id: None,
            files: FileStats::default(),
            snapshot_count: 0,
            oldest_snapshot_at: None,
            manifest_count: 0,
            total_records: 0,
            deleted_records: 0,
            outlook: all,
            settings_hash: Some(settings_hash(&HashMap::new())),
            collected_at: self.clock.now(),
        }))
    }

    async fn preview(
        &self,
        _: &TableId,
        actions: &[Action],
        _: &JobOptions,
    ) -> Vec<Result<Preview, NoPreview>> {
        vec![Err(NoPreview::Refused("not asked here".to_owned())); actions.len()]
    }
}

/// The deployment's settings, by property name without `snowpack.`.
pub(crate) fn policy(settings: &[(&str, &str)]) -> Policy {
    let owned = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Policy {
        deployment: owned.collect::<HashMap<_, _>>(),
        ..Policy::default()
    }
}
