//! Catalogs in a SQL database, as Java's `JdbcCatalog` (schema V0 and V1) and PyIceberg's `SqlCatalog` make
//! them: SQLite or PostgreSQL. The schema is taken as it is and never altered, and the compare-and-set of a
//! commit is an `UPDATE` that names the old metadata location.

mod create;
mod database;
mod postgres;
mod sqlite;

use std::fmt;

use iceberg::TableCreation;
use iceberg::io::FileIO;
use snowpack_domain::{ListedTable, TableId};

use crate::config::{CatalogConfig, SqlAddress};
use crate::metadata::{self, Staged};
use crate::port::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};
pub use create::create_sql_catalog;
use database::{Database, Entry, Swap, SwapError};
use postgres::Postgres;
use sqlite::Sqlite;

/// A catalog in a SQL database.
#[derive(Clone)]
pub struct SqlCatalog {
    database: Database,
    io: FileIO,
}

/// Leaves out what may hold credentials.
impl fmt::Debug for SqlCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlCatalog")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl SqlCatalog {
    pub(crate) async fn open(config: &CatalogConfig, io: FileIO) -> Result<Self, CatalogError> {
        let database = match config.sql_address()? {
            SqlAddress::Sqlite(path) => Database::Sqlite(Sqlite::new(path, config.name.clone())),
            SqlAddress::Postgres(uri) => Database::Postgres(Postgres::new(&uri, config)?),
        };
        database.check().await?;
        Ok(Self { database, io })
    }

    /// Creates a table, for demos and tests. Field ids are assigned afresh.
    ///
    /// # Errors
    /// [`CatalogError::Rejected`] when the table exists or `creation` contradicts itself.
    pub async fn create_table(
        &self,
        table: &TableId,
        creation: TableCreation,
    ) -> Result<LoadedTable, CatalogError> {
        create::create_table(&self.database, table, creation, self.io.clone()).await
    }
}

impl Catalog for SqlCatalog {
    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        match self.database.find(table).await? {
            Some(Entry::Table(location)) => metadata::load(table, &location, &self.io).await,
            Some(Entry::View) => Err(CatalogError::Unsupported(format!("{table} is a view"))),
            Some(Entry::Empty) => Err(CatalogError::BadMetadata {
                table: table.to_string(),
                location: "NULL".to_owned(),
                reason: "the catalog holds no metadata location for it".to_owned(),
            }),
            None => Err(CatalogError::NoSuchTable(table.to_string())),
        }
    }

    async fn commit(&self, base: &LoadedTable, change: TableChange) -> Result<LoadedTable, CommitError> {
        let Some(staged) = Staged::prepare(base, change).await? else {
            return Ok(base.clone());
        };
        let swap = Swap {
            table: base.id.clone(),
            from: base.metadata_location.clone(),
            to: staged.location().to_owned(),
        };
        match self.database.swap(swap).await {
            Ok(()) => Ok(staged.committed().await),
            Err(SwapError::Unknown(reason)) => Err(CommitError::Unknown(format!("{}: {reason}", base.id))),
            Err(SwapError::Moved) => {
                staged.discard().await;
                let reason = format!("{} is no longer at {}", base.id, base.metadata_location);
                Err(CommitError::Conflict(reason))
            }
            Err(SwapError::Certain(error)) => {
                staged.discard().await;
                Err(error.into())
            }
        }
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogError> {
        self.database.namespaces().await
    }

    async fn tables(&self, database: &str) -> Result<Vec<ListedTable>, CatalogError> {
        let rows = self.database.tables(database).await?;
        let listed = |(name, metadata_location): (String, _)| {
            let table = TableId::new(database, &name).ok()?;
            Some(ListedTable {
                table,
                metadata_location,
            })
        };
        Ok(rows.into_iter().filter_map(listed).collect())
    }
}
