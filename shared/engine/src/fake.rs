//! For tests: a catalog in memory that can lose races and answers, and a table whose files exist only as
//! lists of rows, with a naive reader. What the reader says must not change by maintenance.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use snowpack_catalog::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};
use snowpack_domain::{ListedTable, Progress, TableId};
use snowpack_service::ports::{ActionStop, Supervisor};
use tokio::time::Instant;

pub(crate) mod parquet;
mod table;
mod vectors;

pub(crate) use table::{BY_PART, FLAT, FakeTable, Row};

/// What another writer does.
type Work = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// What happens at a compare-and-set.
pub(crate) enum Fault {
    /// Another writer does this first.
    Meanwhile(Work),
    /// Applied, but the answer is lost.
    AppliedUnknown,
    /// Not applied, and the answer is lost.
    LostUnknown,
    /// Applied, and a conflict is what a request sent twice gets for an answer.
    AppliedConflict,
    /// Answered by a conflict, and not applied before the next commit is asked for.
    LateConflict,
    /// Answered by a conflict, though nothing changed the table.
    BareConflict,
    /// Not applied: the catalog is not available.
    Unavailable,
    /// The same, and so it stays for a while.
    Outage(Duration),
}

/// One table.
pub(crate) struct FakeCatalog {
    id: TableId,
    stored: Mutex<(u64, Arc<TableMetadata>)>,
    io: FileIO,
    pub(crate) faults: Mutex<VecDeque<Fault>>,
    /// Other tables of the catalog; `None` for one that cannot be loaded.
    pub(crate) neighbours: Mutex<BTreeMap<TableId, Option<LoadedTable>>>,
    /// Whether databases and tables may be listed.
    pub(crate) lists_denied: AtomicBool,
    /// What happens before the next loads, one for each.
    before_load: Mutex<VecDeque<Work>>,
    /// Compare-and-sets asked for.
    pub(crate) commits: AtomicU64,
    /// Not available until then.
    down_until: Mutex<Option<Instant>>,
    /// A request still on its way.
    late: Mutex<Option<(LoadedTable, TableChange)>>,
}

impl FakeCatalog {
    pub(crate) fn new(metadata: TableMetadata, io: FileIO) -> Self {
        Self {
            id: TableId::new("db", "t").unwrap(),
            stored: Mutex::new((0, Arc::new(metadata))),
            io,
            faults: Mutex::default(),
            neighbours: Mutex::default(),
            lists_denied: AtomicBool::new(false),
            before_load: Mutex::default(),
            commits: AtomicU64::new(0),
            down_until: Mutex::default(),
            late: Mutex::default(),
        }
    }

    pub(crate) fn id(&self) -> &TableId {
        &self.id
    }

    pub(crate) fn now(&self) -> LoadedTable {
        let (version, metadata) = self.stored.lock().unwrap().clone();
        LoadedTable::new(self.id.clone(), metadata, version.to_string(), self.io.clone())
    }

