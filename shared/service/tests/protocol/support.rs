//! Doubles for the ports whose real adapters need AWS or Iceberg, over the real embedded store.
#![allow(clippy::unwrap_used, reason = "a panic is how a test double reports")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snowpack_domain::{
    Action, ActionResult, CacheEntry, Job, JobId, JobOptions, Metric, Preview, PreviewSource, TableHealth,
    TableId, Timestamp,
};
use snowpack_embedded::SqliteStore;
use snowpack_service::ports::{
    ActionStop, CatalogUnavailable, Clock, DeadLetter, DeadLetters, Engine, HealthUnreadable, JobQueue,
    JobStore, ListedTable, NoPreview, Provenance, QueueDepth, StoreError, Supervisor, Tables,
};
use snowpack_service::{
    Limits, SubmitRefusal, SubmitRequest, Submitter, SweepReport, TableCache, TimeSortedIds, Worker, sweep,
};

/// A clock that moves when told.
#[derive(Clone, Debug)]
pub(crate) struct TestClock(Arc<Mutex<i64>>);

impl TestClock {
    pub(crate) fn advance(&self, seconds: i64) {
        *self.0.lock().unwrap() += seconds * 1_000_000;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(*self.0.lock().unwrap())
    }
}

/// Remembers what was sent; fails when told.
#[derive(Debug, Default)]
pub(crate) struct TestQueue {
    pub(crate) sent: Mutex<Vec<(JobId, u32)>>,
    pub(crate) broken: AtomicBool,
}

impl JobQueue for TestQueue {
    async fn send(&self, job: &JobId, delay_seconds: u32) -> Result<(), StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the test broke the queue".into()));
        }
        self.sent.lock().unwrap().push((job.clone(), delay_seconds));
        Ok(())
    }

    async fn depth(&self) -> Result<QueueDepth, StoreError> {
        let waiting = self.sent.lock().unwrap().len() as u64;
        Ok(QueueDepth {
            waiting,
            in_flight: 0,
        })
    }
}

/// Dead letters put there by a test.
#[derive(Debug, Default)]
pub(crate) struct TestDeadLetters(pub(crate) Mutex<Vec<DeadLetter>>, Mutex<usize>);

impl DeadLetters for TestDeadLetters {
    /// Each letter once, until `show_again`.
    async fn receive(&self, _: u32) -> Result<Vec<DeadLetter>, StoreError> {
        let letters = self.0.lock().unwrap().clone();
        let mut shown = self.1.lock().unwrap();
        let new = letters[(*shown).min(letters.len())..].to_vec();
        *shown = letters.len();
        Ok(new)
    }

    async fn remove(&self, receipt: &str) -> Result<(), StoreError> {
        self.0.lock().unwrap().retain(|letter| letter.receipt != receipt);
        Ok(())
    }
}

impl TestDeadLetters {
    pub(crate) fn put(&self, job: Option<JobId>) {
        let receipt = format!("{job:?}");
        self.0.lock().unwrap().push(DeadLetter { job, receipt });
        self.show_again();
    }

    pub(crate) fn show_again(&self) {
        *self.1.lock().unwrap() = 0;
    }
}

/// A catalog of names; counts how often it is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestTables {
    pub(crate) names: Arc<Mutex<BTreeSet<String>>>,
    pub(crate) asked: Arc<AtomicU32>,
    pub(crate) broken: Arc<AtomicBool>,
}

impl Tables for TestTables {
    async fn find(&self, table: &TableId) -> Result<Option<CacheEntry>, CatalogUnavailable> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let known = self.names.lock().unwrap().contains(&table.to_string());
        Ok(known.then(|| CacheEntry {
            table: table.clone(),
            location: Some(format!("file:///w/{table}")),
            metadata_location: None,
            format_version: Some(2),
            properties: BTreeMap::new(),
            generation: 0,
        }))
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogUnavailable> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(CatalogUnavailable("the test broke the catalog".into()));
        }
        Ok(vec!["db".into()])
    }

    async fn list(&self, _: &str) -> Result<Vec<ListedTable>, CatalogUnavailable> {
        let names = self.names.lock().unwrap();
        let listed = names.iter().map(|name| ListedTable {
            table: TableId::parse(name).unwrap(),
            metadata_location: None,
        });
        Ok(listed.collect())
    }

    async fn health(&self, _: &TableId) -> Result<Option<TableHealth>, HealthUnreadable> {
        Ok(None)
    }

    async fn preview(
        &self,
        _: &TableId,
        actions: &[Action],
        _: &JobOptions,
    ) -> Vec<Result<Preview, NoPreview>> {
        let preview = Preview {
            source: PreviewSource::Live,
            numbers: BTreeMap::new(),
            note: None,
        };
        vec![Ok(preview); actions.len()]
    }
}

