//! A table bucket of S3 Tables as a catalog: the service keeps the metadata location of each table, and changes it
//! only for who knows the version token it had with the old one.

mod client;

use std::fmt;

use aws_sdk_s3tables::Client;
use aws_sdk_s3tables::config::retry::RetryConfig;
use iceberg::io::FileIO;
use snowpack_domain::{ListedTable, TableId};

use crate::aws::{Failure, commit_error, read_error};
use crate::config::CatalogConfig;
use crate::metadata::{self, Staged};
use crate::port::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};

/// A table bucket.
#[derive(Clone)]
pub struct S3TablesCatalog {
    client: Client,
    /// The bucket's ARN.
    bucket: String,
    io: FileIO,
}

/// Where a table is, and what moves it.
struct Pointer {
    location: String,
    token: String,
}

/// How the compare-and-set of a commit failed.
enum SwapError {
    /// Not applied: the new metadata file can go.
    Certain(CommitError),
    /// It may have been applied: the new metadata file must stay.
    Open(CommitError),
}

/// Leaves out what may hold credentials.
impl fmt::Debug for S3TablesCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3TablesCatalog")
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

impl S3TablesCatalog {
    pub(crate) async fn open(config: &CatalogConfig, io: FileIO) -> Result<Self, CatalogError> {
        let (client, bucket) = client::connect(config).await?;
        Ok(Self { client, bucket, io })
    }

    async fn find(&self, table: &TableId) -> Result<Pointer, CatalogError> {
        // Namespaces of table buckets are flat.
        if table.database.levels().count() > 1 {
            return Err(CatalogError::NoSuchTable(table.to_string()));
        }
        let answer = self
            .client
            .get_table_metadata_location()
            .table_bucket_arn(&self.bucket)
            .namespace(table.database.as_str())
            .name(table.table.as_str())
            .send()
            .await;
        let found = answer.map_err(|error| read_error(Failure::from(error), table))?;
        let location = found.metadata_location.ok_or_else(|| CatalogError::BadMetadata {
            table: table.to_string(),
            location: "none".to_owned(),
            reason: "the table bucket holds no metadata location for it".to_owned(),
        })?;
        Ok(Pointer {
            location,
            token: found.version_token,
        })
    }

    /// Points the table at new metadata if it still is at `base`.
    async fn swap(&self, base: &LoadedTable, staged: &Staged) -> Result<(), SwapError> {
        let found = self.find(&base.id).await;
        let found = found.map_err(|error| SwapError::Certain(error.into()))?;
        if found.location != base.metadata_location {
            let reason = format!("{} is no longer at {}", base.id, base.metadata_location);
            return Err(SwapError::Certain(CommitError::Conflict(reason)));
        }
        // A retry of an update whose answer was lost would meet our own change and call it a conflict.
        let once = aws_sdk_s3tables::Config::builder().retry_config(RetryConfig::disabled());
        let request = self.client.update_table_metadata_location();
        let answer = request
            .table_bucket_arn(&self.bucket)
            .namespace(base.id.database.as_str())
            .name(base.id.table.as_str())
            .version_token(&found.token)
            .metadata_location(staged.location())
            .customize()
            .config_override(once)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => match commit_error(Failure::from(error), &base.id) {
                error @ CommitError::Unknown(_) => Err(SwapError::Open(error)),
                error @ CommitError::Conflict(_) => self.conflicted(base, staged, &found.token, error).await,
                error => Err(SwapError::Certain(error)),
            },
        }
    }

    /// What a conflict means: a request that was sent twice on its way conflicts with itself, and one that conflicts
    /// with nothing may still be at work.
    async fn conflicted(
        &self,
        base: &LoadedTable,
        staged: &Staged,
        token: &str,
        error: CommitError,
    ) -> Result<(), SwapError> {
        match self.find(&base.id).await {
            Ok(found) if found.location == staged.location() => Ok(()),
            Ok(found) if found.token != token => Err(SwapError::Certain(error)),
            _ => Err(SwapError::Open(error)),
        }
    }
}

impl Catalog for S3TablesCatalog {
    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let found = self.find(table).await?;
        metadata::load(table, &found.location, &self.io).await
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
        let request = self.client.list_namespaces().table_bucket_arn(&self.bucket);
        let mut names = Vec::new();
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| read_error(Failure::from(error), &"namespaces"))?;
            names.extend(page.namespaces.iter().map(|found| found.namespace.join(".")));
        }
        Ok(names)
    }

    async fn tables(&self, database: &str) -> Result<Vec<ListedTable>, CatalogError> {
        let request = self.client.list_tables().table_bucket_arn(&self.bucket);
        let mut tables = Vec::new();
        let mut pages = request.namespace(database).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = match page.map_err(Failure::from) {
                Ok(page) => page,
                // Dropped since it was listed.
                Err(failure) if failure.is_not_found() => return Ok(Vec::new()),
                Err(failure) => return Err(read_error(failure, &database)),
            };
            let named = page
                .tables
                .iter()
                .filter_map(|table| TableId::new(database, table.name()).ok());
            // The service tells where a table is only one by one.
            tables.extend(named.map(|table| ListedTable {
                table,
                metadata_location: None,
            }));
        }
        Ok(tables)
    }
}
