//! The service's `Tables` port over a catalog: what the table cache holds, and previews within their budget.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use snowpack_catalog::{Catalog, CatalogError, LoadedTable};
use snowpack_domain::{Action, CacheEntry, JobOptions, Preview, TableId};
use snowpack_service::SystemClock;
use snowpack_service::ports::{CatalogUnavailable, Clock, Tables};
use tokio::time::{Instant, timeout_at};

use crate::preview::{PreviewRequest, filtered_columns, needs_state, no_preview};
use crate::state::TableState;

/// How long a dry run may read live metadata (api.md, Dry run).
const PREVIEW_BUDGET: Duration = Duration::from_secs(5);

/// What is said when that was too short.
const BUDGET_SPENT: &str = "the table's metadata could not be read within the seconds a dry run may take";

/// Properties worth caching: these, and those that start with one of [`CACHED_PREFIXES`].
const CACHED_PROPERTIES: [&str; 2] = ["write.target-file-size-bytes", "gc.enabled"];
const CACHED_PREFIXES: [&str; 2] = ["snowpack.", "history.expire."];

/// The tables of a catalog.
#[derive(Debug)]
pub struct CatalogTables<C, K = SystemClock> {
    catalog: Arc<C>,
    deployment: Arc<HashMap<String, String>>,
    clock: K,
    preview_budget: Duration,
}

impl<C, K: Clone> Clone for CatalogTables<C, K> {
    fn clone(&self) -> Self {
        Self {
            catalog: Arc::clone(&self.catalog),
            deployment: Arc::clone(&self.deployment),
            clock: self.clock.clone(),
            preview_budget: self.preview_budget,
        }
    }
}

impl<C: Catalog> CatalogTables<C> {
    /// The tables of this catalog. `deployment` are settings named like the `snowpack.*` properties without
    /// that prefix.
    pub fn new(catalog: Arc<C>, deployment: HashMap<String, String>) -> Self {
        Self::with_clock(catalog, deployment, SystemClock)
    }
}

impl<C: Catalog, K: Clock> CatalogTables<C, K> {
    /// As [`CatalogTables::new`], with ages taken from another clock.
    pub fn with_clock(catalog: Arc<C>, deployment: HashMap<String, String>, clock: K) -> Self {
        Self {
            catalog,
            deployment: Arc::new(deployment),
            clock,
            preview_budget: PREVIEW_BUDGET,
        }
    }

    async fn load(&self, table: &TableId, until: Instant) -> Result<LoadedTable, String> {
        let loaded = timeout_at(until, self.catalog.load(table)).await;
        loaded
            .map_err(|_elapsed| BUDGET_SPENT.to_owned())?
            .map_err(|error| error.to_string())
    }
}

async fn read_state(table: &LoadedTable, options: &JobOptions, until: Instant) -> Result<TableState, String> {
    let read = timeout_at(
        until,
        TableState::read_with(table, filtered_columns(table, options)),
    )
    .await;
    read.map_err(|_elapsed| BUDGET_SPENT.to_owned())?
        .map_err(|error| error.to_string())
}

impl<C: Catalog, K: Clock> Tables for CatalogTables<C, K> {
    /// The entry's generation is 0: the caller knows the sync it belongs to. A table whose metadata cannot be
    /// used is one all the same, known by name only, so that a job on it can say what is wrong.
    async fn find(&self, table: &TableId) -> Result<Option<CacheEntry>, CatalogUnavailable> {
        match self.catalog.load(table).await {
            Ok(loaded) => Ok(Some(entry_of(&loaded))),
            Err(CatalogError::NoSuchTable(_)) => Ok(None),
            Err(error @ (CatalogError::BadMetadata { .. } | CatalogError::Unsupported(_))) => {
                tracing::warn!(%table, %error, "the table is known by name only");
                Ok(Some(entry_by_name(table)))
            }
            Err(error) => Err(CatalogUnavailable(error.to_string())),
        }
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogUnavailable> {
        self.catalog
            .databases()
            .await
            .map_err(|error| CatalogUnavailable(error.to_string()))
    }

    async fn list(&self, database: &str) -> Result<Vec<TableId>, CatalogUnavailable> {
        self.catalog
            .tables(database)
            .await
            .map_err(|error| CatalogUnavailable(error.to_string()))
    }

    async fn preview(&self, table: &TableId, actions: &[Action], options: &JobOptions) -> Vec<Preview> {
        let until = Instant::now() + self.preview_budget;
        let loaded = match self.load(table, until).await {
            Ok(loaded) => loaded,
            Err(note) => return actions.iter().map(|_| no_preview(note.clone())).collect(),
        };
        let state = if actions.iter().copied().any(needs_state) {
            read_state(&loaded, options, until).await
        } else {
            Ok(TableState::empty())
        };
        let request = PreviewRequest {
            table: &loaded,
            state: state.as_ref().map_err(Clone::clone),
            options,
            deployment: &self.deployment,
            now: self.clock.now(),
        };
        actions.iter().map(|action| request.preview(*action)).collect()
    }
}

fn entry_of(table: &LoadedTable) -> CacheEntry {
    let metadata = &table.metadata;
    let is_cached = |name: &str| {
        CACHED_PROPERTIES.contains(&name) || CACHED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let properties = metadata.properties().iter().filter(|(name, _)| is_cached(name));
    CacheEntry {
        location: Some(metadata.location().to_owned()),
        metadata_location: Some(table.metadata_location.clone()),
        format_version: Some(metadata.format_version() as u8),
        properties: properties
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        ..entry_by_name(&table.id)
    }
}

fn entry_by_name(table: &TableId) -> CacheEntry {
    CacheEntry {
        table: table.clone(),
        location: None,
        metadata_location: None,
        format_version: None,
        properties: BTreeMap::new(),
        generation: 0,
    }
}

#[cfg(test)]
mod tests;
