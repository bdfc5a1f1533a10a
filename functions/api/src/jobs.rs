//! /jobs: poll, cancel, list, history, purge.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri, header};
use snowpack_domain::{DatabaseName, Duration, Job, TableId, TableName};
use snowpack_service::TimeLimit;
use snowpack_service::ports::{Clock, JobFilter, JobStore, Page};
use snowpack_wire::http::{JobBody, PurgedBody};

use crate::api::Backend;
use crate::problem::Problem;
use crate::query::{Query, whole_number};
use crate::{path, reply};

/// Suggested interval between polls (submitting-maintenance.txt).
pub(crate) const POLL_SECONDS: u32 = 30;
/// Days that `DELETE /jobs/history` keeps unless told.
const DEFAULT_RETENTION_DAYS: u64 = 90;
/// Longest retention that makes sense: a hundred years.
const MAX_RETENTION_DAYS: u64 = 36_500;
/// How long a purge takes up further work: what it has begun then, a batch of deletes, is done within the time of a
/// request.
const PURGE_BUDGET: std::time::Duration = std::time::Duration::from_secs(20);

/// GET /jobs/{job_id}.
pub(crate) async fn poll<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let id = path::job_id(&uri)?;
    let job = api
        .store()
        .job(&id)
        .await?
        .ok_or_else(Problem::unknown_job)?
        .value;
    let mut response = reply::json(StatusCode::OK, &JobBody::from(&job));
    if !job.is_terminal() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(POLL_SECONDS));
    }
    Ok(response)
}

/// POST /jobs/{job_id}/cancel. A body is not needed and not read.
pub(crate) async fn cancel<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let id = path::job_id(&uri)?;
    let job = snowpack_service::cancel(api.store(), api.clock(), &id).await??;
    Ok(reply::json(StatusCode::OK, &JobBody::from(&job)))
}

/// GET /jobs: active and recent jobs, newest submission first.
pub(crate) async fn list<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["status", "database", "table", "limit", "cursor"])?;
    let database = query.get("database").map(DatabaseName::new).transpose()?;
    let table = query.get("table").map(TableName::new).transpose()?;
    let filter = JobFilter {
        status: query.status()?,
        database: database.map(|name| name.to_string()),
        table: table.map(|name| name.to_string()),
        finished_only: false,
    };
    let page = api.store().jobs(&filter, &query.page()?).await?;
    Ok(page_of_jobs(&uri, &query, &page))
}

/// GET /jobs/history: finished jobs, newest first.
pub(crate) async fn history<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["table", "status", "limit", "cursor"])?;
    let table = query.get("table").map(full_name).transpose()?;
    let filter = JobFilter {
        status: query.status()?,
        database: table.as_ref().map(|id| id.database.to_string()),
        table: table.as_ref().map(|id| id.table.to_string()),
        finished_only: true,
    };
    let page = api.store().jobs(&filter, &query.page()?).await?;
    Ok(page_of_jobs(&uri, &query, &page))
}

fn full_name(text: &str) -> Result<TableId, Problem> {
    if !text.contains('.') {
        return Err(Problem::bad_name(
            "table",
            "table must be a full name, database.table",
        ));
    }
    // Both names are in this parameter, so it is the one to correct.
    TableId::parse(text).map_err(|error| Problem::bad_name("table", error.to_string()))
}

fn page_of_jobs(uri: &Uri, query: &Query, page: &Page<Job>) -> Response {
    let jobs: Vec<_> = page.items.iter().map(JobBody::from).collect();
    reply::page(uri, query, &jobs, page.next.as_deref())
}

/// DELETE /jobs/history: purge what ended long ago. What there is no time for is left to the next call.
pub(crate) async fn purge<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["retention_days"])?;
    let before = api.clock().now() - Duration::from_days(retention_days(&query)?);
    let deleted = api.store().purge(before, TimeLimit::after(PURGE_BUDGET)).await?;
    Ok(reply::json(StatusCode::OK, &PurgedBody { deleted }))
}

fn retention_days(query: &Query) -> Result<i64, Problem> {
    let days = match query.get("retention_days") {
        None => Some(DEFAULT_RETENTION_DAYS),
        Some(text) => whole_number(text).filter(|days| (1..=MAX_RETENTION_DAYS).contains(days)),
    };
    days.and_then(|days| i64::try_from(days).ok()).ok_or_else(|| {
        let message = format!("retention_days must be a whole number from 1 to {MAX_RETENTION_DAYS}");
        Problem::bad_request(Some("retention_days"), message)
    })
}