/// How an action of the test engine behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    Succeed,
    /// Succeeds, and has these numbers to tell.
    Measure(&'static [(&'static str, u64)]),
    Fail {
        retry: bool,
    },
    RunOutOfTime,
    RunUntilStopped,
}

/// Plays a script, one behaviour for each run; succeeds when the script is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestEngine {
    pub(crate) script: Arc<Mutex<Vec<Behaviour>>>,
    pub(crate) ran: Arc<Mutex<Vec<Action>>>,
    /// What each run found noted.
    pub(crate) noted: Arc<Mutex<Vec<Option<String>>>>,
    pub(crate) refuse: Arc<AtomicBool>,
}

impl Engine for TestEngine {
    async fn preflight(&self, _: &TableId, actions: &[Action], _: &JobOptions) -> Result<(), ActionStop> {
        if self.refuse.load(Ordering::SeqCst) && actions.contains(&Action::RewriteManifests) {
            return Err(ActionStop::Failed {
                cause: "rewrite_manifests is refused".into(),
                retry: false,
            });
        }
        Ok(())
    }

    async fn run<S: Supervisor>(
        &self,
        _: &TableId,
        action: Action,
        _: &JobOptions,
        _: &Provenance,
        supervisor: Arc<S>,
    ) -> Result<ActionResult, ActionStop> {
        self.ran.lock().unwrap().push(action);
        let run = {
            let mut noted = self.noted.lock().unwrap();
            noted.push(supervisor.noted(action));
            noted.len()
        };
        supervisor.note(action, format!("run {run}"));
        let behaviour = {
            let mut script = self.script.lock().unwrap();
            if script.is_empty() {
                Behaviour::Succeed
            } else {
                script.remove(0)
            }
        };
        match behaviour {
            Behaviour::Succeed => supervisor.checkpoint().await?,
            Behaviour::Measure(numbers) => {
                let numbers = numbers
                    .iter()
                    .map(|(name, count)| ((*name).to_owned(), Metric::Count(*count)));
                return Ok(ActionResult {
                    metrics: numbers.collect(),
                    ..snowpack_domain::dry_run_result(action, None)
                });
            }
            Behaviour::Fail { retry } => {
                return Err(ActionStop::Failed {
                    cause: "disk on fire".into(),
                    retry,
                });
            }
            Behaviour::RunOutOfTime => return Err(ActionStop::OutOfTime),
            Behaviour::RunUntilStopped => loop {
                supervisor.poll()?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            },
        }
        Ok(snowpack_domain::dry_run_result(action, None))
    }
}

/// Everything wired together.
pub(crate) struct World {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) queue: Arc<TestQueue>,
    pub(crate) dead_letters: TestDeadLetters,
    pub(crate) tables: TestTables,
    pub(crate) engine: TestEngine,
    pub(crate) clock: TestClock,
    pub(crate) submitter: Submitter<SqliteStore, TestQueue, TestTables, TestClock, TimeSortedIds>,
    pub(crate) worker: Worker<SqliteStore, TestQueue, TestEngine, TestClock>,
    _folder: tempfile::TempDir,
}

pub(crate) fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("state.db")).unwrap());
    let queue = Arc::new(TestQueue::default());
    let tables = TestTables::default();
    tables.names.lock().unwrap().insert("db.t".into());
    let clock = TestClock(Arc::new(Mutex::new(1_750_000_000_000_000)));
    let cache = Arc::new(TableCache::new(Arc::clone(&store), tables.clone(), clock.clone()));
    let submitter = Submitter::new(
        Arc::clone(&store),
        Arc::clone(&queue),
        cache,
        clock.clone(),
        TimeSortedIds::default(),
    );
    let engine = TestEngine::default();
    let limits = Limits {
        heartbeat: Duration::from_millis(20),
        reserve: Duration::ZERO,
    };
    let worker = Worker::new(
        Arc::clone(&store),
        Arc::clone(&queue),
        engine.clone(),
        clock.clone(),
        "w1".into(),
        limits,
    );
    World {
        store,
        queue,
        dead_letters: TestDeadLetters::default(),
        tables,
        engine,
        clock,
        submitter,
        worker,
        _folder: folder,
    }
}

pub(crate) fn request(actions: &[Action]) -> SubmitRequest {
    SubmitRequest {
        table: TableId::new("db", "t").unwrap(),
        actions: actions.to_vec(),
        options: JobOptions::default(),
        dry_run: false,
        idempotency_key: None,
    }
}

impl World {
    pub(crate) async fn submit(&self, actions: &[Action]) -> Result<Job, SubmitRefusal> {
        self.submitter.submit(request(actions)).await.unwrap()
    }

    pub(crate) async fn sweep(&self) -> SweepReport {
        sweep(&*self.store, &*self.queue, &self.dead_letters, &self.clock)
            .await
            .unwrap()
    }

    pub(crate) async fn job(&self, id: &JobId) -> Job {
        self.store.job(id).await.unwrap().unwrap().value
    }
}
