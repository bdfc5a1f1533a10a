//! Iceberg catalogs: open one, load tables, commit changes. One adapter per kind, one contract for all.
//!
//! - [`open`] gives an [`AnyCatalog`] for a [`CatalogConfig`]; all of them speak the port [`Catalog`].
//! - A commit is a [`TableChange`] on top of a [`LoadedTable`], and fails as a conflict, as unknown, or for sure.
//! - Table files are reached through [`LoadedTable::io`], whatever their location's scheme.

mod any;
mod aws;
mod config;
mod glue;
mod metadata;
mod port;
mod rest;
mod s3tables;
mod scope;
mod sql;
mod storage;

pub use any::{AnyCatalog, open};
pub use aws::{SignError, Signer};
pub use config::{CatalogConfig, CatalogKind, DEFAULT_CATALOG_NAME};
pub use glue::GlueCatalog;
pub use port::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};
pub use rest::{AwsEndpoint, RestCatalog};
pub use s3tables::S3TablesCatalog;
pub use scope::DatabaseScope;
pub use sql::{SqlCatalog, create_sql_catalog};
pub use storage::{
    DispatchFactory, ListedFile, Listing, ObjectStorage, OwnPlaces, is_in_table_bucket, is_not_found,
    normalize_location, write_locations,
};
