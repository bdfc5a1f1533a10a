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

/// Finds the locations of all tables but `own`. What may not be listed or cannot be loaded is unknown.
///
/// # Errors
/// [`CatalogError`] when the catalog cannot list its tables for another reason than permissions.
pub(crate) async fn find<C: Catalog>(
    catalog: &C,
    own: &TableId,
    names: &Names,
) -> Result<Neighbours, CatalogError> {
    let mut neighbours = Neighbours::default();
    let mut tables = Vec::new();
    let databases = match permitted(catalog.databases().await)? {
        Some(databases) => databases,
        None => {
            neighbours.unknown = Some("databases that may not be listed".to_owned());
            vec![own.database.as_str().to_owned()]
        }
    };
    for database in databases {
        match permitted(catalog.tables(&database).await)? {
            Some(found) => tables.extend(found.into_iter().map(|listed| listed.table)),
            None => neighbours.unknown = Some(format!("tables of {database}, which may not be listed")),
        }
        if tables.len() > MOST_TABLES {
            neighbours.unknown = Some(format!("tables beyond the first {MOST_TABLES}"));
            break;
        }
    }
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
                neighbours.unknown = Some(format!("{table}, which cannot be loaded"));
            }
        }
    }
    Ok(neighbours)
}

/// `None` for a list that may not be read.
fn permitted<T>(list: Result<T, CatalogError>) -> Result<Option<T>, CatalogError> {
    match list {
        Ok(list) => Ok(Some(list)),
        Err(CatalogError::AccessDenied(reason)) => {
            tracing::warn!(reason, "other tables are known by their metadata files only");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
