//! Opening the catalog a configuration names, whatever its kind.

use std::sync::Arc;

use iceberg::io::{FileIO, FileIOBuilder, StorageFactory};
use snowpack_domain::TableId;

use crate::config::{CatalogConfig, CatalogKind};
use crate::glue::GlueCatalog;
use crate::port::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};
use crate::rest::RestCatalog;
use crate::sql::SqlCatalog;
use crate::storage::DispatchFactory;

/// A catalog of any kind.
#[derive(Clone, Debug)]
pub enum AnyCatalog {
    /// Tables in a SQL database.
    Sql(SqlCatalog),
    /// A REST server.
    Rest(RestCatalog),
    /// AWS Glue.
    Glue(GlueCatalog),
}

/// Opens a catalog. `objects` serves `s3:` locations; without it, only local tables can be used.
///
/// A REST server or Glue is not contacted yet: it may be down when a worker starts and up when it is needed.
///
/// # Errors
/// [`CatalogError::Configuration`] for what can be told to be wrong, a missing SQLite file among it.
pub async fn open(
    config: &CatalogConfig,
    objects: Option<Arc<dyn StorageFactory>>,
) -> Result<AnyCatalog, CatalogError> {
    let factory: Arc<dyn StorageFactory> = Arc::new(DispatchFactory::new(objects));
    let io = file_io(&factory, config);
    match config.kind {
        CatalogKind::Sql => SqlCatalog::open(config, io).await.map(AnyCatalog::Sql),
        CatalogKind::Rest => RestCatalog::open(config, factory).map(AnyCatalog::Rest),
        CatalogKind::Glue => GlueCatalog::open(config, io).await.map(AnyCatalog::Glue),
    }
}

/// The storage all tables of a catalog share.
fn file_io(factory: &Arc<dyn StorageFactory>, config: &CatalogConfig) -> FileIO {
    FileIOBuilder::new(Arc::clone(factory))
        .with_props(config.storage_properties())
        .build()
}

impl Catalog for AnyCatalog {
    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        match self {
            Self::Sql(catalog) => catalog.load(table).await,
            Self::Rest(catalog) => catalog.load(table).await,
            Self::Glue(catalog) => catalog.load(table).await,
        }
    }

    async fn commit(&self, base: &LoadedTable, change: TableChange) -> Result<LoadedTable, CommitError> {
        match self {
            Self::Sql(catalog) => catalog.commit(base, change).await,
            Self::Rest(catalog) => catalog.commit(base, change).await,
            Self::Glue(catalog) => catalog.commit(base, change).await,
        }
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogError> {
        match self {
            Self::Sql(catalog) => catalog.databases().await,
            Self::Rest(catalog) => catalog.databases().await,
            Self::Glue(catalog) => catalog.databases().await,
        }
    }

    async fn tables(&self, database: &str) -> Result<Vec<TableId>, CatalogError> {
        match self {
            Self::Sql(catalog) => catalog.tables(database).await,
            Self::Rest(catalog) => catalog.tables(database).await,
            Self::Glue(catalog) => catalog.tables(database).await,
        }
    }
}
