//! `snowpack serve`: the whole system in one process on an embedded store.

mod state;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use snowpack_catalog::AnyCatalog;
use snowpack_domain::Policy;
use snowpack_embedded::{EmbeddedQueue, SqliteStore};
use snowpack_plan::CatalogTables;
use snowpack_service::ports::Clock as _;
use snowpack_service::{CrashPoint, Limits, SystemClock, TimeSortedIds, Worker, abandon_leases, sweep};
use snowpack_settings::{Environment, ServerSettings};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::ServeArgs;
use crate::catalog::open;
use crate::engine::{LocalEngine, engine_of, without_spark};
use crate::output::{Exit, note};
use crate::run::stop_on_ctrl_c;
pub(crate) use state::State;
use upkeep::Upkeep;

/// How long an idle worker sleeps before it looks for delayed messages.
const IDLE: Duration = Duration::from_secs(1);
/// How long a message stays hidden while it is worked on; a sweep covers jobs that take longer.
const VISIBILITY_SECONDS: u32 = 900;

type LocalWorker = Worker<SqliteStore, EmbeddedQueue<SystemClock>, LocalEngine, SystemClock>;

/// `snowpack serve`.
pub(crate) async fn serve(args: ServeArgs) -> anyhow::Result<Exit> {
    let settings = read_settings()?;
    let catalog = Arc::new(open(&args.catalog).await?);
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let stop = stop_on_ctrl_c();
    let server = Server::start(
        settings,
        catalog,
        State::open(&args.state)?,
        listener,
        Workforce {
            workers: usize::from(args.workers),
            orchestrate_every: args.orchestrate_every.map(Duration::from_secs),
        },
        stop,
    )
    .await?;
    note(&format!("listening on http://{}", server.address));
    server.join().await?;
    Ok(Exit::Done)
}

/// What the environment says a local server is to do.
///
/// # Errors
/// When a variable is bad; all that are bad are named.
pub(crate) fn read_settings() -> anyhow::Result<ServerSettings> {
    Ok(ServerSettings::read(&Environment::new(std::env::vars_os()))?)
}

/// Who works in a local server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workforce {
    /// Jobs that run at the same time.
    pub(crate) workers: usize,
    /// Time between runs of the orchestrator; absent: none.
    pub(crate) orchestrate_every: Option<Duration>,
}

/// A running local server.
pub(crate) struct Server {
    pub(crate) address: std::net::SocketAddr,
    tasks: JoinSet<anyhow::Result<()>>,
    // Held, and with it the state folder, for as long as the server runs.
    _state: State,
}

impl Server {
    /// Starts everything; it runs until `stop`.
    pub(crate) async fn start(
        settings: ServerSettings,
        catalog: Arc<AnyCatalog>,
        state: State,
        listener: TcpListener,
        workforce: Workforce,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let ServerSettings {
            scope,
            policy,
            limits,
            crash_at,
        } = settings;
        let clock = SystemClock;
        let store = Arc::new(state.store.clone());
        let queue = Arc::new(state.store.queue(clock));
        let deployment = without_spark(policy.deployment.clone());
        let tables = CatalogTables::new(Arc::clone(&catalog), deployment).within(scope);
        // This process holds the state folder alone, so whoever held a lease or a message in it is dead.
        abandon_leases(&*store, &clock).await?;
        queue.return_deliveries().await?;
        sweep(&*store, &*queue, &*queue, &clock).await?;
        let crash = crash_at.map(CrashPoint::new);
        let mut tasks = JoinSet::new();
        for number in 0..workforce.workers {
            let engine = engine_of(&catalog, policy.deployment.clone());
            let name = format!("local-{}-{number}", std::process::id());
            let worker = Worker::new(
                Arc::clone(&store),
                Arc::clone(&queue),
                engine,
                clock,
                name,
                Limits::default(),
            );
            let worker = worker.crashing_at(crash.clone());
            tasks.spawn(work(worker, Arc::clone(&queue), stop.clone()));
        }
        let upkeep = Upkeep {
            store: Arc::clone(&store),
            queue: Arc::clone(&queue),
            tables: tables.clone(),
            policy: policy.clone(),
            stop: stop.clone(),
        };
        tasks.spawn(upkeep.clone().keep_synced());
        tasks.spawn(upkeep.clone().keep_swept());
        if let Some(every) = workforce.orchestrate_every {
            tasks.spawn(upkeep.orchestrate(every, limits));
        }
        let address = listener.local_addr()?;
        let router = router(&store, &queue, tables, policy);
        tasks.spawn(async move {
            let served =
                axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
            served.await.context("the HTTP server failed")
        });
        Ok(Self {
            address,
            tasks,
            _state: state,
        })
    }

    /// Waits until everything has stopped.
    ///
    /// # Errors
    /// When a part failed instead of stopping.
    pub(crate) async fn join(mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// The router that Lambda serves too.
fn router(
    store: &Arc<SqliteStore>,
    queue: &Arc<EmbeddedQueue<SystemClock>>,
    tables: CatalogTables<AnyCatalog>,
    policy: Policy,
) -> axum::Router {
    let ports = snowpack_api::Ports {
        store: Arc::clone(store),
        queue: Arc::clone(queue),
        tables,
        clock: SystemClock,
        ids: TimeSortedIds::default(),
    };
    snowpack_api::router(snowpack_api::Api::new(ports, policy))
}

/// Takes messages until told to stop. A message whose handling failed stays in the queue.
async fn work(
    worker: LocalWorker,
    queue: Arc<EmbeddedQueue<SystemClock>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    while !stop.is_cancelled() {
        match queue.receive(SystemClock.now(), VISIBILITY_SECONDS).await {
            Ok(Some((job, receipt))) => match worker.handle(&job, None, stop.clone()).await {
                Ok(_) => queue.ack(&receipt).await?,
                Err(error) => tracing::error!(job_id = %job, %error, "the message will be delivered again"),
            },
            Ok(None) => {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = queue.notified() => {}
                    () = tokio::time::sleep(IDLE) => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "the queue cannot be read");
                tokio::time::sleep(IDLE).await;
            }
        }
    }
    Ok(())
}
