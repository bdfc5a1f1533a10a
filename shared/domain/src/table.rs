//! What Snowpack remembers of tables: the cache behind the 404, and the drain switch.

use std::collections::{BTreeMap, HashMap};

use crate::{OptionError, Properties, TableId, Thresholds, Timestamp};

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
    /// Tri-state enrolment: the property `snowpack.maintenance_enabled` when it is `true` or `false`.
    pub fn maintenance_enabled(&self) -> Option<bool> {
        match self.properties.get("snowpack.maintenance_enabled")?.trim() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
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
