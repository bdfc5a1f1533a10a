//! Those outside: clients that submit and cancel, an operator with the drain switch, writers of tables.

use std::sync::Arc;

use snowpack_domain::{
    Action, CacheEntry, CancelRefused, Drain, Job, JobId, JobOptions, JobStatus, Preview, TableHealth,
    TableId,
};
use snowpack_service::ports::{
    CatalogUnavailable, HealthUnreadable, JobStore, ListedTable, NoPreview, Tables,
};
use snowpack_service::{CancelRefusal, Failure, SubmitRefusal, SubmitRequest, Submitter, TableCache, cancel};
use tokio::time::sleep;

use crate::config::Fault;
use crate::faulty_store::FaultyStore;
use crate::process::Process;
use crate::queue::FaultyQueue;
use crate::time::{RememberedIds, SharedIds};
use crate::world::World;

/// What clients ask for: one action of each kind that the engine model knows.
const ACTIONS: [Action; 3] = [
    Action::RewriteDataFiles,
    Action::ExpireSnapshots,
    Action::RewriteManifests,
];
/// How often a client repeats a request that got no answer.
const TRIES: u32 = 4;

/// The catalog, as the table cache asks it.
struct Catalog(Arc<Process>);

impl Tables for Catalog {
    async fn find(&self, table: &TableId) -> Result<Option<CacheEntry>, CatalogUnavailable> {
        self.0.point("before the catalog is asked").await;
        if self.0.dice.happens(Fault::Throttled) {
            return Err(CatalogUnavailable("throttled".to_owned()));
        }
        let known = self.0.world.tables().any(|known| known == table);
        Ok(known.then(|| CacheEntry {
            table: table.clone(),
            location: None,
            metadata_location: None,
            format_version: None,
            properties: std::collections::BTreeMap::new(),
            generation: 0,
        }))
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogUnavailable> {
        Ok(Vec::new())
    }

    async fn list(&self, _: &str) -> Result<Vec<ListedTable>, CatalogUnavailable> {
        Ok(Vec::new())
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
        vec![Err(NoPreview::Refused("nobody reads it".to_owned())); actions.len()]
    }
}

/// One client: submits, repeats what got no answer, and cancels now and then.
pub(crate) async fn ask_for_maintenance(world: Arc<World>, number: u32) {
    let dice = world.dice.fork();
    let ids = Arc::new(RememberedIds::of_client(number + 1));
    for asked in 0.. {
        sleep(dice.seconds(5..100)).await;
        if dice.is_calm() {
            return;
        }
        // Each request meets an API process of its own, with a clock of its own.
        let process = Process::start(&world, format!("api-{number}.{asked}"), &dice);
        if dice.happens(Fault::Cancel) {
            cancel_some_job(&process).await;
            continue;
        }
        let tables: Vec<&TableId> = world.tables().collect();
        let mut table = tables[dice.below(tables.len())].clone();
        if dice.chance(0.03) {
            table = TableId::new("db", "unknown").unwrap();
        }
        let mut actions: Vec<Action> = ACTIONS.into_iter().filter(|_| dice.chance(0.7)).collect();
        if actions.is_empty() {
            actions = ACTIONS.to_vec();
        }
        let request = SubmitRequest {
            table,
            actions,
            options: JobOptions::default(),
            dry_run: dice.chance(0.05),
            idempotency_key: dice.chance(0.5).then(|| format!("key-{number}.{asked}")),
        };
        for _ in 0..TRIES {
            let answered = submit(&process, &ids, &request).await;
            // A keyed request may be repeated whatever the answer.
            let repeats = request.idempotency_key.is_some() && dice.chance(0.2);
            if answered && !repeats {
                break;
            }
            sleep(dice.millis(10..5000)).await;
        }
    }
}

/// Submits once; `false` when there was no answer.
async fn submit(process: &Arc<Process>, ids: &Arc<RememberedIds>, request: &SubmitRequest) -> bool {
    let world = &process.world;
    // The gateway's view: a process that ended is replaced by one that works on.
    let process = Process::start(world, process.name.clone(), &process.dice);
    let store = Arc::new(FaultyStore::of(&process));
    let cache = TableCache::new(
        Arc::clone(&store),
        Catalog(Arc::clone(&process)),
        process.clock.clone(),
    );
    let queue = Arc::new(FaultyQueue(Arc::clone(&process)));
    let ids_of_it = SharedIds(Arc::clone(ids));
    let submitter = Submitter::new(store, queue, Arc::new(cache), process.clock.clone(), ids_of_it);
    let answer = process.run(submitter.submit(request.clone()), None).await;
    world.trace.note(named(&answer), || {
        format!("{} asks for {request:?}: {answer:?}", process.name)
    });
    match answer {
        Some(Ok(Ok(job))) => {
            world
                .checks
                .accepted(&world.store.state(), &job, request.idempotency_key.as_ref());
            if process.dice.happens(Fault::Unreadable) {
                world.trace.note("unreadable", || job.id.to_string());
                world.make_unreadable(&job.id);
            }
            true
        }
        Some(Ok(Err(refusal))) => {
            world
                .checks
                .refused(&world.store.state(), &ids.last(), &format!("{refusal:?}"));
            true
        }
        Some(Err(_)) | None => false,
    }
}

fn named(answer: &Option<Result<Result<Job, SubmitRefusal>, Failure>>) -> &'static str {
    match answer {
        Some(Ok(Ok(_))) => "accepted",
        Some(Ok(Err(_))) => "refused",
        Some(Err(_)) => "submit failed",
        None => "submit died",
    }
}

