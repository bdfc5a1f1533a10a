//! Iceberg catalogs: open one, load tables, commit changes. One adapter per kind, one contract for all.

mod port;

pub use port::{Catalog, CatalogError, CommitError, LoadedTable, TableChange};
pub(crate) use port::CommitToken;
