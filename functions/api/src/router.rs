//! Which path and method leads to which handler. `infra/openapi.json` describes exactly these.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use snowpack_service::ports::{Clock, HealthStore, Ids, JobQueue, JobStore, RunStore, Tables};

use crate::api::{Api, Backend};
use crate::frame::frame;
use crate::problem::Problem;
use crate::{health, jobs, operation, prometheus, runs, submit, tables, ui};

/// The API's router. Paths are exact: no trailing slashes, names percent-encoded.
pub fn router<S, Q, T, C, I>(api: Api<S, Q, T, C, I>) -> Router
where
    S: JobStore + HealthStore + RunStore,
    Q: JobQueue,
    T: Tables,
    C: Clock,
    I: Ids,
{
    routes::<Api<S, Q, T, C, I>>().with_state(Arc::new(api))
}

fn routes<B: Backend>() -> Router<Arc<B>> {
    Router::new()
        .route(
            "/tables/{database}/{table}/maintenance",
            post(submit::submit::<B>),
        )
        .route("/jobs", get(jobs::list::<B>))
        .route("/jobs/history", get(jobs::history::<B>).delete(jobs::purge::<B>))
        .route("/jobs/{job_id}", get(jobs::poll::<B>))
        .route("/jobs/{job_id}/cancel", post(jobs::cancel::<B>))
        .route("/tables", get(tables::list::<B>))
        .route("/tables/cache-status", get(tables::cache_status::<B>))
        .route("/tables/{database}/{table}", get(tables::find::<B>))
        .route("/tables/{database}/{table}/health", get(health::live::<B>))
        .route(
            "/tables/{database}/{table}/health/cached",
            get(health::cached::<B>),
        )
        .route(
            "/tables/{database}/{table}/health/history",
            get(health::history::<B>),
        )
        .route(
            "/tables/{database}/{table}/maintenance/recommendation",
            get(health::recommendation::<B>),
        )
        .route("/orchestrator/runs", get(runs::list::<B>).post(runs::record::<B>))
        .route("/orchestrator/runs/{run_id}", get(runs::find::<B>))
        .route("/healthz", get(operation::healthz))
        .route("/readyz", get(operation::readyz::<B>))
        .route(
            "/drain",
            get(operation::drain::<B>).put(operation::set_drain::<B>),
        )
        .route("/metrics", get(prometheus::metrics::<B>))
        .route("/openapi.json", get(operation::openapi))
        .route("/ui", get(ui::page))
        .fallback(|| async { Problem::unknown_path() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .layer(from_fn(frame))
}
