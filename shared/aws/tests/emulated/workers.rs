//! The use cases over DynamoDB and SQS: eight workers on one queue, every message repeated, requests that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use snowpack_aws::{DynamoStore, SqsDeadLetters, SqsQueue, table_definition};
use snowpack_domain::{
    Action, ActionResult, CacheEntry, JobOptions, JobStatus, LEASE_SECONDS, Preview, TableHealth, TableId,
    Timestamp, dry_run_result,
};
use snowpack_service::ports::{
    ActionStop, CatalogUnavailable, Clock, Engine, HealthUnreadable, JobQueue, JobStore, ListedTable,
    NoPreview, Provenance, Supervisor, Tables,
};
use snowpack_service::{
    Limits, SubmitRequest, Submitter, SystemClock, TableCache, TimeSortedIds, Worker, sweep,
};
use snowpack_testkit::{Receiver as _, table};
use tokio_util::sync::CancellationToken;

use crate::faulty_http::FaultyHttp;
use crate::sqs::{SqsReceiver, made_queue};

const WORKERS: usize = 8;
const JOBS: usize = 24;
/// Times each job's message is sent.
const COPIES: usize = 3;
/// Longer than a message takes to be handled here.
const VISIBILITY_SECONDS: u32 = 20;
const ACTIONS: [Action; 2] = [Action::RewriteDataFiles, Action::ExpireSnapshots];

/// The wall clock, moved on by the test so that leases of failed workers end at once.
#[derive(Clone, Debug, Default)]
struct MovedClock(Arc<AtomicI64>);

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + snowpack_domain::Duration::from_seconds(self.0.load(Ordering::SeqCst))
    }
}

/// A catalog that is never asked: the tables are in the cache.
#[derive(Clone, Debug)]
struct NoCatalog;

impl Tables for NoCatalog {
    async fn find(&self, _: &TableId) -> Result<Option<CacheEntry>, CatalogUnavailable> {
        Ok(None)
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

    async fn preview(&self, _: &TableId, _: &[Action], _: &JobOptions) -> Vec<Result<Preview, NoPreview>> {
        Vec::new()
    }
}

/// Sees to it that nobody else works on the table meanwhile, and counts what was carried through.
#[derive(Clone, Debug, Default)]
struct CountingEngine {
    busy: Arc<Mutex<BTreeSet<TableId>>>,
    done: Arc<Mutex<BTreeMap<(TableId, Action), u32>>>,
}

impl Engine for CountingEngine {
    async fn preflight(&self, _: &TableId, _: &[Action], _: &JobOptions) -> Result<(), ActionStop> {
        Ok(())
    }

