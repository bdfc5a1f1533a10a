//! Routes for those who run Snowpack: health, readiness, drain, the contract itself.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use snowpack_domain::{CacheState, Duration, Timestamp};
use snowpack_service::ports::{Clock, JobStore};
use snowpack_telemetry::events::DRAIN_SET;
use snowpack_wire::http::{DrainBody, StatusBody, read_drain};

use crate::api::Backend;
use crate::problem::Problem;
use crate::query::Query;
use crate::{body, reply};

/// The contract as OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../../../infra/openapi.json");

/// GET /healthz: the process answers.
pub(crate) async fn healthz(uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    Ok(status("ok"))
}

/// GET /readyz: the store is reachable and the table cache is fresh.
pub(crate) async fn readyz<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let state = api.store().cache_state().await;
    let state = state
        .map_err(|error| Problem::not_ready("the job store cannot be reached", Some(error.to_string())))?;
    check_cache(&state, api.cache_max_age(), api.clock().now())?;
    Ok(status("ready"))
}

fn check_cache(state: &CacheState, max_age: Duration, now: Timestamp) -> Result<(), Problem> {
    match state.last_synced {
        None => Err(Problem::not_ready("the table cache was never synced", None)),
        Some(synced) if now - synced > max_age => {
            let minutes = (now - synced).as_micros() / 60_000_000;
            Err(Problem::not_ready(
                format!("the table cache was last synced {minutes} minutes ago"),
                None,
            ))
        }
        Some(_) => Ok(()),
    }
}

fn status(status: &str) -> Response {
    reply::json(
        StatusCode::OK,
        &StatusBody {
            status: status.to_owned(),
        },
    )
}

/// GET /drain.
pub(crate) async fn drain<B: Backend>(State(api): State<Arc<B>>, uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let drain = api.store().drain().await?.value;
    Ok(reply::json(StatusCode::OK, &DrainBody::from(drain)))
}

/// PUT /drain.
pub(crate) async fn set_drain<B: Backend>(
    State(api): State<Arc<B>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let drain = read_drain(&body::read_json(&headers, body).await?)?;
    api.store().set_drain(&drain).await?;
    tracing::info!(event = DRAIN_SET.name, enabled = drain.enabled);
    Ok(reply::json(StatusCode::OK, &DrainBody::from(drain)))
}

/// GET /openapi.json.
pub(crate) async fn openapi(uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    Ok(reply::raw_json(StatusCode::OK, OPENAPI))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_says_how_old_the_table_cache_may_be() {
        let state = CacheState {
            last_synced: Some(Timestamp::from_micros(0)),
            ..CacheState::default()
        };
        let now = Timestamp::from_micros(0) + Duration::from_seconds(3600);
        assert!(check_cache(&state, Duration::from_seconds(3600), now).is_ok());
        assert!(check_cache(&state, Duration::from_seconds(3599), now).is_err());
        assert!(check_cache(&CacheState::default(), Duration::from_seconds(3600), now).is_err());
    }
}
