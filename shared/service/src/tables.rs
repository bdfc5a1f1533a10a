//! The table cache: what the 404 depends on, read through to the catalog on a miss.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use snowpack_domain::{Action, CacheEntry, Duration, JobOptions, Preview, TableHealth, TableId, Timestamp};

use crate::failure::Failure;
use crate::in_time;
use crate::ports::{Clock, HealthStore, JobStore, NoPreview, Tables};

/// How long the catalog's "no such table" is believed.
const REMEMBER_NO_SECONDS: i64 = 60;
/// Names remembered as unknown at most, so that a scan of made-up names cannot grow memory.
const MAX_REMEMBERED: usize = 10_000;

/// The cache in the store, with the catalog behind it.
#[derive(Debug)]
pub struct TableCache<S, T, C> {
    store: Arc<S>,
    tables: T,
    clock: C,
    unknown: Mutex<HashMap<TableId, Timestamp>>,
}

impl<S: JobStore, T: Tables, C: Clock> TableCache<S, T, C> {
    /// A cache over these ports.
    pub fn new(store: Arc<S>, tables: T, clock: C) -> Self {
        Self {
            store,
            tables,
            clock,
            unknown: Mutex::new(HashMap::new()),
        }
    }

    /// The table's entry, asking the catalog when it is not cached.
    ///
    /// # Errors
    /// [`Failure`] when the store or the catalog cannot be asked.
    pub async fn find(&self, table: &TableId) -> Result<Option<CacheEntry>, Failure> {
        match self.store.cache_entry(table).await? {
            Some(entry) => Ok(Some(entry)),
            None => self.read_through(table).await,
        }
    }

    /// Asks the catalog for a table that is not cached and caches it if it exists. A no is remembered.
    ///
    /// # Errors
    /// [`Failure`] when the store or the catalog cannot be asked.
    pub async fn read_through(&self, table: &TableId) -> Result<Option<CacheEntry>, Failure> {
        let now = self.clock.now();
        if self.is_remembered_unknown(table, now) {
            return Ok(None);
        }
        let Some(mut entry) = in_time::find(&self.tables, table).await? else {
            self.remember_unknown(table, now);
            return Ok(None);
        };
        // Counts as seen by the sync that may be running, so that its end does not remove it.
        entry.generation = self.store.cache_state().await?.generation + 1;
        self.store.put_cache_entries(std::slice::from_ref(&entry)).await?;
        Ok(Some(entry))
    }

    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    pub(crate) fn tables(&self) -> &T {
        &self.tables
    }

    pub(crate) fn clock(&self) -> &C {
        &self.clock
    }

    fn is_remembered_unknown(&self, table: &TableId, now: Timestamp) -> bool {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.get(table).is_some_and(|until| *until > now)
    }

    fn remember_unknown(&self, table: &TableId, now: Timestamp) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.len() >= MAX_REMEMBERED {
            unknown.retain(|_, until| *until > now);
        }
        if unknown.len() < MAX_REMEMBERED {
            unknown.insert(table.clone(), now + Duration::from_seconds(REMEMBER_NO_SECONDS));
        }
    }
}

impl<S: JobStore + HealthStore, T: Tables, C: Clock> TableCache<S, T, C> {
    /// What the actions would do to the table: by its metadata, else, when that cannot be read in time, by the newest
    /// health that was kept.
    pub async fn preview(&self, table: &TableId, actions: &[Action], options: &JobOptions) -> Vec<Preview> {
        let previews = self.tables.preview(table, actions, options).await;
        let is_unread = |preview: &Result<_, _>| matches!(preview, Err(NoPreview::Unread(_)));
        let kept = match previews.iter().any(is_unread) {
            true => self.kept_health(table).await,
            false => None,
        };
        let now = self.clock.now();
        let kept = |action| kept.as_ref().and_then(|health| health.remembered(action, now));
        let answer = |(preview, action): (Result<Preview, NoPreview>, &Action)| match preview {
            Ok(preview) => preview,
            Err(NoPreview::Unread(why)) => kept(*action).unwrap_or_else(|| NoPreview::Unread(why).into()),
            Err(refused) => refused.into(),
        };
        previews.into_iter().zip(actions).map(answer).collect()
    }

    /// A preview is worth having without it, so that the store's failure is only logged.
    async fn kept_health(&self, table: &TableId) -> Option<TableHealth> {
        let kept = self.store.latest_health(std::slice::from_ref(table)).await;
        kept.inspect_err(|error| tracing::warn!(%table, %error, "kept health cannot be read"))
            .ok()?
            .remove(table)
    }
}
