//! A database that holds SQL catalogs, whichever it is, and what every one of them answers.

use snowpack_domain::TableId;

use super::postgres::Postgres;
use super::sqlite::Sqlite;
use crate::config::configuration;
use crate::port::CatalogError;

/// The table of namespaces; PyIceberg and Java make it, but a catalog works without it.
pub(super) const NAMESPACES: &str = "iceberg_namespace_properties";
/// The longest metadata location that Java's schema has room for.
const MAX_LOCATION: usize = 1000;

/// What the catalog has under a name.
#[derive(Debug)]
pub(super) enum Entry {
    /// A table with its metadata location.
    Table(String),
    /// A table without one.
    Empty,
    /// A view.
    View,
}

/// A change of a table's metadata location.
#[derive(Debug)]
pub(super) struct Swap {
    pub(super) table: TableId,
    pub(super) from: String,
    pub(super) to: String,
}

/// How a swap failed.
#[derive(Debug)]
pub(super) enum SwapError {
    /// The table is at another location now.
    Moved,
    /// It may have been applied.
    Unknown(String),
    /// It was not applied.
    Certain(CatalogError),
}

impl From<CatalogError> for SwapError {
    fn from(error: CatalogError) -> Self {
        Self::Certain(error)
    }
}

/// A database.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Database {
    /// Checks that it holds a catalog and, unless that is empty, one of the right name. A server that is down
    /// now may be up when it is needed.
    pub(super) async fn check(&self) -> Result<(), CatalogError> {
        match self {
            Self::Sqlite(file) => file.check().await,
            Self::Postgres(server) => match server.check().await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "the catalog could not be checked");
                    Ok(())
                }
                checked => checked,
            },
        }
    }

    pub(super) async fn find(&self, table: &TableId) -> Result<Option<Entry>, CatalogError> {
        match self {
            Self::Sqlite(file) => file.find(table).await,
            Self::Postgres(server) => server.find(table).await,
        }
    }

    /// Moves the table's pointer if it is still where it was.
    pub(super) async fn swap(&self, swap: Swap) -> Result<(), SwapError> {
        if swap.to.len() > MAX_LOCATION {
            let reason = format!(
                "the metadata location {} is longer than {MAX_LOCATION} bytes",
                swap.to
            );
            return Err(CatalogError::Rejected(reason).into());
        }
        match self {
            Self::Sqlite(file) => file.swap(swap).await,
            Self::Postgres(server) => server.swap(&swap).await,
        }
    }

    /// Adds a table to a catalog of schema V1; it must not exist.
    pub(super) async fn insert(&self, table: &TableId, location: &str) -> Result<(), CatalogError> {
        match self {
            Self::Sqlite(file) => file.insert(table, location).await,
            Self::Postgres(server) => server.insert(table, location).await,
        }
    }

    pub(super) async fn namespaces(&self) -> Result<Vec<String>, CatalogError> {
        match self {
            Self::Sqlite(file) => file.namespaces().await,
            Self::Postgres(server) => server.namespaces().await,
        }
    }

    /// Names and metadata locations of a namespace's tables.
    pub(super) async fn tables(
        &self,
        namespace: &str,
    ) -> Result<Vec<(String, Option<String>)>, CatalogError> {
        match self {
            Self::Sqlite(file) => file.tables(namespace.to_owned()).await,
            Self::Postgres(server) => server.tables(namespace).await,
        }
    }
}

/// What a list says of a row: nothing of views.
pub(super) fn listed((name, entry): (String, Entry)) -> Option<(String, Option<String>)> {
    match entry {
        Entry::Table(location) => Some((name, Some(location))),
        Entry::Empty => Some((name, None)),
        Entry::View => None,
    }
}

/// Checks that a database with these catalogs has one of that name, or none yet.
pub(super) fn check_name(place: &str, name: &str, found: &[String]) -> Result<(), CatalogError> {
    if found.is_empty() || found.iter().any(|found| found == name) {
        return Ok(());
    }
    Err(configuration(format!(
        "{place} has no catalog named {name:?}; it has: {}",
        found.join(", ")
    )))
}
