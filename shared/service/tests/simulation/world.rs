//! Everything of one run, and its course: faults, then quiet, then everything has to come to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snowpack_domain::{Drain, Job, JobId, TableId, Violation, run_left_behind};
use snowpack_service::ports::{Write, Written};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::checks::{Before, Checks};
use crate::config::{Config, Fault, Sabotage};
use crate::dice::Dice;
use crate::memory_store::{MemoryStore, State};
use crate::queue::Queue;
use crate::remote::Remote;
use crate::table::{Change, Table};
use crate::trace::Trace;
use crate::{people, sweeper, worker};

/// Every job ends within this time once nothing goes wrong any more: a lost message is sent again after
/// 15 minutes, and a dead worker's lease and the sweep's period come on top.
const RECOVERY: Duration = Duration::from_secs(40 * 60);
/// How often the run is looked at.
const LOOK: Duration = Duration::from_secs(5);

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) start: Instant,
    pub(crate) store: MemoryStore,
    pub(crate) queue: Queue,
    pub(crate) remote: Remote,
    pub(crate) checks: Checks,
    pub(crate) trace: Trace,
    pub(crate) dice: Dice,
    tables: BTreeMap<TableId, Mutex<Table>>,
    snapshots: Mutex<u64>,
    outage_until: Mutex<Option<Instant>>,
    unreadable: Mutex<BTreeSet<JobId>>,
}

/// What a run ended with.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    pub(crate) trace: Vec<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

/// Runs a world to its end, in virtual time.
pub(crate) fn run(config: &Config, keep_trace: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::new(config, keep_trace);
        let panicked = world.run().await;
        let violation = world.checks.violation().or(panicked);
        Outcome {
            violation,
            trace: world.trace.lines(),
            counts: world.trace.counts(),
        }
    })
}

impl World {
    fn new(config: &Config, keep_trace: bool) -> Arc<Self> {
        let start = Instant::now();
        let store = MemoryStore::default();
        store.state().sabotage = config.sabotage;
        let names = (0..config.tables).map(|number| TableId::new("db", &format!("t{number}")).unwrap());
        Arc::new(Self {
            config: config.clone(),
            start,
            store,
            queue: Queue::default(),
            remote: Remote::default(),
            checks: Checks::default(),
            trace: Trace::new(start, keep_trace),
            dice: Dice::new(config),
            tables: names.map(|name| (name, Mutex::default())).collect(),
            snapshots: Mutex::default(),
            outage_until: Mutex::default(),
            unreadable: Mutex::default(),
        })
    }

