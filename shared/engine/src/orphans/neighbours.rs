//! Asks the catalog where its other tables are.

use futures::StreamExt;
use snowpack_catalog::{Catalog, CatalogError};
use snowpack_domain::TableId;

use super::identity::Names;
use super::places::{Neighbours, places_of};

/// Most tables asked after: what a deployment is made for. Beyond them, a table inside another one's location is
/// known by its metadata files only.
const MOST_TABLES: usize = 10_000;
/// Tables loaded at once: enough to hide an object store's latency, few enough for small memory.
const LOADS: usize = 16;

/// Finds the locations of all tables but `own`. One that cannot be loaded is unknown.
///
/// # Errors
/// [`CatalogError`] when the catalog cannot list its tables.
pub(crate) async fn find<C: Catalog>(
    catalog: &C,
    own: &TableId,
    names: &Names,
) -> Result<Neighbours, CatalogError> {
    let mut tables = Vec::new();
    for database in catalog.databases().await? {
        tables.extend(catalog.tables(&database).await?);
        if tables.len() > MOST_TABLES {
            break;
        }
    }
    let mut neighbours = Neighbours {
        some_unknown: tables.len() > MOST_TABLES,
        ..Neighbours::default()
    };
    tables.truncate(MOST_TABLES);
    tables.retain(|table| table != own);
    let load = |table: TableId| async move {
        let loaded = catalog.load(&table).await;
        (table, loaded)
    };
    let mut loads = std::pin::pin!(futures::stream::iter(tables).map(load).buffer_unordered(LOADS));
    while let Some((table, loaded)) = loads.next().await {
        match loaded {
            Ok(loaded) => {
                let places = places_of(&loaded.metadata, names);
                let places = places.into_iter().map(|place| (table.to_string(), place.uri));
                neighbours.places.extend(places);
            }
            Err(CatalogError::NoSuchTable(_)) => {}
            Err(error) => {
                tracing::warn!(%table, %error, "its location is not known");
                neighbours.some_unknown = true;
            }
        }
    }
    Ok(neighbours)
}
