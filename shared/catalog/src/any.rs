//! Opening the catalog a configuration names, whatever its kind.

use std::sync::Arc;

use iceberg::io::{FileIO, FileIOBuilder, StorageFactory};
use snowpack_domain::{ListedTable, TableId};

use crate::config::{CatalogConfig, CatalogKind};
use crate::glue::GlueCatalog;
use crate::port::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};
use crate::rest::RestCatalog;
use crate::s3tables::S3TablesCatalog;
use crate::sql::SqlCatalog;
use crate::storage::{DispatchFactory, ObjectStorage};

/// A catalog of any kind, and the object storage its tables are listed in.
#[derive(Clone, Debug)]
pub struct AnyCatalog {
    adapter: Adapter,
    objects: Option<Arc<dyn ObjectStorage>>,
}

#[derive(Clone, Debug)]
enum Adapter {
    Sql(SqlCatalog),
    Rest(RestCatalog),
    Glue(GlueCatalog),
    S3Tables(S3TablesCatalog),
}

/// Opens a catalog. `objects` serves `s3:` locations; without it, only local tables can be used.
///
/// A REST server or AWS service is not contacted yet: it may be down when a worker starts and up when it is needed.
///
/// # Errors
/// [`CatalogError::Configuration`] for what can be told to be wrong, a missing SQLite file among it.
pub async fn open(
    config: &CatalogConfig,
    objects: Option<Arc<dyn ObjectStorage>>,
) -> Result<AnyCatalog, CatalogError> {
    let served = objects.clone().map(|objects| objects as Arc<dyn StorageFactory>);
    let factory: Arc<dyn StorageFactory> = Arc::new(DispatchFactory::new(served));
    let io = file_io(&factory, config);
    let adapter = match config.kind {
        CatalogKind::Sql => Adapter::Sql(SqlCatalog::open(config, io).await?),
        CatalogKind::Rest => Adapter::Rest(RestCatalog::open(config, objects.clone()).await?),
        CatalogKind::Glue => Adapter::Glue(GlueCatalog::open(config, io).await?),
        CatalogKind::S3Tables => Adapter::S3Tables(S3TablesCatalog::open(config, io).await?),
    };
    Ok(AnyCatalog { adapter, objects })
}

impl AnyCatalog {
    /// The catalog itself when it is kept in a SQL database; others create no tables.
    pub fn sql(&self) -> Option<&SqlCatalog> {
        match &self.adapter {
            Adapter::Sql(catalog) => Some(catalog),
            _ => None,
        }
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
        let loaded = match &self.adapter {
            Adapter::Sql(catalog) => catalog.load(table).await,
            // It hands out access of its own.
            Adapter::Rest(catalog) => return catalog.load(table).await,
            Adapter::Glue(catalog) => catalog.load(table).await,
            Adapter::S3Tables(catalog) => catalog.load(table).await,
        };
        loaded.map(|table| table.with_objects(self.objects.clone()))
    }

    async fn commit(&self, base: &LoadedTable, change: TableChange) -> Result<LoadedTable, CommitError> {
        let committed = match &self.adapter {
            Adapter::Sql(catalog) => catalog.commit(base, change).await,
            Adapter::Rest(catalog) => return catalog.commit(base, change).await,
            Adapter::Glue(catalog) => catalog.commit(base, change).await,
            Adapter::S3Tables(catalog) => catalog.commit(base, change).await,
        };
        committed.map(|table| table.with_objects(self.objects.clone()))
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogError> {
        match &self.adapter {
            Adapter::Sql(catalog) => catalog.databases().await,
            Adapter::Rest(catalog) => catalog.databases().await,
            Adapter::Glue(catalog) => catalog.databases().await,
            Adapter::S3Tables(catalog) => catalog.databases().await,
        }
    }

    async fn tables(&self, database: &str) -> Result<Vec<ListedTable>, CatalogError> {
        match &self.adapter {
            Adapter::Sql(catalog) => catalog.tables(database).await,
            Adapter::Rest(catalog) => catalog.tables(database).await,
            Adapter::Glue(catalog) => catalog.tables(database).await,
            Adapter::S3Tables(catalog) => catalog.tables(database).await,
        }
    }
}
