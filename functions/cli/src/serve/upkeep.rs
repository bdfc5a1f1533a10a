//! What the schedules do on AWS: sync of tables and health, sweeps, and runs of the orchestrator if asked for.

use std::sync::Arc;
use std::time::Duration;

use snowpack_catalog::AnyCatalog;
use snowpack_domain::{Policy, RunLimits};
use snowpack_embedded::{EmbeddedQueue, SqliteStore};
use snowpack_plan::CatalogTables;
use snowpack_service::{
    HealthBook, Orchestrator, RunPorts, RunRequest, SystemClock, TableCache, TimeLimit, TimeSortedIds, sweep,
    sync_health, sync_tables,
};
use tokio_util::sync::CancellationToken;

/// Time between syncs of the table cache, as on AWS (operations.md, Functions).
const SYNC_EVERY: Duration = Duration::from_secs(300);
/// Time between sweeps. On AWS a minute; here a look costs nothing.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

type Queue = EmbeddedQueue<SystemClock>;
type Tables = CatalogTables<AnyCatalog>;

/// What the loops work on.
#[derive(Clone)]
pub(super) struct Upkeep {
    pub(super) store: Arc<SqliteStore>,
    pub(super) queue: Arc<Queue>,
    pub(super) tables: Tables,
    pub(super) policy: Policy,
    pub(super) stop: CancellationToken,
}

impl Upkeep {
    fn book(&self) -> HealthBook<SqliteStore, Tables, SystemClock> {
        let cache = TableCache::new(Arc::clone(&self.store), self.tables.clone(), SystemClock);
        HealthBook::new(Arc::new(cache), self.policy.clone())
    }

    /// Keeps the table cache and the health of tables up to date.
    pub(super) async fn keep_synced(self) -> anyhow::Result<()> {
        let book = self.book();
        loop {
            let synced = sync_tables(&*self.store, &self.tables, &SystemClock, TimeLimit::none()).await;
            if let Err(error) = synced {
                tracing::warn!(%error, "the table cache could not be synced");
            } else if let Err(error) = sync_health(&book, TimeLimit::after(SYNC_EVERY)).await {
                tracing::warn!(%error, "the health of tables could not be synced");
            }
            if self.is_stopped_within(SYNC_EVERY).await {
                return Ok(());
            }
        }
    }

    /// Wakes jobs and frees tables that dead workers left.
    pub(super) async fn keep_swept(self) -> anyhow::Result<()> {
        while !self.is_stopped_within(SWEEP_EVERY).await {
            if let Err(error) = sweep(&*self.store, &*self.queue, &*self.queue, &SystemClock).await {
                tracing::warn!(%error, "the sweep could not be finished");
            }
        }
        Ok(())
    }

    /// Submits what is due, again and again.
    pub(super) async fn orchestrate(self, every: Duration, limits: RunLimits) -> anyhow::Result<()> {
        let ports = RunPorts {
            store: Arc::clone(&self.store),
            queue: Arc::clone(&self.queue),
            tables: self.tables.clone(),
            clock: SystemClock,
            ids: Arc::new(TimeSortedIds::default()),
        };
        let orchestrator = Orchestrator::new(ports, self.policy.clone(), limits);
        while !self.is_stopped_within(every).await {
            let run = orchestrator.run(&RunRequest::default(), TimeLimit::none()).await;
            if let Err(error) = run {
                tracing::warn!(%error, "the run of the orchestrator could not be recorded");
            }
        }
        Ok(())
    }

    async fn is_stopped_within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.stop.cancelled()).await.is_ok()
    }
}
