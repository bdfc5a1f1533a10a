//! The catalog port: load a table's newest metadata and commit a change to it by compare-and-set.

use std::future::Future;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use iceberg::{TableRequirement, TableUpdate};
use snowpack_domain::TableId;

/// A table as the catalog had it at one instant.
#[derive(Clone, Debug)]
pub struct LoadedTable {
    /// Its name.
    pub id: TableId,
    /// Its metadata.
    pub metadata: Arc<TableMetadata>,
    /// The file the metadata was read from, as the catalog spells it.
    pub metadata_location: String,
    /// Reads and writes the table's files.
    pub io: FileIO,
    /// What a commit is conditional on besides its requirements.
    pub(crate) token: CommitToken,
}

impl LoadedTable {
    /// A table of a catalog outside this crate; its commits are conditional on the metadata location.
    pub fn new(id: TableId, metadata: Arc<TableMetadata>, metadata_location: String, io: FileIO) -> Self {
        Self {
            id,
            metadata,
            metadata_location,
            io,
            token: CommitToken::MetadataLocation,
        }
    }
}

/// The compare half of a commit's compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommitToken {
    /// The metadata location must be unchanged (SQL).
    MetadataLocation,
    /// Glue's `VersionId` must be unchanged.
    GlueVersion(String),
    /// The server checks the requirements (REST).
    Requirements,
}

/// A change to a table: what must hold, and what to do. The REST specification's `CommitTableRequest`.
#[derive(Clone, Debug, Default)]
pub struct TableChange {
    /// What must hold of the stored metadata.
    pub requirements: Vec<TableRequirement>,
    /// The updates, in order.
    pub updates: Vec<TableUpdate>,
}

/// Why a catalog could not answer. The variant tells the caller what to do.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No such table: it was dropped, or never existed.
    #[error("table {0} does not exist in the catalog")]
    NoSuchTable(String),
    /// The metadata file is missing or cannot be read.
    #[error("the metadata of {table} at {location} cannot be used: {reason}")]
    BadMetadata {
        /// The table.
        table: String,
        /// The metadata file.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something this catalog or engine cannot work with, for example a view.
    #[error("{0}")]
    Unsupported(String),
    /// Configuration is missing or contradicts itself.
    #[error("catalog configuration: {0}")]
    Configuration(String),
    /// Credentials or permissions.
    #[error("the catalog denied access: {0}")]
    AccessDenied(String),
    /// Unreachable, throttled or failing: may pass by itself.
    #[error("the catalog is not available: {0}")]
    Unavailable(String),
}

impl CatalogError {
    /// Whether the cause may pass by itself.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// How a commit failed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another commit came first or a requirement does not hold: reload, validate, try again.
    #[error("another writer committed first: {0}")]
    Conflict(String),
    /// It may or may not have been applied: reload and look for the new snapshot.
    #[error("whether the commit was applied is unknown: {0}")]
    Unknown(String),
    /// It was not applied, for a reason that is none of the above.
    #[error(transparent)]
    Failed(#[from] CatalogError),
}

/// A catalog of Iceberg tables.
pub trait Catalog: Send + Sync + 'static {
    /// Loads a table's newest metadata.
    fn load(&self, table: &TableId) -> impl Future<Output = Result<LoadedTable, CatalogError>> + Send;

    /// Applies a change on top of `base` if the catalog still has `base` (or, with REST, if the requirements
    /// hold) and returns the table as committed.
    ///
    /// New metadata is written to a fresh file before the compare-and-set, and removed again if that
    /// certainly failed. Obeys `write.metadata.previous-versions-max`, `write.metadata.delete-after-commit.enabled`,
    /// `write.metadata.path` and `write.metadata.compression-codec`.
    fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> impl Future<Output = Result<LoadedTable, CommitError>> + Send;

    /// Every database, nested ones joined with dots.
    fn databases(&self) -> impl Future<Output = Result<Vec<String>, CatalogError>> + Send;

    /// The Iceberg tables of one database, views left out. A name that Snowpack cannot address is left out.
    fn tables(&self, database: &str) -> impl Future<Output = Result<Vec<TableId>, CatalogError>> + Send;
}
