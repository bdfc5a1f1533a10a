//! Cached tables as the API shows them (api.md, Tables and health).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use snowpack_domain::{CacheEntry, CacheState};

use crate::time::format_time;

/// An item of `GET /tables`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableBody {
    /// Its database.
    pub database: String,
    /// Its name.
    pub table_name: String,
    /// Its own wish: to be maintained or not; null when it says nothing.
    pub maintenance_enabled: Option<bool>,
    /// Whether the deployment maintains its database by itself.
    pub in_maintenance_allowlist: bool,
}

/// The answer of `GET /tables/{database}/{table}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDetailBody {
    /// What the list shows.
    #[serde(flatten)]
    pub table: TableBody,
    /// Its location; null until its metadata was read.
    pub location: Option<String>,
    /// Its newest metadata file as last seen.
    pub metadata_location: Option<String>,
    /// Its format version.
    pub format_version: Option<u8>,
    /// Its properties that matter to maintenance.
    pub properties: BTreeMap<String, String>,
}

/// The answer of `GET /tables/cache-status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStatusBody {
    /// When the newest complete sync ended; null before the first.
    pub last_synced: Option<String>,
    /// Tables it found.
    pub table_count: u64,
}

impl TableBody {
    /// From a cache entry and whether the deployment's allowlist has its database.
    pub fn new(entry: &CacheEntry, in_maintenance_allowlist: bool) -> Self {
        Self {
            database: entry.table.database.to_string(),
            table_name: entry.table.table.to_string(),
            maintenance_enabled: entry.maintenance_enabled(),
            in_maintenance_allowlist,
        }
    }
}

impl TableDetailBody {
    /// From a cache entry and whether the deployment's allowlist has its database.
    pub fn new(entry: CacheEntry, in_maintenance_allowlist: bool) -> Self {
        Self {
            table: TableBody::new(&entry, in_maintenance_allowlist),
            location: entry.location,
            metadata_location: entry.metadata_location,
            format_version: entry.format_version,
            properties: entry.properties,
        }
    }
}

impl From<CacheState> for CacheStatusBody {
    fn from(state: CacheState) -> Self {
        Self {
            last_synced: state.last_synced.map(format_time),
            table_count: state.table_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snowpack_domain::{TableId, Timestamp};

    #[test]
    fn golden_bodies() {
        let entry = CacheEntry {
            table: TableId::new("a.b", "t").unwrap(),
            location: Some("s3://bucket/t".to_owned()),
            metadata_location: None,
            format_version: Some(2),
            properties: BTreeMap::from([("snowpack.maintenance_enabled".to_owned(), "false".to_owned())]),
            generation: 1,
        };
        assert_eq!(
            serde_json::to_string(&TableBody::new(&entry, true)).unwrap(),
            r#"{"database":"a.b","table_name":"t","maintenance_enabled":false,"in_maintenance_allowlist":true}"#
        );
        assert_eq!(
            serde_json::to_string(&TableDetailBody::new(entry, false)).unwrap(),
            r#"{"database":"a.b","table_name":"t","maintenance_enabled":false,"in_maintenance_allowlist":false,"location":"s3://bucket/t","metadata_location":null,"format_version":2,"properties":{"snowpack.maintenance_enabled":"false"}}"#
        );
        let state = CacheState {
            generation: 3,
            last_synced: Some(Timestamp::from_micros(0)),
            table_count: 7,
            position: None,
        };
        assert_eq!(
            serde_json::to_string(&CacheStatusBody::from(state)).unwrap(),
            r#"{"last_synced":"1970-01-01T00:00:00+00:00","table_count":7}"#
        );
    }
}
