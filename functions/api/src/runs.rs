//! /orchestrator/runs: what runs did; an outside scheduler posts its own records.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use snowpack_service::ports::RunStore;
use snowpack_wire::http::{RunBody, read_run};

use crate::api::Backend;
use crate::problem::Problem;
use crate::query::Query;
use crate::{body, path, reply};

/// GET /orchestrator/runs: newest start first.
pub(crate) async fn list<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["limit", "cursor"])?;
    let page = api.store().runs(&query.page()?).await?;
    let runs: Vec<_> = page.items.iter().map(RunBody::from).collect();
    Ok(reply::page(&uri, &query, &runs, page.next.as_deref()))
}

/// GET /orchestrator/runs/{run_id}.
pub(crate) async fn find<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let id = path::run_id(&uri)?;
    let run = api.store().run(&id).await?.ok_or_else(Problem::unknown_run)?;
    Ok(reply::json(StatusCode::OK, &RunBody::from(&run)))
}

/// POST /orchestrator/runs. A record of the same id and start replaces the one before, so that a request without an
/// answer can be sent again.
pub(crate) async fn record<B: Backend>(
    State(api): State<Arc<B>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let run = read_run(&body::read_json(&headers, body).await?, api.run_id())?;
    let known = api.store().run(&run.id).await?;
    if known.is_some_and(|known| known.started_at != run.started_at) {
        return Err(Problem::run_exists());
    }
    api.store().put_run(&run).await?;
    let mut response = reply::json(StatusCode::CREATED, &RunBody::from(&run));
    let location = format!("/orchestrator/runs/{}", run.id.as_str());
    let location = HeaderValue::try_from(location).expect("a run id is hexadecimal");
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}
