//! The job store as one process meets it: throttled, slow, forgetful of its answers, late.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snowpack_domain::{CacheEntry, CacheState, Drain, Job, JobId, JobStatus, Lock, TableId, Timestamp};
use snowpack_service::TimeLimit;
use snowpack_service::ports::{
    JobFilter, JobStore, ListError, Page, PageRequest, StoreError, SubmitContext, Versioned, Write, Written,
};

use crate::config::Fault;
use crate::process::Process;
use crate::world::World;

pub(crate) struct FaultyStore {
    process: Arc<Process>,
    seen_due: Mutex<Option<Vec<JobId>>>,
    seen_held: Mutex<Option<Page<TableId>>>,
}

fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable(reason.to_owned())
}

impl FaultyStore {
    pub(crate) fn of(process: &Arc<Process>) -> Self {
        Self {
            process: Arc::clone(process),
            seen_due: Mutex::default(),
            seen_held: Mutex::default(),
        }
    }

    fn world(&self) -> &World {
        &self.process.world
    }

    fn happens(&self, fault: Fault, event: &'static str) -> bool {
        let happens = self.process.dice.happens(fault);
        if happens {
            self.process.hinder(Duration::ZERO);
            self.world().trace.note(event, || self.process.name.clone());
        }
        happens
    }

    /// The way to the store or back.
    async fn travel(&self, place: &'static str) {
        let dice = &self.process.dice;
        if self.happens(Fault::Slow, "slow") {
            let time = dice.seconds(1..20);
            self.process.hinder(time);
            tokio::time::sleep(time).await;
        } else if dice.chance(0.5) {
            tokio::time::sleep(dice.millis(1..40)).await;
        }
        self.process.point(place).await;
    }

    fn refuses(&self) -> Result<(), StoreError> {
        if self.world().is_store_out() {
            self.process.hinder(Duration::ZERO);
            return Err(unavailable("out of order"));
        }
        if self.happens(Fault::Throttled, "throttled") {
            return Err(unavailable("throttled"));
        }
        Ok(())
    }

    /// A call that `at_the_store` does in one instant.
    async fn call<T>(&self, at_the_store: impl FnOnce(&World) -> T) -> Result<T, StoreError> {
        self.travel("before a call of the store").await;
        self.refuses()?;
        let answer = at_the_store(self.world());
        self.travel("after a call of the store").await;
        if self.happens(Fault::AnswerLost, "answer lost") {
            return Err(unavailable("the answer was lost"));
        }
        Ok(answer)
    }

    fn write_later(&self, write: &Write) {
        let delay = self.process.dice.millis(1..8000);
        let (process, write) = (Arc::clone(&self.process), write.clone());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            process.world.apply(&process.name, &write);
        });
    }
}

impl JobStore for FaultyStore {
    async fn submit_context(
        &self,
        table: &TableId,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<SubmitContext, StoreError> {
        self.call(|world| world.store.state().submit_context(table, key, now))
            .await
    }

    async fn job(&self, id: &JobId) -> Result<Option<Versioned<Job>>, StoreError> {
        let stored = self
            .call(|world| world.store.state().jobs.get(id).cloned())
            .await?;
        if self.world().is_unreadable(id) {
            self.process.hinder(Duration::ZERO);
            return Err(StoreError::Corrupt(id.to_string()));
        }
        Ok(stored)
    }

    async fn lock(&self, table: &TableId) -> Result<Versioned<Lock>, StoreError> {
        self.call(|world| world.store.state().lock(table)).await
    }

    async fn locks(&self, tables: &[TableId]) -> Result<HashMap<TableId, Lock>, StoreError> {
        self.world().store.locks(tables).await
    }

    async fn drain(&self) -> Result<Versioned<Drain>, StoreError> {
        self.call(|world| world.store.state().drain()).await
    }

    async fn set_drain(&self, drain: &Drain) -> Result<(), StoreError> {
        self.call(|world| world.store.state().set_drain(drain)).await
    }

    async fn write(&self, write: &Write) -> Result<Written, StoreError> {
        self.refuses()?;
        if self.happens(Fault::AppliedLate, "applied late") {
            self.write_later(write);
            self.travel("after a write that is on its way").await;
            return Err(unavailable("no answer in time"));
        }
        if self.happens(Fault::SentTwice, "sent twice") {
            self.travel("before a write is sent").await;
            self.world().apply(&self.process.name, write);
            let wait = self.process.dice.millis(1..30_000);
            self.process.hinder(wait);
            self.process.pause("before a write is sent again", wait).await;
            return Ok(self.world().apply(&self.process.name, write));
        }
        self.call(|world| world.apply(&self.process.name, write)).await
    }

    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, ListError> {
        self.travel("before a list").await;
        self.refuses()?;
        self.world().store.jobs(filter, page).await
    }

    async fn jobs_needing_message(&self, now: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        let fresh = self
            .call(|world| world.store.state().jobs_needing_message(now, limit))
            .await?;
        let seen = self.seen_due.lock().unwrap().replace(fresh.clone());
        let stale = seen.filter(|_| self.process.dice.happens(Fault::StaleList));
        Ok(stale.unwrap_or(fresh))
    }

    async fn job_counts(&self, since: Timestamp) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        self.world().store.job_counts(since).await
    }

    async fn held_locks(&self, page: &PageRequest) -> Result<Page<TableId>, ListError> {
        let fresh = self.call(|world| world.store.state().held_locks(page)).await??;
        let seen = self.seen_held.lock().unwrap().replace(fresh.clone());
        let stale = seen.filter(|_| self.process.dice.happens(Fault::StaleList));
        Ok(stale.unwrap_or(fresh))
    }

    async fn purge(&self, before: Timestamp, limit: TimeLimit) -> Result<u64, StoreError> {
        self.world().store.purge(before, limit).await
    }

    async fn cache_entry(&self, table: &TableId) -> Result<Option<CacheEntry>, StoreError> {
        self.travel("before the cache").await;
        self.world().store.cache_entry(table).await
    }

    async fn cache_entries(
        &self,
        database: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<CacheEntry>, ListError> {
        self.world().store.cache_entries(database, page).await
    }

    async fn put_cache_entries(&self, entries: &[CacheEntry]) -> Result<(), StoreError> {
        self.travel("before the cache is written").await;
        self.world().store.put_cache_entries(entries).await
    }

    async fn remove_cache_entries(&self, tables: &[TableId], generation: u64) -> Result<u64, StoreError> {
        self.world().store.remove_cache_entries(tables, generation).await
    }

    async fn remove_cache_entry(&self, table: &TableId) -> Result<(), StoreError> {
        self.world().store.remove_cache_entry(table).await
    }

    async fn cache_state(&self) -> Result<CacheState, StoreError> {
        self.world().store.cache_state().await
    }

    async fn set_cache_state(&self, state: &CacheState) -> Result<(), StoreError> {
        self.world().store.set_cache_state(state).await
    }
}
