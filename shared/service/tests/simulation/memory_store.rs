//! The naive job store: maps with versions, and a write that applies whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use snowpack_domain::{
    CacheEntry, CacheState, Drain, Job, JobId, JobStatus, Lock, TableId, Timestamp, message_due,
    needs_message,
};
use snowpack_service::TimeLimit;
use snowpack_service::ports::{
    IdempotencyRecord, JobFilter, JobStore, ListError, Page, PageRequest, StoreError, SubmitContext,
    Versioned, Write, Written,
};
use snowpack_testkit::{naive_counts, naive_list};

use crate::config::Sabotage;

/// Everything stored.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) jobs: BTreeMap<JobId, Versioned<Job>>,
    pub(crate) locks: BTreeMap<TableId, Versioned<Lock>>,
    drain: Option<Versioned<Drain>>,
    cache: BTreeMap<TableId, CacheEntry>,
    cache_state: CacheState,
    idempotency: BTreeMap<String, IdempotencyRecord>,
    pub(crate) sabotage: Option<Sabotage>,
}

impl State {
    pub(crate) fn job(&self, id: &JobId) -> Option<&Job> {
        self.jobs.get(id).map(|job| &job.value)
    }

    pub(crate) fn lock(&self, table: &TableId) -> Versioned<Lock> {
        self.locks.get(table).cloned().unwrap_or(Versioned {
            value: Lock::default(),
            version: 0,
        })
    }

    pub(crate) fn drain(&self) -> Versioned<Drain> {
        self.drain.clone().unwrap_or(Versioned {
            value: Drain::default(),
            version: 0,
        })
    }

    pub(crate) fn set_drain(&mut self, drain: &Drain) {
        self.drain = Some(Versioned {
            value: drain.clone(),
            version: self.drain().version + 1,
        });
    }

    /// Applies a write if everything it names is as it was read.
    pub(crate) fn apply(&mut self, write: &Write) -> Written {
        if !self.matches(write) && self.sabotage != Some(Sabotage::StoreIgnoresVersions) {
            return Written::LostRace;
        }
        if let Some(Versioned { value, version }) = &write.job
            && !(self.sabotage == Some(Sabotage::StoreForgetsJobs) && *version == 0)
        {
            let stored = Versioned {
                value: value.clone(),
                version: version + 1,
            };
            self.jobs.insert(value.id.clone(), stored);
        }
        if let Some((table, Versioned { value, version })) = &write.lock
            && self.sabotage != Some(Sabotage::StoreDropsTheLock)
        {
            let mut lock = value.clone();
            if self.sabotage == Some(Sabotage::StoreResetsFences) && lock.holder.is_none() {
                lock = Lock::default();
            }
            let stored = Versioned {
                value: lock,
                version: version + 1,
            };
            self.locks.insert(table.clone(), stored);
        }
        if let Some(record) = &write.idempotency {
            self.idempotency.insert(record.key.clone(), record.clone());
        }
        Written::Applied
    }

    fn matches(&self, write: &Write) -> bool {
        let job = write.job.as_ref().is_none_or(|job| {
            let stored = self.jobs.get(&job.value.id).map_or(0, |stored| stored.version);
            stored == job.version
        });
        let lock = write
            .lock
            .as_ref()
            .is_none_or(|(table, lock)| self.lock(table).version == lock.version);
        let drain = write
            .expect_drain
            .is_none_or(|version| self.drain().version == version);
        let cached = write
            .expect_cached
            .as_ref()
            .is_none_or(|table| self.cache.contains_key(table));
        let key = write.idempotency.as_ref().is_none_or(|record| {
            let submitted = write.job.as_ref().map(|job| job.value.submitted_at);
            let taken = self.idempotency.get(&record.key);
            taken.is_none_or(|taken| submitted.is_some_and(|at| taken.expires_at <= at))
        });
        job && lock && drain && cached && key
    }

    pub(crate) fn submit_context(&self, table: &TableId, key: Option<&str>, now: Timestamp) -> SubmitContext {
        let entry = self.cache.get(table).cloned();
        let record = key.and_then(|key| self.idempotency.get(key));
        SubmitContext {
            drain: self.drain(),
            entry: entry.map(|value| Versioned { value, version: 1 }),
            lock: self.lock(table),
            idempotency: record.filter(|record| record.expires_at > now).cloned(),
        }
    }

