//! The catalog port: load a table's newest metadata and commit a change to it by compare-and-set.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{SnapshotReference, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use snowpack_domain::{ListedTable, TableId};

use crate::metadata::{self, Document, written_form};
use crate::storage::{self, Listing, ObjectStorage};

/// A table as the catalog had it at one instant.
#[derive(Clone)]
pub struct LoadedTable {
    /// Its name.
    pub id: TableId,
    /// Its metadata.
    pub metadata: Arc<TableMetadata>,
    /// The file the metadata was read from, as the catalog spells it.
    pub metadata_location: String,
    /// Reads and writes the table's files.
    pub io: FileIO,
    /// Its branches and tags.
    pub(crate) refs: Arc<BTreeMap<String, SnapshotReference>>,
    /// The text of its metadata, which says more than `metadata` can hold. Empty where only a server writes it.
    pub(crate) raw: Bytes,
    /// Lists the table's objects, where it has any.
    objects: Option<Arc<dyn ObjectStorage>>,
}

impl LoadedTable {
    /// A table of a catalog outside this crate. Of a v1 table only `main` is known to its `refs`.
    pub fn new(id: TableId, metadata: Arc<TableMetadata>, metadata_location: String, io: FileIO) -> Self {
        let (raw, refs) = written_form(&metadata);
        Self {
            id,
            metadata,
            metadata_location,
            io,
            refs: Arc::new(refs),
            raw: raw.to_string().into(),
            objects: None,
        }
    }

    pub(crate) fn from_document(
        id: TableId,
        metadata_location: String,
        document: Document,
        io: FileIO,
    ) -> Self {
        Self {
            id,
            metadata: Arc::new(document.metadata),
            metadata_location,
            io,
            refs: Arc::new(document.refs),
            raw: Bytes::new(),
            objects: None,
        }
    }

    /// The same with the text its metadata was read from.
    pub(crate) fn with_raw(mut self, raw: Bytes) -> Self {
        self.raw = raw;
        self
    }

    /// The same, its objects listed by `objects`.
    pub fn with_objects(mut self, objects: Option<Arc<dyn ObjectStorage>>) -> Self {
        self.objects = objects;
        self
    }

    /// What lists its objects.
    pub(crate) fn objects(&self) -> Option<&Arc<dyn ObjectStorage>> {
        self.objects.as_ref()
    }

    /// Every file below a folder, with the access the catalog gives to this table.
    pub fn list(&self, folder: &str) -> Listing {
        storage::list(self.objects.as_deref(), self.io.config(), folder)
    }

    /// The table as an older metadata file has it; `None` when there is no such file any more.
    ///
    /// # Errors
    /// [`CatalogError`] when the file cannot be read, or not be understood.
    pub async fn at(&self, metadata_location: &str) -> Result<Option<Self>, CatalogError> {
        let older = metadata::load(&self.id, metadata_location, &self.io).await;
        match older {
            Ok(older) => Ok(Some(older.with_objects(self.objects.clone()))),
            Err(error) => match self.io.exists(metadata_location).await {
                Ok(false) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Its branches and tags by name, `main` included once the table has a snapshot.
    ///
    /// `TableMetadata` cannot list them, and `TableMetadata::snapshot_for_ref` does not know those of v1 tables.
    pub fn refs(&self) -> &BTreeMap<String, SnapshotReference> {
        &self.refs
    }
}

/// Leaves out `io`, whose properties may hold credentials.
impl fmt::Debug for LoadedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedTable")
            .field("id", &self.id)
            .field("metadata_location", &self.metadata_location)
            .finish_non_exhaustive()
    }
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
    /// The change, or the request for it, is not one that can be applied to this table.
    #[error("{0}")]
    Rejected(String),
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
    fn tables(&self, database: &str) -> impl Future<Output = Result<Vec<ListedTable>, CatalogError>> + Send;
}
