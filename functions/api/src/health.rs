//! /tables/{database}/{table}/health and .../maintenance/recommendation: what a table needs, and how that is known.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use snowpack_domain::{PreviewSource, TableHealth, TableId};
use snowpack_service::ports::{Clock, HealthStore};
use snowpack_service::{Failure, KnownTable};
use snowpack_wire::http::{HealthBody, RecommendationBody};

use crate::api::Backend;
use crate::problem::Problem;
use crate::query::Query;
use crate::{path, reply};

/// How long a table's metadata may be read while a caller waits: API Gateway waits 30 s for the whole answer.
const LIVE_BUDGET: Duration = Duration::from_secs(20);

/// GET .../health: reads the metadata now and keeps the report.
pub(crate) async fn live<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    let (table, known) = known(&*api, &uri).await?;
    let health = read_now(&*api, &table).await?;
    Ok(report(&*api, &known, &health, PreviewSource::Live))
}

/// GET .../health/cached: the newest report that was kept.
pub(crate) async fn cached<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    let (table, known) = known(&*api, &uri).await?;
    let health = api.book().kept(&table).await?.ok_or_else(Problem::no_health)?;
    Ok(report(&*api, &known, &health, PreviewSource::Cached))
}

/// GET .../health/history: reports, newest first, each judged as of its time by what the table and the deployment say
/// today.
pub(crate) async fn history<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    let table = path::table(&uri)?;
    let query = Query::read(&uri, &["limit", "cursor"])?;
    let request = query.page()?;
    let known = api
        .book()
        .known(&table)
        .await?
        .ok_or_else(Problem::unknown_table)?;
    let page = api.store().health_history(&table, &request).await?;
    let report = |health: &TableHealth| {
        let advice = api.book().advise(known.situation(), health, health.collected_at);
        HealthBody::new(health, &advice, PreviewSource::Cached)
    };
    let reports: Vec<_> = page.items.iter().map(report).collect();
    Ok(reply::page(&uri, &query, &reports, page.next.as_deref()))
}

/// GET .../maintenance/recommendation: what the orchestrator would submit now, and why.
pub(crate) async fn recommendation<B: Backend>(
    State(api): State<Arc<B>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (table, known) = known(&*api, &uri).await?;
    let kept = api.book().kept(&table).await?;
    let is_fresh = |kept: &TableHealth| api.book().is_fresh(&known.entry, kept, known.synced_at);
    let (health, source) = match kept.filter(is_fresh) {
        Some(kept) => (kept, PreviewSource::Cached),
        None => (read_now(&*api, &table).await?, PreviewSource::Live),
    };
    let advice = api.book().advise(known.situation(), &health, api.clock().now());
    let body = RecommendationBody::new(&health, &advice, source);
    Ok(reply::json(StatusCode::OK, &body))
}

/// The table of a path without parameters, and what is kept about it.
async fn known<B: Backend>(api: &B, uri: &Uri) -> Result<(TableId, KnownTable), Problem> {
    let table = path::table(uri)?;
    Query::read(uri, &[])?;
    let known = api
        .book()
        .known(&table)
        .await?
        .ok_or_else(Problem::unknown_table)?;
    Ok((table, known))
}

async fn read_now<B: Backend>(api: &B, table: &TableId) -> Result<TableHealth, Problem> {
    let read = tokio::time::timeout(LIVE_BUDGET, api.book().live(table)).await;
    let read: Result<_, Failure> = read.map_err(|_elapsed| Problem::slow_table(LIVE_BUDGET.as_secs()))?;
    read?.ok_or_else(Problem::unknown_table)
}

fn report<B: Backend>(api: &B, known: &KnownTable, health: &TableHealth, source: PreviewSource) -> Response {
    let advice = api.book().advise(known.situation(), health, api.clock().now());
    reply::json(StatusCode::OK, &HealthBody::new(health, &advice, source))
}
