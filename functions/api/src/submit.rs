//! POST /tables/{database}/{table}/maintenance.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use snowpack_domain::Job;
use snowpack_service::SubmitRequest;
use snowpack_service::ports::JobStore;
use snowpack_wire::http::{JobBody, SubmitBody};

use crate::api::Backend;
use crate::jobs::POLL_SECONDS;
use crate::problem::Problem;
use crate::query::Query;
use crate::{body, path, reply};

/// Longest idempotency key (api.md, Jobs).
const MAX_KEY_BYTES: usize = 128;

/// Submits a job. Drain mode answers first, then the name, then the body, then the table, then its lock.
pub(crate) async fn submit<B: Backend>(
    State(api): State<Arc<B>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    match read_request(&uri, &headers, body).await {
        Ok(request) => Ok(accepted(&api.submit(request).await??)),
        Err(problem) => Err(drain_or(api.store(), problem).await),
    }
}

async fn read_request(uri: &Uri, headers: &HeaderMap, body: Body) -> Result<SubmitRequest, Problem> {
    let table = path::table(uri)?;
    Query::read(uri, &[])?;
    let idempotency_key = idempotency_key(headers)?;
    let body = body::read_json(headers, body).await?;
    let SubmitBody {
        actions,
        dry_run,
        options,
    } = SubmitBody::read(&body)?;
    Ok(SubmitRequest {
        table,
        actions,
        options,
        dry_run,
        idempotency_key,
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const NAME: &str = "Idempotency-Key";
    let mut given = headers.get_all(NAME).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    let printable = |key: &&str| (1..=MAX_KEY_BYTES).contains(&key.len()) && given.next().is_none();
    // `to_str` accepts exactly printable ASCII and tabs.
    match value
        .to_str()
        .ok()
        .filter(|key| !key.contains('\t'))
        .filter(printable)
    {
        Some(key) => Ok(Some(key.to_owned())),
        None => {
            let message =
                format!("{NAME} must be given once, as 1 to {MAX_KEY_BYTES} printable ASCII characters");
            Err(Problem::bad_request(Some(NAME), message))
        }
    }
}

/// A bad request is refused for drain mode first. Asked only now, since the use case asks by itself on the
/// way to success; while the store cannot tell, what is wrong with the request stays certain.
async fn drain_or(store: &impl JobStore, problem: Problem) -> Problem {
    match store.drain().await {
        Ok(drain) if drain.value.enabled => Problem::draining(drain.value.reason.as_deref()),
        _ => problem,
    }
}

fn accepted(job: &Job) -> Response {
    let mut response = reply::json(StatusCode::ACCEPTED, &JobBody::from(job));
    let location = HeaderValue::try_from(format!("/jobs/{}", job.id)).expect("a job id is hexadecimal");
    response.headers_mut().insert(header::LOCATION, location);
    if !job.dry_run {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(POLL_SECONDS));
    }
    response
}