/// `CN-2`: a job is cancelled when the answer says so, and had ended before when the answer says that.
async fn cancel_some_job(process: &Arc<Process>) {
    let world = &process.world;
    let jobs = world.checks.some_accepted();
    if jobs.is_empty() {
        return;
    }
    // Young jobs are the ones that still run.
    let id: &JobId = &jobs[jobs.len() - 1 - process.dice.below(jobs.len().min(4))];
    let store = FaultyStore::of(process);
    let answer = process.run(cancel(&store, &process.clock, id), None).await;
    world.trace.note("cancel", || format!("{id}: {answer:?}"));
    let state = world.store.state();
    let stored = state.job(id).map(|job| job.status);
    let agrees = match answer {
        Some(Ok(Ok(_))) => stored == Some(JobStatus::Cancelled),
        Some(Ok(Err(CancelRefusal::Protocol(CancelRefused::Terminal(status))))) => stored == Some(status),
        Some(Ok(Err(CancelRefusal::UnknownJob))) => false,
        Some(Err(_)) | None => true,
    };
    world.checks.require(agrees, "CN-2", || {
        format!("{id} was to be cancelled and is {stored:?}")
    });
}

/// Switches drain mode on and off again.
pub(crate) async fn switch_drain(world: Arc<World>) {
    let dice = world.dice.fork();
    loop {
        sleep(dice.seconds(60..240)).await;
        if !dice.happens(Fault::Drain) {
            continue;
        }
        for (enabled, time) in [(true, dice.seconds(5..200)), (false, dice.seconds(0..1))] {
            if dice.is_calm() {
                return;
            }
            let process = Process::start(&world, "operator".to_owned(), &dice);
            let drain = Drain {
                enabled,
                reason: None,
            };
            let store = FaultyStore::of(&process);
            let set = process.run(store.set_drain(&drain), None).await;
            world.trace.note("drain", || format!("{enabled}: {set:?}"));
            sleep(time).await;
        }
    }
}

/// Fills a table with small files, and goes on as another writer does.
pub(crate) async fn write_rows(world: Arc<World>, table: TableId) {
    let dice = world.dice.fork();
    for _ in 0..10 + dice.below(30) {
        world.with_table(&table, |table| table.append(1 + dice.below(3)));
    }
    loop {
        sleep(dice.seconds(5..60)).await;
        if dice.is_calm() {
            return;
        }
        if !dice.happens(Fault::ForeignWrite) {
            continue;
        }
        let removes = dice.chance(0.4);
        let checked = world.with_table(&table, |table| {
            let live: Vec<_> = table.live.iter().copied().collect();
            if removes && !live.is_empty() {
                table.remove(live[dice.below(live.len())]);
            } else {
                table.append(1 + dice.below(3));
            }
            table.check()
        });
        world.checks.take(checked);
        world.trace.note("foreign write", || table.to_string());
    }
}
