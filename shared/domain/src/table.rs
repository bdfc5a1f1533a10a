//! What Snowpack remembers of tables: the cache behind the 404, and the drain switch.

use std::collections::BTreeMap;

use crate::{TableId, Timestamp};

/// Counts full syncs; an entry of an older generation was not seen by the newest one.
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
    /// Its `snowpack.*`, `history.expire.*`, `write.target-file-size-bytes` and `gc.enabled` properties.
    pub properties: BTreeMap<String, String>,
    /// The sync that saw it last.
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
}

/// How fresh the table cache is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheState {
    /// The newest complete sync.
    pub generation: SyncGeneration,
    /// When it ended.
    pub last_synced: Option<Timestamp>,
    /// Tables it found.
    pub table_count: u64,
}

/// The drain switch: while on, no job is accepted or claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// Whether it is on.
    pub enabled: bool,
    /// Why, for the people it stops.
    pub reason: Option<String>,
}