    fn list(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, ListError> {
        let all: Vec<Job> = self.jobs.values().map(|job| job.value.clone()).collect();
        let kind = if filter.finished_only { "c" } else { "s" };
        let position = |job: &Job| {
            let time = if filter.finished_only {
                job.completed_at
            } else {
                Some(job.submitted_at)
            };
            (time.map_or(0, Timestamp::as_micros), job.id.clone())
        };
        let after = match &page.cursor {
            Some(cursor) => Some(parse_position(cursor, kind).ok_or(ListError::BadCursor)?),
            None => None,
        };
        let mut rest = naive_list(&all, filter);
        rest.retain(|job| after.as_ref().is_none_or(|after| position(job) < *after));
        Ok(first_page(rest, page.limit, |job| {
            let (time, id) = position(job);
            format!("{kind}.{time}.{id}")
        }))
    }

    pub(crate) fn jobs_needing_message(&self, now: Timestamp, limit: usize) -> Vec<JobId> {
        let jobs = self.jobs.values().map(|job| &job.value);
        let mut due: Vec<&Job> = jobs.filter(|job| needs_message(job, now)).collect();
        due.sort_by_key(|job| message_due(job));
        due.into_iter().take(limit).map(|job| job.id.clone()).collect()
    }

    pub(crate) fn held_locks(&self, page: &PageRequest) -> Result<Page<TableId>, ListError> {
        let held = self.locks.iter().filter(|(_, lock)| lock.value.holder.is_some());
        let held: Vec<TableId> = held.map(|(table, _)| table.clone()).collect();
        tables_page(held, page, TableId::clone)
    }
}

fn parse_position(cursor: &str, kind: &str) -> Option<(i64, JobId)> {
    let (found, rest) = cursor.split_once('.')?;
    let (time, id) = rest.split_once('.')?;
    let position = (time.parse().ok()?, JobId::parse(id).ok()?);
    (found == kind).then_some(position)
}

fn tables_page<T>(
    mut all: Vec<T>,
    page: &PageRequest,
    table: impl Fn(&T) -> TableId,
) -> Result<Page<T>, ListError> {
    if let Some(cursor) = &page.cursor {
        let name = cursor.strip_prefix("t.").ok_or(ListError::BadCursor)?;
        let after = TableId::parse(name).map_err(|_| ListError::BadCursor)?;
        all.retain(|item| table(item) > after);
    }
    Ok(first_page(all, page.limit, |item| format!("t.{}", table(item))))
}

fn first_page<T>(mut rest: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = rest.len() > limit;
    rest.truncate(limit);
    let next = rest.last().filter(|_| more).map(cursor);
    Page { items: rest, next }
}

/// The state behind a lock: a store that never fails.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore(Mutex<State>);

impl MemoryStore {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl JobStore for MemoryStore {
    async fn submit_context(
        &self,
        table: &TableId,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<SubmitContext, StoreError> {
        Ok(self.state().submit_context(table, key, now))
    }

    async fn job(&self, id: &JobId) -> Result<Option<Versioned<Job>>, StoreError> {
        Ok(self.state().jobs.get(id).cloned())
    }

    async fn lock(&self, table: &TableId) -> Result<Versioned<Lock>, StoreError> {
        Ok(self.state().lock(table))
    }

    async fn locks(&self, tables: &[TableId]) -> Result<HashMap<TableId, Lock>, StoreError> {
        let state = self.state();
        let locks = state.locks.iter().filter(|(table, _)| tables.contains(table));
        Ok(locks
            .map(|(table, lock)| (table.clone(), lock.value.clone()))
            .collect())
    }

    async fn drain(&self) -> Result<Versioned<Drain>, StoreError> {
        Ok(self.state().drain())
    }

    async fn set_drain(&self, drain: &Drain) -> Result<(), StoreError> {
        self.state().set_drain(drain);
        Ok(())
    }

    async fn write(&self, write: &Write) -> Result<Written, StoreError> {
        Ok(self.state().apply(write))
    }

    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, ListError> {
        self.state().list(filter, page)
    }

    async fn jobs_needing_message(&self, now: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        Ok(self.state().jobs_needing_message(now, limit))
    }

    async fn job_counts(&self, since: Timestamp) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        let jobs = self.state();
        Ok(naive_counts(jobs.jobs.values().map(|job| &job.value), since))
    }

    async fn held_locks(&self, page: &PageRequest) -> Result<Page<TableId>, ListError> {
        self.state().held_locks(page)
    }

    async fn purge(&self, before: Timestamp, _: TimeLimit) -> Result<u64, StoreError> {
        let mut state = self.state();
        let stored = state.jobs.len();
        state
            .jobs
            .retain(|_, job| job.value.completed_at.is_none_or(|ended| ended >= before));
        Ok((stored - state.jobs.len()) as u64)
    }

    async fn cache_entry(&self, table: &TableId) -> Result<Option<CacheEntry>, StoreError> {
        Ok(self.state().cache.get(table).cloned())
    }

    async fn cache_entries(
        &self,
        database: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<CacheEntry>, ListError> {
        let state = self.state();
        let of_it = |entry: &&CacheEntry| database.is_none_or(|name| entry.table.database.as_str() == name);
        let entries = state.cache.values().filter(of_it).cloned().collect();
        tables_page(entries, page, |entry: &CacheEntry| entry.table.clone())
    }

    async fn put_cache_entries(&self, entries: &[CacheEntry]) -> Result<(), StoreError> {
        let named = entries.iter().map(|entry| (entry.table.clone(), entry.clone()));
        self.state().cache.extend(named);
        Ok(())
    }

    async fn remove_cache_entries(&self, tables: &[TableId], generation: u64) -> Result<u64, StoreError> {
        let mut state = self.state();
        let stored = state.cache.len();
        state
            .cache
            .retain(|table, entry| entry.generation >= generation || !tables.contains(table));
        Ok((stored - state.cache.len()) as u64)
    }

    async fn remove_cache_entry(&self, table: &TableId) -> Result<(), StoreError> {
        self.state().cache.remove(table);
        Ok(())
    }

    async fn cache_state(&self) -> Result<CacheState, StoreError> {
        Ok(self.state().cache_state.clone())
    }

    async fn set_cache_state(&self, state: &CacheState) -> Result<(), StoreError> {
        self.state().cache_state = state.clone();
        Ok(())
    }
}
