//! Failures of use cases, as opposed to refusals: something behind a port did not work.

use crate::ports::{CatalogUnavailable, HealthUnreadable, RemoteError, StoreError};

/// A use case could not be carried out. Nothing is half done; trying again is safe.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store or queue failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogUnavailable),
    /// A table's metadata cannot be used; the reason names table and file.
    #[error("{0}")]
    Unreadable(String),
    /// A run elsewhere could not be stopped.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Other writers came first too many times.
    #[error("too many concurrent changes to this table; try again")]
    Contended,
}

impl From<HealthUnreadable> for Failure {
    fn from(error: HealthUnreadable) -> Self {
        match error {
            HealthUnreadable::Unavailable(error) => error.into(),
            HealthUnreadable::Broken(reason) => Self::Unreadable(reason),
        }
    }
}