    pub(crate) fn will(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    fn is_up(&self) -> Result<(), CatalogError> {
        match *self.down_until.lock().unwrap() {
            Some(until) if Instant::now() < until => Err(CatalogError::Unavailable("busy".to_owned())),
            _ => Ok(()),
        }
    }

    /// Another writer does this before the next load that has nothing of the kind yet.
    pub(crate) fn before_load(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work = Box::new(move || -> BoxFuture<'static, ()> { Box::pin(work) });
        self.before_load.lock().unwrap().push_back(work);
    }

    fn list<T>(&self, names: Vec<T>) -> Result<Vec<T>, CatalogError> {
        match self.lists_denied.load(Ordering::SeqCst) {
            true => Err(CatalogError::AccessDenied("no list for you".to_owned())),
            false => Ok(names),
        }
    }

    /// The compare-and-set itself.
    pub(crate) fn swap(&self, base: &LoadedTable, change: TableChange) -> Result<(), CommitError> {
        let mut stored = self.stored.lock().unwrap();
        if base.metadata_location != stored.0.to_string() {
            return Err(CommitError::Conflict("the metadata location changed".to_owned()));
        }
        for requirement in &change.requirements {
            requirement
                .check(Some(&stored.1))
                .map_err(|error| CommitError::Conflict(error.to_string()))?;
        }
        let mut builder = TableMetadata::clone(&stored.1).into_builder(None);
        for update in change.updates {
            builder = update.apply(builder).unwrap();
        }
        *stored = (stored.0 + 1, Arc::new(builder.build().unwrap().metadata));
        Ok(())
    }
}

impl Catalog for FakeCatalog {
    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        self.is_up()?;
        if let Some(neighbour) = self.neighbours.lock().unwrap().get(table) {
            return neighbour
                .clone()
                .ok_or_else(|| CatalogError::Unavailable("busy".to_owned()));
        }
        let before = self.before_load.lock().unwrap().pop_front();
        if let Some(work) = before {
            work().await;
        }
        Ok(self.now())
    }

    async fn commit(&self, base: &LoadedTable, change: TableChange) -> Result<LoadedTable, CommitError> {
        self.is_up()?;
        self.commits.fetch_add(1, Ordering::SeqCst);
        if let Some((base, change)) = self.late.lock().unwrap().take() {
            // Too late, if the table has moved on.
            self.swap(&base, change).ok();
        }
        let conflict = || Err(CommitError::Conflict("somebody was there".to_owned()));
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            Some(Fault::Unavailable) => {
                return Err(CommitError::Failed(CatalogError::Unavailable("busy".to_owned())));
            }
            Some(Fault::Outage(outage)) => {
                *self.down_until.lock().unwrap() = Some(Instant::now() + outage);
                self.is_up()?;
            }
            Some(Fault::LostUnknown) => return Err(CommitError::Unknown("timed out".to_owned())),
            Some(Fault::AppliedUnknown) => {
                self.swap(base, change)?;
                return Err(CommitError::Unknown("timed out".to_owned()));
            }
            Some(Fault::AppliedConflict) => {
                self.swap(base, change)?;
                return conflict();
            }
            Some(Fault::LateConflict) => {
                *self.late.lock().unwrap() = Some((base.clone(), change));
                return conflict();
            }
            Some(Fault::BareConflict) => return conflict(),
            Some(Fault::Meanwhile(work)) => work().await,
            None => {}
        }
        self.swap(base, change)?;
        Ok(self.now())
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogError> {
        self.list(vec!["db".to_owned()])
    }

    async fn tables(&self, _: &str) -> Result<Vec<ListedTable>, CatalogError> {
        let neighbours = self.neighbours.lock().unwrap();
        let listed = neighbours.keys().chain([&self.id]).map(|table| ListedTable {
            table: table.clone(),
            metadata_location: None,
        });
        self.list(listed.collect())
    }
}

/// Allows everything, or as much as a test wants.
#[derive(Default)]
pub(crate) struct FakeSupervisor {
    /// Revokes from this checkpoint on.
    pub(crate) revoke_at: Option<u64>,
    /// Out of time once this many file groups have been written.
    pub(crate) groups_in_time: Option<u64>,
    /// Out of time from then on.
    pub(crate) deadline: Option<Instant>,
    /// Revokes from then on.
    pub(crate) cancelled_at: Option<Instant>,
    /// The process dies at this fault point.
    pub(crate) dies_at: Option<&'static str>,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) groups: AtomicU64,
}

impl FakeSupervisor {
    /// Out of time after so long.
    pub(crate) fn with_time(time: Duration) -> Self {
        Self {
            deadline: Some(Instant::now() + time),
            ..Self::default()
        }
    }
}

impl Supervisor for FakeSupervisor {
    async fn checkpoint(&self) -> Result<(), ActionStop> {
        let seen = self.checkpoints.fetch_add(1, Ordering::SeqCst);
        match self.revoke_at {
            Some(limit) if seen >= limit => Err(ActionStop::Revoked),
            _ => Ok(()),
        }
    }

    fn poll(&self) -> Result<(), ActionStop> {
        let is_past = |instant: Option<Instant>| instant.is_some_and(|instant| Instant::now() >= instant);
        match self.groups_in_time {
            _ if is_past(self.cancelled_at) => Err(ActionStop::Revoked),
            _ if is_past(self.deadline) => Err(ActionStop::OutOfTime),
            Some(limit) if self.groups.load(Ordering::SeqCst) >= limit => Err(ActionStop::OutOfTime),
            _ => Ok(()),
        }
    }

    fn progress(&self, _: Progress) {}

    fn seconds_left(&self) -> Option<f64> {
        None
    }

    fn reached(&self, point: &'static str) {
        if point == crate::points::FILES_WRITTEN {
            self.groups.fetch_add(1, Ordering::SeqCst);
        }
        assert!(self.dies_at != Some(point), "the process dies at {point}");
    }
}
