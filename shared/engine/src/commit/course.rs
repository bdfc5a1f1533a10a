//! The attempts of one commit, and which of them the catalog's answers left in doubt.

use snowpack_catalog::LoadedTable;

use super::mark::{Fate, Sent};
use super::retry::Retries;
use crate::delete::discard_uncommitted;

/// The attempts of one commit so far.
pub(super) struct Course<'a, S, T> {
    pub(super) retries: Retries<'a, S>,
    /// Compare-and-sets lost to other writers.
    pub(super) conflicts: u64,
    /// Attempts of which it is not certain that they were not applied. Their files stay.
    pub(super) doubts: Vec<Sent<T>>,
}

impl<'a, S, T> Course<'a, S, T> {
    pub(super) fn new(retries: Retries<'a, S>) -> Self {
        Self {
            retries,
            conflicts: 0,
            doubts: Vec::new(),
        }
    }

    /// Takes the attempt that `table` shows to be applied. Files of those that never will be are removed.
    pub(super) async fn judge(&mut self, table: &LoadedTable) -> Option<Sent<T>> {
        let mut applied = None;
        for sent in std::mem::take(&mut self.doubts) {
            match sent.fate(table) {
                Fate::Applied => applied = Some(sent),
                Fate::Refused => discard_uncommitted(&sent.base.io, &sent.written).await,
                Fate::Open => self.doubts.push(sent),
            }
        }
        applied
    }
}
