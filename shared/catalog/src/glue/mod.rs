//! AWS Glue as a catalog of Iceberg tables, as Java's `GlueCatalog` keeps them: the metadata location is a
//! parameter of the Glue table, and `UpdateTable` with a `VersionId` is the compare-and-set.

mod client;
mod input;

use std::fmt;

use aws_sdk_glue::Client;
use aws_sdk_glue::config::retry::RetryConfig;
use aws_sdk_glue::types::Table;
use iceberg::io::FileIO;
use snowpack_domain::{ListedTable, TableId};

use crate::aws::{Failure, commit_error, read_error};
use crate::config::CatalogConfig;
use crate::metadata::{self, Staged};
use crate::port::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};
use input::{METADATA_LOCATION, is_iceberg, table_input};

/// AWS Glue.
#[derive(Clone)]
pub struct GlueCatalog {
    client: Client,
    /// The account whose catalog it is; the caller's own when absent.
    catalog_id: Option<String>,
    io: FileIO,
}

/// What Glue calls a view, whoever made it.
const VIEW: &str = "VIRTUAL_VIEW";

/// How the compare-and-set of a commit failed.
enum SwapError {
    /// Not applied: the new metadata file can go.
    Certain(CommitError),
    /// It may have been applied: the new metadata file must stay.
    Open(CommitError),
}

/// Leaves out what may hold credentials.
impl fmt::Debug for GlueCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlueCatalog").finish_non_exhaustive()
    }
}

impl GlueCatalog {
    pub(crate) async fn open(config: &CatalogConfig, io: FileIO) -> Result<Self, CatalogError> {
        Ok(Self {
            client: client::connect(config).await?,
            catalog_id: config.property("glue.id").map(str::to_owned),
            io,
        })
    }

    /// The Iceberg table of that name. One of another kind counts as none (`checkIfTableIsIceberg`).
    async fn find(&self, table: &TableId) -> Result<Table, CatalogError> {
        let missing = || CatalogError::NoSuchTable(table.to_string());
        // Glue's databases are flat.
        if table.database.levels().count() > 1 {
            return Err(missing());
        }
        let request = self.client.get_table().set_catalog_id(self.catalog_id.clone());
        let answer = request
            .database_name(table.database.as_str())
            .name(table.table.as_str())
            .send()
            .await;
        let found = answer
            .map_err(|error| read_error(Failure::from(error), table))?
            .table;
        match found {
            Some(view) if view.table_type() == Some(VIEW) => {
                Err(CatalogError::Unsupported(format!("{table} is a view")))
            }
            found => found.filter(is_iceberg).ok_or_else(missing),
        }
    }

    /// Points the Glue table at new metadata if it still is at `base`.
    async fn swap(&self, base: &LoadedTable, staged: &Staged) -> Result<(), SwapError> {
        let certain = |error: CommitError| SwapError::Certain(error);
        let found = self.find(&base.id).await.map_err(|error| certain(error.into()))?;
        if location(&found) != Some(base.metadata_location.as_str()) {
            let reason = format!("{} is no longer at {}", base.id, base.metadata_location);
            return Err(certain(CommitError::Conflict(reason)));
        }
        let Some(version) = found.version_id().map(str::to_owned) else {
            let reason = format!(
                "Glue gave no VersionId for {}: without it no commit is safe",
                base.id
            );
            return Err(certain(CatalogError::Unsupported(reason).into()));
        };
        let input = table_input(found, staged, &base.metadata_location);
        let input = input.map_err(|error| certain(error.into()))?;
        // A retry of an update whose answer was lost would meet our own change and call it a conflict.
        let once = aws_sdk_glue::Config::builder().retry_config(RetryConfig::disabled());
        let request = self.client.update_table().set_catalog_id(self.catalog_id.clone());
        let request = request
            .database_name(base.id.database.as_str())
            .table_input(input);
        let answer = request
            .version_id(&version)
            .skip_archive(true)
            .customize()
            .config_override(once)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => match commit_error(Failure::from(error), &base.id) {
                error @ CommitError::Unknown(_) => Err(SwapError::Open(error)),
                error @ CommitError::Conflict(_) => self.conflicted(base, staged, &version, error).await,
                error => Err(certain(error)),
            },
        }
    }

    /// What a conflict means: a request that was sent twice on its way conflicts with itself, and one that conflicts
    /// with nothing may still be at work.
    async fn conflicted(
        &self,
        base: &LoadedTable,
        staged: &Staged,
        version: &str,
        error: CommitError,
    ) -> Result<(), SwapError> {
        match self.find(&base.id).await {
            Ok(found) if location(&found) == Some(staged.location()) => Ok(()),
            Ok(found) if found.version_id() != Some(version) => Err(SwapError::Certain(error)),
            _ => Err(SwapError::Open(error)),
        }
    }
}

impl Catalog for GlueCatalog {
    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let found = self.find(table).await?;
        let location = location(&found).ok_or_else(|| CatalogError::BadMetadata {
            table: table.to_string(),
            location: "none".to_owned(),
            reason: format!("the Glue table has no parameter {METADATA_LOCATION}"),
        })?;
        metadata::load(table, location, &self.io).await
    }

    async fn commit(&self, base: &LoadedTable, change: TableChange) -> Result<LoadedTable, CommitError> {
        let Some(staged) = Staged::prepare(base, change).await? else {
            return Ok(base.clone());
        };
        match self.swap(base, &staged).await {
            Ok(()) => Ok(staged.committed().await),
            Err(SwapError::Open(error)) => Err(error),
            Err(SwapError::Certain(error)) => {
                staged.discard().await;
                Err(error)
            }
        }
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogError> {
        let request = self
            .client
            .get_databases()
            .set_catalog_id(self.catalog_id.clone());
        let mut names = Vec::new();
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| read_error(Failure::from(error), &"databases"))?;
            names.extend(page.database_list.into_iter().map(|database| database.name));
        }
        Ok(names)
    }

    async fn tables(&self, database: &str) -> Result<Vec<ListedTable>, CatalogError> {
        let request = self
            .client
            .get_tables()
            .set_catalog_id(self.catalog_id.clone())
            .database_name(database);
        let mut tables = Vec::new();
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = match page.map_err(Failure::from) {
                Ok(page) => page,
                // Dropped since it was listed.
                Err(failure) if failure.is_not_found() => return Ok(Vec::new()),
                Err(failure) => return Err(read_error(failure, &database)),
            };
            let found = page.table_list.unwrap_or_default().into_iter().filter(is_iceberg);
            tables.extend(found.filter_map(|table| listed(database, &table)));
        }
        Ok(tables)
    }
}

fn listed(database: &str, table: &Table) -> Option<ListedTable> {
    Some(ListedTable {
        table: TableId::new(database, table.name()).ok()?,
        metadata_location: location(table).map(str::to_owned),
    })
}

fn location(table: &Table) -> Option<&str> {
    table.parameters()?.get(METADATA_LOCATION).map(String::as_str)
}
