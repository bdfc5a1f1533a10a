//! Failures of use cases, as opposed to refusals: something behind a port did not work.

use crate::ports::{CatalogUnavailable, StoreError, Written};

/// A use case could not be carried out. Nothing is half done; trying again is safe.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store or queue failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogUnavailable),
    /// Other writers came first too many times.
    #[error("too many concurrent changes to this table; try again")]
    Contended,
}

/// Races a use case may lose before it gives up: far above what a table's few writers can cause.
const MAX_RACES: u32 = 20;

/// Counts the races one use case has lost.
#[derive(Debug, Default)]
pub(crate) struct Races(u32);

impl Races {
    /// Whether the write was applied; `Ok(false)` asks the caller to read and decide again.
    ///
    /// # Errors
    /// [`Failure::Contended`] after [`MAX_RACES`] lost races.
    pub(crate) fn won(&mut self, written: Written) -> Result<bool, Failure> {
        match written {
            Written::Applied => Ok(true),
            Written::LostRace if self.0 >= MAX_RACES => Err(Failure::Contended),
            Written::LostRace => {
                self.0 += 1;
                Ok(false)
            }
        }
    }
}
