//! The job store over SQLite: the port's methods, each one transaction.

mod cache;
mod health;
mod jobs;
mod locks;
mod reports;
mod rows;
mod runs;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Transaction, params};
use snowpack_domain::{CacheEntry, CacheState, Drain, Job, JobId, JobStatus, Lock, TableId, Timestamp};
use snowpack_service::TimeLimit;
use snowpack_service::ports::{
    Clock, JobFilter, JobStore, ListError, Page, PageRequest, StoreError, SubmitContext, Versioned, Write,
    Written,
};
use snowpack_wire::stored::Cursor;
use tokio::sync::Notify;

use crate::database::Database;
use crate::error::DatabaseError;
use crate::{EmbeddedQueue, OpenError};

/// Rows deleted in one transaction, so that a long purge lets other writers in.
const PURGE_BATCH: usize = 1000;

/// Jobs, locks, the table cache and switches in one SQLite file. Clones share the connections.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    database: Arc<Database>,
    sent: Arc<Notify>,
}

impl SqliteStore {
    /// Opens the file, making it and its tables when it does not exist. Its directory must exist.
    ///
    /// # Errors
    /// [`OpenError`] when a newer version made the file, it is no SQLite database, or it cannot be written.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            database: Arc::new(Database::open(path)?),
            sent: Arc::new(Notify::new()),
        })
    }

    /// The queue kept in the same file. All queues of a store wake each other.
    pub fn queue<C: Clock>(&self, clock: C) -> EmbeddedQueue<C> {
        EmbeddedQueue::new(Arc::clone(&self.database), Arc::clone(&self.sent), clock)
    }

    /// Deletes in batches until one is not full, or the time is up; returns how many rows.
    async fn purge_by(
        &self,
        delete: fn(&Transaction<'_>, Timestamp, usize) -> Result<usize, DatabaseError>,
        before: Timestamp,
        limit: TimeLimit,
    ) -> Result<u64, StoreError> {
        let mut purged = 0;
        loop {
            let batch = self
                .database
                .write(move |transaction| delete(transaction, before, PURGE_BATCH))
                .await?;
            purged += batch as u64;
            if batch < PURGE_BATCH || limit.is_reached() {
                return Ok(purged);
            }
        }
    }
}

impl JobStore for SqliteStore {
    async fn submit_context(
        &self,
        table: &TableId,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<SubmitContext, StoreError> {
        let (table, key) = (table.clone(), key.map(str::to_owned));
        let read = self.database.read(move |transaction| {
            let entry = cache::entry(transaction, &table)?;
            let idempotency = match key {
                Some(key) => rows::idempotency(transaction, &key, now)?,
                None => None,
            };
            Ok(SubmitContext {
                drain: rows::drain(transaction)?,
                // Entries carry no version of their own: a submit only depends on there being one.
                entry: entry.map(|value| Versioned { value, version: 1 }),
                lock: rows::lock(transaction, &table)?,
                idempotency,
            })
        });
        Ok(read.await?)
    }

    async fn job(&self, id: &JobId) -> Result<Option<Versioned<Job>>, StoreError> {
        let id = id.clone();
        Ok(self
            .database
            .read(move |transaction| rows::job(transaction, &id))
            .await?)
    }

    async fn lock(&self, table: &TableId) -> Result<Versioned<Lock>, StoreError> {
        let table = table.clone();
        Ok(self
            .database
            .read(move |transaction| rows::lock(transaction, &table))
            .await?)
    }

    async fn locks(&self, tables: &[TableId]) -> Result<HashMap<TableId, Lock>, StoreError> {
        let tables = tables.to_vec();
        let read = self.database.read(move |transaction| {
            let mut locks = HashMap::new();
            for table in tables {
                let lock = rows::lock(transaction, &table)?;
                if lock.version > 0 {
                    locks.insert(table, lock.value);
                }
            }
            Ok(locks)
        });
        Ok(read.await?)
    }

    async fn drain(&self) -> Result<Versioned<Drain>, StoreError> {
        Ok(self.database.read(rows::drain).await?)
    }

    async fn set_drain(&self, drain: &Drain) -> Result<(), StoreError> {
        let drain = drain.clone();
        let write = self.database.write(move |transaction| {
            transaction.execute(
                "INSERT INTO drain (only, version, enabled, reason) VALUES (1, 1, ?1, ?2)
                 ON CONFLICT (only) DO UPDATE SET version = version + 1, enabled = ?1, reason = ?2",
                params![drain.enabled, drain.reason],
            )?;
            Ok(())
        });
        Ok(write.await?)
    }

    async fn write(&self, write: &Write) -> Result<Written, StoreError> {
        let write = write.clone();
        Ok(self
            .database
            .write_or_undo(move |transaction| write::apply(transaction, &write))
            .await?)
    }

    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, ListError> {
        let after = match &page.cursor {
            Some(text) => {
                Some(Cursor::decode_job_position(text, filter.finished_only).ok_or(ListError::BadCursor)?)
            }
            None => None,
        };
        let (filter, limit) = (filter.clone(), page.limit);
        let read = self
            .database
            .read(move |transaction| jobs::list(transaction, &filter, after, limit));
        Ok(read.await.map_err(StoreError::from)?)
    }

    async fn jobs_needing_message(&self, now: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        Ok(self
            .database
            .read(move |transaction| jobs::due(transaction, now, limit))
            .await?)
    }

    async fn job_counts(&self, since: Timestamp) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        Ok(self
            .database
            .read(move |transaction| jobs::counts(transaction, since))
            .await?)
    }

