//! The catalog and the supervisor of the action under test, with an await point around every call.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use snowpack_catalog::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};
use snowpack_domain::{ListedTable, Progress, TableId, Timestamp};
use snowpack_service::ports::{ActionStop, Clock, Supervisor};

use crate::model::Flaw;
use crate::scheduler::Answer;
use crate::world::{World, lock};

/// The table's name.
pub(crate) fn table_id() -> TableId {
    TableId::new("db", "t").expect("it is a good name")
}

/// What one process sees of the world.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) world: Arc<World>,
    pub(crate) number: u64,
    /// Commits of this process that were applied.
    pub(crate) applied: Arc<AtomicU64>,
    /// A commit still on its way.
    late: Arc<Mutex<Option<(LoadedTable, TableChange)>>>,
}

impl Process {
    pub(crate) fn start(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            number: world.start_process(),
            applied: Arc::default(),
            late: Arc::default(),
        }
    }

    /// What is on its way arrives.
    pub(crate) fn arrive(&self) {
        if let Some((base, change)) = lock(&self.late).take() {
            // Too late, if the table has moved on.
            self.swap(&base, change).ok();
        }
    }

    async fn point(&self, what: &str) {
        self.world.point(self.number, what, "").await;
    }

    fn table(&self) -> LoadedTable {
        let (version, metadata) = self.world.table();
        let io = self.world.io(self.number);
        LoadedTable::new(table_id(), metadata, version.to_string(), io)
            .with_objects(Some(Arc::new(self.world.storage(self.number))))
    }

    /// The compare-and-set; what it applied is checked at once.
    fn swap(&self, base: &LoadedTable, change: TableChange) -> Result<(), CommitError> {
        let (version, metadata) = self.world.table();
        let careless = lock(&self.world.model).flaw == Some(Flaw::NoCompareAndSet);
        let holds = |base: &LoadedTable| {
            let mut requirements = change.requirements.iter();
            base.metadata_location == version.to_string()
                && requirements.all(|one| one.check(Some(&metadata)).is_ok())
        };
        if !careless && !holds(base) {
            return Err(CommitError::Conflict("the table changed".to_owned()));
        }
        self.world.apply(change.updates);
        self.applied.fetch_add(1, SeqCst);
        if self.world.is_damaged.load(SeqCst) {
            return Ok(());
        }
        let (_, metadata) = self.world.table();
        if let Some(head) = metadata.current_snapshot() {
            self.world.check_snapshot(&metadata, head);
        }
        self.world.committed_by_action();
        Ok(())
    }
}

impl Catalog for Process {
    async fn load(&self, _: &TableId) -> Result<LoadedTable, CatalogError> {
        self.point("load").await;
        let table = self.table();
        self.point("loaded").await;
        Ok(table)
    }

    async fn commit(&self, base: &LoadedTable, change: TableChange) -> Result<LoadedTable, CommitError> {
        self.point("commit").await;
        self.arrive();
        let unknown = || Err(CommitError::Unknown("timed out".to_owned()));
        let conflict = || Err(CommitError::Conflict("somebody was there".to_owned()));
        let answer = lock(&self.world.scheduler).answer();
        let answered = match answer {
            Answer::Honest => self.swap(base, change).map(|()| self.table()),
            Answer::AppliedUnknown => self.swap(base, change).and_then(|()| unknown()),
            Answer::LostUnknown => unknown(),
            Answer::Unavailable => Err(CatalogError::Unavailable("busy".to_owned()).into()),
            Answer::AppliedConflict => self.swap(base, change).and_then(|()| conflict()),
            Answer::LateConflict => {
                *lock(&self.late) = Some((base.clone(), change));
                conflict()
            }
        };
        self.point("committed").await;
        answered
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogError> {
        Ok(vec!["db".to_owned()])
    }

    async fn tables(&self, _: &str) -> Result<Vec<ListedTable>, CatalogError> {
        Ok(vec![ListedTable {
            table: table_id(),
            metadata_location: None,
        }])
    }
}

impl Supervisor for Process {
    async fn checkpoint(&self) -> Result<(), ActionStop> {
        self.point("checkpoint").await;
        Ok(())
    }

    fn poll(&self) -> Result<(), ActionStop> {
        Ok(())
    }

    fn progress(&self, _: Progress) {}

    fn seconds_left(&self) -> Option<f64> {
        None
    }
}

impl Clock for Process {
    fn now(&self) -> Timestamp {
        let (_, metadata) = self.world.table();
        Timestamp::from_micros((metadata.last_updated_ms() + 1) * 1000)
    }
}
