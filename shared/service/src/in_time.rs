//! Reads of one table, given up when they take too long: a table that never answers must not outlast whoever asks.

use std::time::Duration;

use snowpack_domain::{CacheEntry, TableHealth, TableId};
use tokio::time::timeout;

use crate::ports::{CatalogUnavailable, HealthUnreadable, Tables};

/// How long a table may take to be found: one call to the catalog and one metadata file. Less than what schedules keep
/// of their time, and than a caller of the API waits.
const LONGEST_FIND: Duration = Duration::from_secs(20);
/// How long the metadata of a table's live files may take: less than what schedules keep of their time.
const LONGEST_READ: Duration = Duration::from_secs(30);

/// [`Tables::find`] in time.
pub(crate) async fn find<T: Tables>(
    tables: &T,
    table: &TableId,
) -> Result<Option<CacheEntry>, CatalogUnavailable> {
    let found = timeout(LONGEST_FIND, tables.find(table)).await;
    found.unwrap_or_else(|_elapsed| Err(took_too_long(table, LONGEST_FIND)))
}

/// [`Tables::health`] in time.
pub(crate) async fn health<T: Tables>(
    tables: &T,
    table: &TableId,
) -> Result<Option<TableHealth>, HealthUnreadable> {
    let read = timeout(LONGEST_READ, tables.health(table)).await;
    read.unwrap_or_else(|_elapsed| Err(took_too_long(table, LONGEST_READ).into()))
}

fn took_too_long(table: &TableId, limit: Duration) -> CatalogUnavailable {
    let seconds = limit.as_secs();
    CatalogUnavailable(format!("the metadata of {table} was not read within {seconds} s"))
}