    async fn held_locks(&self, page: &PageRequest) -> Result<Page<TableId>, ListError> {
        let after = match &page.cursor {
            Some(text) => Some(Cursor::decode_table(text).ok_or(ListError::BadCursor)?),
            None => None,
        };
        let limit = page.limit;
        let read = self
            .database
            .read(move |transaction| locks::held(transaction, after, limit));
        Ok(read.await.map_err(StoreError::from)?)
    }

    async fn purge(&self, before: Timestamp, limit: TimeLimit) -> Result<u64, StoreError> {
        let jobs = self.purge_by(jobs::purge, before, limit).await?;
        if jobs > 0 && limit.is_reached() {
            return Ok(jobs);
        }
        Ok(jobs + self.purge_by(health::purge, before, limit).await?)
    }

    async fn cache_entry(&self, table: &TableId) -> Result<Option<CacheEntry>, StoreError> {
        let table = table.clone();
        Ok(self
            .database
            .read(move |transaction| cache::entry(transaction, &table))
            .await?)
    }

    async fn cache_entries(
        &self,
        database: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<CacheEntry>, ListError> {
        let after = match &page.cursor {
            Some(text) => Some(Cursor::decode_table(text).ok_or(ListError::BadCursor)?),
            None => None,
        };
        let (database, limit) = (database.map(str::to_owned), page.limit);
        let read = self
            .database
            .read(move |transaction| cache::list(transaction, database, after, limit));
        Ok(read.await.map_err(StoreError::from)?)
    }

    async fn put_cache_entries(&self, entries: &[CacheEntry]) -> Result<(), StoreError> {
        let entries = entries.to_vec();
        Ok(self
            .database
            .write(move |transaction| cache::put(transaction, &entries))
            .await?)
    }

    async fn remove_cache_entries(&self, tables: &[TableId], generation: u64) -> Result<u64, StoreError> {
        let tables = tables.to_vec();
        Ok(self
            .database
            .write(move |transaction| cache::remove_older(transaction, &tables, generation))
            .await?)
    }

    async fn remove_cache_entry(&self, table: &TableId) -> Result<(), StoreError> {
        let table = table.clone();
        Ok(self
            .database
            .write(move |transaction| cache::remove(transaction, &table))
            .await?)
    }

    async fn cache_state(&self) -> Result<CacheState, StoreError> {
        Ok(self.database.read(cache::state).await?)
    }

    async fn set_cache_state(&self, state: &CacheState) -> Result<(), StoreError> {
        let state = state.clone();
        Ok(self
            .database
            .write(move |transaction| cache::set_state(transaction, &state))
            .await?)
    }
}
