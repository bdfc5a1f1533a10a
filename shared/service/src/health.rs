//! Health of tables: read now or taken from the store, and judged by the one policy that the API, the sync and the
//! orchestrator share.

use std::sync::Arc;
use std::time::Duration;

use snowpack_domain::{Advice, CacheEntry, Drain, Lock, Policy, Situation, TableHealth, TableId, Timestamp};
use snowpack_telemetry::events::TABLE_HEALTH;

use crate::failure::Failure;
use crate::ports::{CatalogUnavailable, Clock, HealthStore, JobStore, Tables};
use crate::tables::TableCache;

/// How long one table's metadata may take: less than what schedules keep of their time, so that one slow table neither
/// stops a run nor outlasts it.
pub(crate) const LONGEST_READ: Duration = Duration::from_secs(30);

/// What is kept about a table beside its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTable {
    /// Its cache entry.
    pub entry: CacheEntry,
    /// Its lock.
    pub lock: Lock,
    /// The drain switch.
    pub drain: Drain,
}

impl KnownTable {
    /// The same by reference, as a [`Policy`] takes it.
    pub fn situation(&self) -> Situation<'_> {
        Situation {
            entry: &self.entry,
            lock: &self.lock,
            drain: &self.drain,
        }
    }
}

/// Reads, keeps and judges the health of tables.
#[derive(Debug)]
pub struct HealthBook<S, T, C> {
    cache: Arc<TableCache<S, T, C>>,
    policy: Policy,
}

impl<S: JobStore + HealthStore, T: Tables, C: Clock> HealthBook<S, T, C> {
    /// A book over these ports.
    pub fn new(cache: Arc<TableCache<S, T, C>>, policy: Policy) -> Self {
        Self { cache, policy }
    }

    pub(crate) fn store(&self) -> &S {
        self.cache.store()
    }

    pub(crate) fn cache(&self) -> &TableCache<S, T, C> {
        &self.cache
    }

    /// The deployment's policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Reads a table's health from its metadata now and keeps it; `None` when the catalog has no such table.
    ///
    /// # Errors
    /// [`Failure::Unreadable`] when the table's metadata is damaged, others when a port failed.
    pub async fn live(&self, table: &TableId) -> Result<Option<TableHealth>, Failure> {
        let read = tokio::time::timeout(LONGEST_READ, self.cache.tables().health(table)).await;
        let took_too_long = |_| {
            let seconds = LONGEST_READ.as_secs();
            CatalogUnavailable(format!("the metadata of {table} was not read within {seconds} s"))
        };
        let Some(health) = read.map_err(took_too_long)?? else {
            return Ok(None);
        };
        self.cache.store().put_health(&health).await?;
        tracing::debug!(
            event = TABLE_HEALTH.name,
            %table,
            data_files = health.files.data_files,
            small_files = health.files.small_files,
            delete_files = health.files.delete_files(),
            snapshots = health.snapshot_count,
            manifests = health.manifest_count,
            bytes = health.files.total_size_bytes
        );
        Ok(Some(health))
    }

    /// The newest health that was kept of a table.
    ///
    /// # Errors
    /// [`Failure`] when the store failed.
    pub async fn kept(&self, table: &TableId) -> Result<Option<TableHealth>, Failure> {
        let mut kept = self
            .cache
            .store()
            .latest_health(std::slice::from_ref(table))
            .await?;
        Ok(kept.remove(table))
    }

    /// `kept` if it still describes the table, else its health now; `None` when the catalog has no such table.
    ///
    /// # Errors
    /// As [`HealthBook::live`].
    pub async fn fresh(
        &self,
        entry: &CacheEntry,
        kept: Option<TableHealth>,
    ) -> Result<Option<TableHealth>, Failure> {
        match kept.filter(|health| self.is_fresh(entry, health)) {
            Some(health) => Ok(Some(health)),
            None => self.live(&entry.table).await,
        }
    }

    /// Whether kept health still describes the table.
    pub fn is_fresh(&self, entry: &CacheEntry, kept: &TableHealth) -> bool {
        kept.is_fresh(entry.metadata_location.as_deref(), self.cache.clock().now())
    }

    /// What is kept about a table beside its health; `None` when neither cache nor catalog has it.
    ///
    /// # Errors
    /// [`Failure`] when the store or the catalog cannot be asked.
    pub async fn known(&self, table: &TableId) -> Result<Option<KnownTable>, Failure> {
        let Some(entry) = self.cache.find(table).await? else {
            return Ok(None);
        };
        let store = self.cache.store();
        let (lock, drain) = futures::try_join!(store.lock(table), store.drain())?;
        Ok(Some(KnownTable {
            entry,
            lock: lock.value,
            drain: drain.value,
        }))
    }

    /// What is due on a table of this health as of `now`.
    pub fn advise(&self, situation: Situation<'_>, health: &TableHealth, now: Timestamp) -> Advice {
        self.policy.advise(situation, health, now)
    }
}
