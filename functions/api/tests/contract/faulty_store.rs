//! A store that works until told to fail.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use snowpack_domain::{
    CacheEntry, CacheState, Drain, Job, JobId, JobStatus, Lock, Run, RunId, TableHealth, TableId, Timestamp,
};
use snowpack_embedded::SqliteStore;
use snowpack_service::TimeLimit;
use snowpack_service::ports::{
    HealthStore, JobFilter, JobStore, ListError, Page, PageRequest, RunStore, StoreError, SubmitContext,
    Versioned, Write, Written,
};

/// How every call fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Unavailable,
    Refused,
    Panic,
}

/// What the faults say, which no caller may read.
pub(crate) const SECRET: &str = "arn:aws:dynamodb:eu-west-1:1:table/secret";

pub(crate) struct FaultyStore {
    inner: SqliteStore,
    fault: Mutex<Option<Fault>>,
}

impl FaultyStore {
    pub(crate) fn new(inner: SqliteStore) -> Self {
        Self {
            inner,
            fault: Mutex::new(None),
        }
    }

    pub(crate) fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    fn check(&self) -> Result<(), StoreError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            None => Ok(()),
            Some(Fault::Unavailable) => Err(StoreError::Unavailable(SECRET.into())),
            Some(Fault::Refused) => Err(StoreError::Refused(SECRET.into())),
            Some(Fault::Panic) => panic!("{SECRET}"),
        }
    }
}

impl JobStore for FaultyStore {
    async fn submit_context(
        &self,
        table: &TableId,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<SubmitContext, StoreError> {
        self.check()?;
        self.inner.submit_context(table, key, now).await
    }
    async fn job(&self, id: &JobId) -> Result<Option<Versioned<Job>>, StoreError> {
        self.check()?;
        self.inner.job(id).await
    }
    async fn lock(&self, table: &TableId) -> Result<Versioned<Lock>, StoreError> {
        self.check()?;
        self.inner.lock(table).await
    }
    async fn locks(&self, tables: &[TableId]) -> Result<HashMap<TableId, Lock>, StoreError> {
        self.check()?;
        self.inner.locks(tables).await
    }
    async fn drain(&self) -> Result<Versioned<Drain>, StoreError> {
        self.check()?;
        self.inner.drain().await
    }
    async fn set_drain(&self, drain: &Drain) -> Result<(), StoreError> {
        self.check()?;
        self.inner.set_drain(drain).await
    }
    async fn write(&self, write: &Write) -> Result<Written, StoreError> {
        self.check()?;
        self.inner.write(write).await
    }
    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, ListError> {
        self.check()?;
        self.inner.jobs(filter, page).await
    }
    async fn jobs_needing_message(&self, now: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        self.check()?;
        self.inner.jobs_needing_message(now, limit).await
    }
    async fn job_counts(&self, since: Timestamp) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        self.check()?;
        self.inner.job_counts(since).await
    }
    async fn held_locks(&self, page: &PageRequest) -> Result<Page<TableId>, ListError> {
        self.check()?;
        self.inner.held_locks(page).await
    }
    async fn purge(&self, before: Timestamp, limit: TimeLimit) -> Result<u64, StoreError> {
        self.check()?;
        self.inner.purge(before, limit).await
    }
    async fn cache_entry(&self, table: &TableId) -> Result<Option<CacheEntry>, StoreError> {
        self.check()?;
        self.inner.cache_entry(table).await
    }
    async fn cache_entries(
        &self,
        database: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<CacheEntry>, ListError> {
        self.check()?;
        self.inner.cache_entries(database, page).await
    }
    async fn put_cache_entries(&self, entries: &[CacheEntry]) -> Result<(), StoreError> {
        self.check()?;
        self.inner.put_cache_entries(entries).await
    }
    async fn remove_cache_entries(&self, tables: &[TableId], generation: u64) -> Result<u64, StoreError> {
        self.check()?;
        self.inner.remove_cache_entries(tables, generation).await
    }
    async fn remove_cache_entry(&self, table: &TableId) -> Result<(), StoreError> {
        self.check()?;
        self.inner.remove_cache_entry(table).await
    }
    async fn cache_state(&self) -> Result<CacheState, StoreError> {
        self.check()?;
        self.inner.cache_state().await
    }
    async fn set_cache_state(&self, state: &CacheState) -> Result<(), StoreError> {
        self.check()?;
        self.inner.set_cache_state(state).await
    }
}

impl HealthStore for FaultyStore {
    async fn put_health(&self, health: &TableHealth) -> Result<(), StoreError> {
        self.check()?;
        self.inner.put_health(health).await
    }
    async fn latest_health(&self, tables: &[TableId]) -> Result<HashMap<TableId, TableHealth>, StoreError> {
        self.check()?;
        self.inner.latest_health(tables).await
    }
    async fn health_history(
        &self,
        table: &TableId,
        page: &PageRequest,
    ) -> Result<Page<TableHealth>, ListError> {
        self.check()?;
        self.inner.health_history(table, page).await
    }
    async fn health_position(&self) -> Result<Option<TableId>, StoreError> {
        self.check()?;
        self.inner.health_position().await
    }
    async fn set_health_position(&self, table: &TableId) -> Result<(), StoreError> {
        self.check()?;
        self.inner.set_health_position(table).await
    }
}

impl RunStore for FaultyStore {
    async fn put_run(&self, run: &Run) -> Result<(), StoreError> {
        self.check()?;
        self.inner.put_run(run).await
    }
    async fn run(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        self.check()?;
        self.inner.run(id).await
    }
    async fn runs(&self, page: &PageRequest) -> Result<Page<Run>, ListError> {
        self.check()?;
        self.inner.runs(page).await
    }
}