    async fn run(self: &Arc<Self>) -> Option<Violation> {
        let mut actors = JoinSet::new();
        for number in 0..self.config.workers {
            actors.spawn(worker::work(Arc::clone(self), number));
        }
        let asleep = self.sabotaged(Sabotage::SweeperNeverRuns);
        for number in (0..self.config.sweepers).filter(|_| !asleep) {
            actors.spawn(sweeper::sweep_often(Arc::clone(self), number));
        }
        for number in 0..self.config.clients {
            actors.spawn(people::ask_for_maintenance(Arc::clone(self), number));
        }
        for table in self.tables() {
            actors.spawn(people::write_rows(Arc::clone(self), table.clone()));
        }
        actors.spawn(people::switch_drain(Arc::clone(self)));
        actors.spawn(outages(Arc::clone(self)));
        let trouble = Duration::from_secs(self.config.minutes * 60);
        while self.start.elapsed() < trouble && self.checks.violation().is_none() {
            sleep(LOOK).await;
        }
        self.dice.calm_down();
        self.trace.note("quiet", String::new);
        self.settle().await;
        while let Some(ended) = actors.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                return Some(Violation {
                    invariant: "PANIC",
                    seen: error.to_string(),
                });
            }
        }
        None
    }

    /// `PR-1`: with no more faults every job ends, every lock is freed and the queue is empty, in time. `RN-2`: and no
    /// ended job has a run elsewhere that was not told to stop. Then the checks of all answers and of all tables.
    async fn settle(&self) {
        let quiet = Instant::now();
        while self.checks.violation().is_none() {
            // An operator who stood still may have switched it on only now.
            if self.store.state().drain().value.enabled {
                self.store.state().set_drain(&Drain::default());
            }
            sleep(LOOK).await;
            let Some((invariant, open)) = self.open_matter() else {
                self.checks.at_the_end(&self.store.state());
                for table in self.tables() {
                    self.checks.take(self.with_table(table, |table| table.check()));
                }
                self.trace
                    .note("settled", || format!("after {:?}", quiet.elapsed()));
                return;
            };
            self.checks
                .require(quiet.elapsed() < RECOVERY, invariant, || open);
        }
    }

    /// What nobody can read keeps its lock and its messages, and must not keep anything else.
    fn open_matter(&self) -> Option<(&'static str, String)> {
        let state = self.store.state();
        let mut readable = state
            .jobs
            .values()
            .map(|job| &job.value)
            .filter(|job| !self.is_unreadable(&job.id));
        let left = readable.find(|job| run_left_behind(job).is_some());
        let left = left.map(|job| ("RN-2", format!("not stopped: {job:?}")));
        left.or_else(|| self.open_job_or_message(&state).map(|open| ("PR-1", open)))
    }

    fn open_job_or_message(&self, state: &State) -> Option<String> {
        let is_open = |job: &&Job| !job.is_terminal() && !self.is_unreadable(&job.id);
        if let Some(job) = state.jobs.values().map(|job| &job.value).find(is_open) {
            return Some(format!("not ended: {job:?}"));
        }
        let mut held = state.locks.values().filter_map(|lock| lock.value.holder.as_ref());
        if let Some(holder) = held.find(|holder| !self.is_unreadable(holder)) {
            return Some(format!("{holder} still holds its lock"));
        }
        let mut left = self.queue.jobs().into_iter();
        let left = left.find(|job| !self.is_unreadable(job))?;
        Some(format!("a message of {left} is left in the queue"))
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &TableId> {
        self.tables.keys()
    }

    pub(crate) fn sabotaged(&self, sabotage: Sabotage) -> bool {
        self.config.sabotage == Some(sabotage)
    }

    /// Applies a write in one instant and checks what it did.
    pub(crate) fn apply(&self, writer: &str, write: &Write) -> Written {
        let mut state = self.store.state();
        let before = Before::of(&state, write);
        let written = state.apply(write);
        if written == Written::Applied {
            self.checks.applied(&before, &state, write, writer);
        }
        self.trace.detail(|| {
            let job = write.job.as_ref().map(|job| brief(&job.value, job.version));
            let lock = write.lock.as_ref().map(|(table, lock)| {
                let holder = lock.value.holder.as_ref().map(ToString::to_string);
                format!(
                    "lock of {table}: {holder:?} under {} over {}",
                    lock.value.fence, lock.version
                )
            });
            let [job, lock] = [job, lock].map(Option::unwrap_or_default);
            format!("{writer} writes {job} {lock}: {written:?}")
        });
        written
    }

    pub(crate) fn with_table<T>(&self, table: &TableId, act: impl FnOnce(&mut Table) -> T) -> T {
        act(&mut self.tables[table].lock().unwrap())
    }

    /// From now on nobody can read the job.
    pub(crate) fn make_unreadable(&self, id: &JobId) {
        self.unreadable.lock().unwrap().insert(id.clone());
    }

    pub(crate) fn is_unreadable(&self, id: &JobId) -> bool {
        self.unreadable.lock().unwrap().contains(id)
    }

    pub(crate) fn is_store_out(&self) -> bool {
        let until = *self.outage_until.lock().unwrap();
        until.is_some_and(|until| until > Instant::now())
    }

    pub(crate) fn next_snapshot(&self) -> u64 {
        let mut last = self.snapshots.lock().unwrap();
        *last += 1;
        *last
    }

    /// Commits in one instant and checks the table; `false` when another commit was first.
    pub(crate) fn commit(&self, table: &TableId, base: u64, change: &Change) -> bool {
        let (committed, checked) = self.with_table(table, |table| {
            let committed = if self.sabotaged(Sabotage::EngineSkipsValidation) {
                table.apply(change);
                true
            } else {
                table.commit(base, change)
            };
            (committed, table.check())
        });
        self.checks.take(checked);
        self.trace
            .detail(|| format!("commit on {table} over {base}: {change:?} {committed}"));
        committed
    }
}

/// Takes the store away from everyone now and then.
async fn outages(world: Arc<World>) {
    let dice = world.dice.fork();
    while !dice.is_calm() {
        sleep(dice.seconds(30..180)).await;
        if dice.happens(Fault::Outage) {
            let time = dice.seconds(2..300);
            world.trace.note("outage", || format!("{time:?}"));
            *world.outage_until.lock().unwrap() = Some(Instant::now() + time);
        }
    }
}

/// What tells one write of a job from another.
fn brief(job: &Job, version: u64) -> String {
    let lease = job
        .lease
        .as_ref()
        .map(|lease| (lease.worker.as_str(), lease.expires_at.as_micros()));
    format!(
        "job {} over {version}: {:?} attempt {} slice {} fence {} lease {lease:?} results {} enqueued {}",
        job.id,
        job.status,
        job.attempt,
        job.slice,
        job.fence,
        job.results.len(),
        job.enqueued_at.is_some()
    )
}
