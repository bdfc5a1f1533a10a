//! /tables: what the table cache knows.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use snowpack_domain::{CacheEntry, DatabaseName};
use snowpack_service::ports::{JobStore, Page, PageRequest};
use snowpack_wire::http::{CacheStatusBody, TableBody, TableDetailBody};

use crate::api::Backend;
use crate::problem::Problem;
use crate::query::Query;
use crate::{path, reply};

/// Pages of the store one filtered page may be made from; a page that is short for this has a link to go on.
const MAX_STORE_PAGES: usize = 20;

/// GET /tables.
pub(crate) async fn list<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["database", "maintenance_enabled", "limit", "cursor"])?;
    let database = query.get("database").map(DatabaseName::new).transpose()?;
    let enabled = query.get("maintenance_enabled").map(read_bool).transpose()?;
    let page = matching(api.store(), database.as_ref(), enabled, query.page()?).await?;
    let allowed = |entry: &CacheEntry| api.allows(&entry.table.database);
    let tables: Vec<_> = page
        .items
        .iter()
        .map(|entry| TableBody::new(entry, allowed(entry)))
        .collect();
    Ok(reply::page(&uri, &query, &tables, page.next.as_deref()))
}

fn read_bool(text: &str) -> Result<bool, Problem> {
    text.parse().map_err(|_| {
        Problem::bad_request(
            Some("maintenance_enabled"),
            "maintenance_enabled must be true or false",
        )
    })
}

/// A page of entries whose property is as wanted. Each read asks only for what is still missing, so that
/// the store's cursor stays right.
async fn matching(
    store: &impl JobStore,
    database: Option<&DatabaseName>,
    enabled: Option<bool>,
    wanted: PageRequest,
) -> Result<Page<CacheEntry>, Problem> {
    let database = database.map(DatabaseName::as_str);
    let mut found = Page {
        items: Vec::new(),
        next: wanted.cursor,
    };
    for _ in 0..MAX_STORE_PAGES {
        let request = PageRequest {
            limit: wanted.limit - found.items.len(),
            cursor: found.next.take(),
        };
        let page = store.cache_entries(database, &request).await?;
        let matches = |entry: &CacheEntry| enabled.is_none() || entry.maintenance_enabled() == enabled;
        found.items.extend(page.items.into_iter().filter(matches));
        found.next = page.next;
        if found.next.is_none() || found.items.len() >= wanted.limit {
            break;
        }
    }
    Ok(found)
}

/// GET /tables/cache-status.
pub(crate) async fn cache_status<B: Backend>(
    State(api): State<Arc<B>>,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let state = api.store().cache_state().await?;
    Ok(reply::json(StatusCode::OK, &CacheStatusBody::from(state)))
}

/// GET /tables/{database}/{table}; a table that is not cached is asked for once at the catalog.
pub(crate) async fn find<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    let table = path::table(&uri)?;
    Query::read(&uri, &[])?;
    let entry = api
        .cache()
        .find(&table)
        .await?
        .ok_or_else(Problem::unknown_table)?;
    let allowed = api.allows(&entry.table.database);
    Ok(reply::json(StatusCode::OK, &TableDetailBody::new(entry, allowed)))
}