    async fn run<S: Supervisor>(
        &self,
        table: &TableId,
        action: Action,
        _: &JobOptions,
        _: &Provenance,
        supervisor: Arc<S>,
    ) -> Result<ActionResult, ActionStop> {
        assert!(
            self.busy.lock().unwrap().insert(table.clone()),
            "two workers on {table}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
        let held = supervisor.checkpoint().await;
        self.busy.lock().unwrap().remove(table);
        held?;
        *self
            .done
            .lock()
            .unwrap()
            .entry((table.clone(), action))
            .or_default() += 1;
        Ok(dry_run_result(action, None))
    }
}

async fn faulty(config: &SdkConfig, seed: u64) -> SdkConfig {
    let inner = config.http_client().expect("the emulator's client");
    let faults = FaultyHttp::new(inner, seed);
    config.clone().into_builder().http_client(faults).build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_workers_run_every_job_once_among_duplicates_and_faults() {
    let config = crate::emulator().await;
    let sound = aws_sdk_sqs::Client::new(&config);
    let name = crate::unique("state");
    let tables = aws_sdk_dynamodb::Client::new(&config);
    table_definition(&name).send_with(&tables).await.unwrap();
    let queue_url = made_queue(&sound, None).await;
    let letters_url = made_queue(&sound, None).await;
    let broken = faulty(&config, 7).await;
    let clock = MovedClock::default();
    let store = Arc::new(DynamoStore::new(
        aws_sdk_dynamodb::Client::new(&broken),
        name.clone(),
    ));
    let queue = Arc::new(SqsQueue::new(
        aws_sdk_sqs::Client::new(&broken),
        queue_url.clone(),
    ));
    let checked = DynamoStore::new(tables, name);

    let cache = Arc::new(TableCache::new(Arc::clone(&store), NoCatalog, clock.clone()));
    let submitter = Submitter::new(
        Arc::clone(&store),
        Arc::clone(&queue),
        cache,
        clock.clone(),
        TimeSortedIds::default(),
    );
    let mut accepted = Vec::new();
    for number in 0..JOBS {
        let table = table(&format!("db.t{number}"));
        let entry = CacheEntry {
            table: table.clone(),
            location: None,
            metadata_location: None,
            format_version: None,
            properties: BTreeMap::new(),
            generation: 1,
        };
        checked.put_cache_entries(&[entry]).await.unwrap();
        let request = SubmitRequest {
            table,
            actions: ACTIONS.to_vec(),
            options: JobOptions::default(),
            dry_run: false,
            idempotency_key: Some(format!("key-{number}")),
        };
        let job = loop {
            // A caller that gets an error sends the request again, under the same key.
            if let Ok(answer) = submitter.submit(request.clone()).await {
                break answer.expect("nothing stands against the job");
            }
        };
        for _ in 1..COPIES {
            while queue.send(&job.id, 0).await.is_err() {}
        }
        accepted.push(job);
    }

    let engine = CountingEngine::default();
    let stop = CancellationToken::new();
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let worker = Worker::new(
            Arc::clone(&store),
            Arc::clone(&queue),
            engine.clone(),
            clock.clone(),
            format!("w{number}"),
            Limits::default(),
        );
        let receiver = SqsReceiver {
            client: sound.clone(),
            queue_url: queue_url.clone(),
        };
        let stop = stop.clone();
        workers.spawn(async move {
            while !stop.is_cancelled() {
                match receiver.receive(VISIBILITY_SECONDS).await {
                    None => tokio::time::sleep(Duration::from_millis(50)).await,
                    Some(delivery) => {
                        let handled = worker.handle(&delivery.job, None, CancellationToken::new()).await;
                        if handled.is_ok() {
                            receiver.ack(delivery.receipt).await;
                        }
                    }
                }
            }
        });
    }

    let letters = SqsDeadLetters::new(sound.clone(), letters_url);
    for round in 0.. {
        assert!(round < 600, "jobs that do not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut active = 0;
        for job in &accepted {
            active += usize::from(!checked.job(&job.id).await.unwrap().unwrap().value.is_terminal());
        }
        if active == 0 {
            break;
        }
        // Whoever lost contact for good left a lease behind; a live worker renews its own within seconds.
        if round % 25 == 24 && active < WORKERS {
            clock.0.fetch_add(LEASE_SECONDS + 1, Ordering::SeqCst);
            sweep(&checked, &*queue, &letters, &clock).await.ok();
        }
    }
    stop.cancel();
    while let Some(ended) = workers.join_next().await {
        ended.expect("no worker panicked");
    }

    for job in accepted {
        let ended = checked.job(&job.id).await.unwrap().unwrap().value;
        assert_eq!(ended.status, JobStatus::Completed, "{:?}", ended.error);
        let actions: Vec<_> = ended.results.iter().map(|result| result.action).collect();
        assert_eq!(actions, ACTIONS, "each finished action once");
        assert_eq!(checked.lock(&job.table).await.unwrap().value.holder, None);
        for action in ACTIONS {
            let runs = engine.done.lock().unwrap()[&(job.table.clone(), action)];
            assert!(
                runs <= ended.attempt,
                "{action} ran {runs} times in {} attempts",
                ended.attempt
            );
        }
    }
}
