//! What Snowpack remembers of tables: the cache behind the 404, and the drain switch.

use std::collections::{BTreeMap, HashMap};

use crate::thresholds::{ENABLED_PROPERTY, SKIP_PROPERTIES, read_flag};
use crate::{OptionError, Properties, SkipCause, TableId, Thresholds, Timestamp};

/// Counts full syncs.
pub type SyncGeneration = u64;

/// A table the catalog is known to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The table.
    pub table: TableId,
    /// Its location, once its metadata was read.
    pub location: Option<String>,
    /// Its newest metadata file as last seen.
    pub metadata_location: Option<String>,
    /// Its format version, once its metadata was read.
    pub format_version: Option<u8>,
    /// Its `snowpack.*`, `history.expire.*`, `write.target-file-size-bytes`, `gc.enabled` and `compaction_skip`
    /// properties.
    pub properties: BTreeMap<String, String>,
    /// The sync that wrote it, or that was running when a request did.
    pub generation: SyncGeneration,
}

impl CacheEntry {
    /// Whether only the table's name is known, because its metadata could not be read: not even whether it wants to be
    /// left alone.
    pub fn is_name_only(&self) -> bool {
        self.location.is_none()
    }

    /// Tri-state enrolment: the property `snowpack.maintenance_enabled` when it is `true` or `false`, in any case.
    pub fn maintenance_enabled(&self) -> Option<bool> {
        self.flag(ENABLED_PROPERTY)
    }

    /// Why the table wants to be left alone, if it does. Its flags alone say so: they count even where another property
    /// cannot be read.
    pub fn opt_out(&self) -> Option<SkipCause> {
        if SKIP_PROPERTIES.iter().any(|skip| self.flag(skip) == Some(true)) {
            Some(SkipCause::CompactionSkip)
        } else if self.maintenance_enabled() == Some(false) {
            Some(SkipCause::OptedOut)
        } else {
            None
        }
    }

    fn flag(&self, property: &str) -> Option<bool> {
        read_flag(self.properties.get(property)?)
    }

    /// The table's thresholds.
    ///
    /// # Errors
    /// [`OptionError`] naming a property that cannot be read.
    pub fn thresholds(&self, deployment: &HashMap<String, String>) -> Result<Thresholds, OptionError> {
        let table = self.properties.clone().into_iter().collect();
        Thresholds::resolve(Properties {
            table: &table,
            deployment,
        })
    }
}

/// A table in a catalog's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTable {
    /// The table.
    pub table: TableId,
    /// Its newest metadata file, if the catalog's list says it. Whoever knows that file need not load the table.
    pub metadata_location: Option<String>,
}

/// How fresh the table cache is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheState {
    /// The newest complete sync.
    pub generation: SyncGeneration,
    /// When it ended.
    pub last_synced: Option<Timestamp>,
    /// Tables it found.
    pub table_count: u64,
    /// Up to which table a sync came that ran out of time; absent when the last one ended.
    pub position: Option<TableId>,
}

/// The drain switch: while on, no job is accepted or claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// Whether it is on.
    pub enabled: bool,
    /// Why, for the people it stops.
    pub reason: Option<String>,
}
