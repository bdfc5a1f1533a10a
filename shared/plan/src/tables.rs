//! The service's `Tables` port over a catalog: what the table cache holds, health, and previews within their budget.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use snowpack_catalog::{Catalog, CatalogError, DatabaseScope, LoadedTable};
use snowpack_domain::{Action, CacheEntry, Deployment, JobOptions, Preview, TableHealth, TableId};
use snowpack_service::SystemClock;
use snowpack_service::ports::{CatalogUnavailable, Clock, HealthUnreadable, ListedTable, NoPreview, Tables};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::assess::filtered_columns;
use crate::error::PlanError;
use crate::health::health_of;
use crate::preview::{PreviewRequest, needs_state};
use crate::state::TableState;

/// How long a dry run may read live metadata (api.md, Dry run).
const PREVIEW_BUDGET: Duration = Duration::from_secs(5);

/// What is said when that was too short.
const BUDGET_SPENT: &str = "the table's metadata could not be read within the seconds a dry run may take";

/// Properties worth caching: these, and those that start with one of [`CACHED_PREFIXES`].
const CACHED_PROPERTIES: [&str; 3] = ["write.target-file-size-bytes", "gc.enabled", "compaction_skip"];
const CACHED_PREFIXES: [&str; 2] = ["snowpack.", "history.expire."];

/// The tables of a catalog.
#[derive(Debug)]
pub struct CatalogTables<C, K = SystemClock> {
    catalog: Arc<C>,
    deployment: Arc<Deployment>,
    clock: K,
    preview_budget: Duration,
    scope: DatabaseScope,
}

impl<C, K: Clone> Clone for CatalogTables<C, K> {
    fn clone(&self) -> Self {
        Self {
            catalog: Arc::clone(&self.catalog),
            deployment: Arc::clone(&self.deployment),
            clock: self.clock.clone(),
            preview_budget: self.preview_budget,
            scope: self.scope.clone(),
        }
    }
}

impl<C: Catalog> CatalogTables<C> {
    /// The tables of this catalog, maintained by this deployment.
    pub fn new(catalog: Arc<C>, deployment: Deployment) -> Self {
        Self::with_clock(catalog, deployment, SystemClock)
    }
}

impl<C: Catalog, K: Clock> CatalogTables<C, K> {
    /// As [`CatalogTables::new`], with ages taken from another clock.
    pub fn with_clock(catalog: Arc<C>, deployment: Deployment, clock: K) -> Self {
        Self {
            catalog,
            deployment: Arc::new(deployment),
            clock,
            preview_budget: PREVIEW_BUDGET,
            scope: DatabaseScope::default(),
        }
    }

    /// The same, without the databases outside of `scope`.
    #[must_use]
    pub fn within(self, scope: DatabaseScope) -> Self {
        Self { scope, ..self }
    }

    async fn load(&self, table: &TableId, until: Instant) -> Result<LoadedTable, NoPreview> {
        let loaded = timeout_at(until, self.catalog.load(table)).await;
        loaded.map_err(budget_spent)?.map_err(|error| match error {
            CatalogError::NoSuchTable(_)
            | CatalogError::BadMetadata { .. }
            | CatalogError::Unsupported(_) => NoPreview::Refused(error.to_string()),
            _ => NoPreview::Unread(error.to_string()),
        })
    }
}

async fn read_state(
    table: &LoadedTable,
    options: &JobOptions,
    until: Instant,
) -> Result<TableState, NoPreview> {
    let reading = TableState::read_with(table, filtered_columns(table, options));
    let read = timeout_at(until, reading).await;
    Ok(read.map_err(budget_spent)??)
}

fn budget_spent(_: Elapsed) -> NoPreview {
    NoPreview::Unread(BUDGET_SPENT.to_owned())
}

/// What a failed read says of a table's health.
fn unreadable(error: &PlanError) -> HealthUnreadable {
    match error {
        PlanError::Catalog(CatalogError::BadMetadata { .. } | CatalogError::Unsupported(_)) => {
            HealthUnreadable::Broken(error.to_string())
        }
        PlanError::Manifest { source, .. } if !source.is_transient() => {
            HealthUnreadable::Broken(error.to_string())
        }
        _ => CatalogUnavailable(error.to_string()).into(),
    }
}

impl<C: Catalog, K: Clock> Tables for CatalogTables<C, K> {
    /// The entry's generation is 0: the caller knows the sync it belongs to. A table whose metadata cannot be
    /// used is one all the same, known by name only, so that a job on it can say what is wrong.
    async fn find(&self, table: &TableId) -> Result<Option<CacheEntry>, CatalogUnavailable> {
        if !self.scope.includes(table.database.as_str()) {
            return Ok(None);
        }
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
        let all = self.catalog.databases().await;
        let mut databases = all.map_err(|error| CatalogUnavailable(error.to_string()))?;
        databases.retain(|database| self.scope.includes(database));
        Ok(databases)
    }

    async fn list(&self, database: &str) -> Result<Vec<ListedTable>, CatalogUnavailable> {
        self.catalog
            .tables(database)
            .await
            .map_err(|error| CatalogUnavailable(error.to_string()))
    }

    async fn health(&self, table: &TableId) -> Result<Option<TableHealth>, HealthUnreadable> {
        // Taken first: what happens while the metadata is read is news to this report.
        let now = self.clock.now();
        let loaded = match self.catalog.load(table).await {
            Ok(loaded) => loaded,
            Err(CatalogError::NoSuchTable(_)) => return Ok(None),
            Err(error) => return Err(unreadable(&error.into())),
        };
        let state = TableState::read(&loaded).await;
        let state = state.map_err(|error| unreadable(&error))?;
        Ok(Some(health_of(&loaded, &state, &self.deployment, now)))
    }

    async fn preview(
        &self,
        table: &TableId,
        actions: &[Action],
        options: &JobOptions,
    ) -> Vec<Result<Preview, NoPreview>> {
        let until = Instant::now() + self.preview_budget;
        let loaded = match self.load(table, until).await {
            Ok(loaded) => loaded,
            Err(none) => return actions.iter().map(|_| Err(none.clone())).collect(),
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
