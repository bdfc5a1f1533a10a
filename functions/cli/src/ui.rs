//! `snowpack ui`: the API's web page for a browser on this machine, which can neither sign requests nor open a page
//! with a token. What it asks is passed on as the other commands ask.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use reqwest::StatusCode;
use reqwest::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, TRANSFER_ENCODING,
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::args::UiArgs;
use crate::client::Api;
use crate::output::{Exit, UsageError, note, print};
use crate::run::stop_on_ctrl_c;

/// Largest request that is passed on; the API takes less.
const MAX_BODY_BYTES: usize = 1 << 20;
/// What of a request is passed on. Credentials are those of this process, never the browser's.
const PASSED_ON: [HeaderName; 3] = [ACCEPT, CONTENT_TYPE, HeaderName::from_static("idempotency-key")];
/// What of an answer belongs to the connection it came on.
const OF_THE_CONNECTION: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// `snowpack ui`.
pub(crate) async fn ui(args: UiArgs) -> anyhow::Result<Exit> {
    if !args.listen.ip().is_loopback() {
        let reason = "whoever reaches the address acts with your credentials: use one of this machine alone";
        return Err(UsageError(format!("--listen {}: {reason}", args.listen)).into());
    }
    let api = Api::new(&args.api).await?;
    api.get("/healthz", &[]).await?.body_or_error()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let front = Front::new(api);
    print(&format!("http://{}{}/ui", listener.local_addr()?, front.prefix))?;
    note("Open this address in a browser on this machine. Do not pass it on: it acts with your credentials.");
    let stop = stop_on_ctrl_c();
    axum::serve(listener, front.router())
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
        .context("the HTTP server failed")?;
    Ok(Exit::Done)
}

/// The API below a path that nobody can guess: another page in the browser, or another person on this machine, reaches
/// the port but not the API.
struct Front {
    api: Api,
    prefix: String,
}

impl Front {
    fn new(api: Api) -> Self {
        let prefix = format!("/{:032x}", rand::random::<u128>());
        Self { api, prefix }
    }

    fn router(self) -> Router {
        Router::new().fallback(answer).with_state(Arc::new(self))
    }

    /// The path and query to ask the API for.
    fn below<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let asked = request.uri().path_and_query()?.as_str();
        asked
            .strip_prefix(&self.prefix)
            .filter(|path| path.starts_with('/'))
    }

    async fn pass_on(&self, path: &str, request: Request) -> anyhow::Result<Response> {
        let path = path.to_owned();
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, MAX_BODY_BYTES)
            .await
            .context("reading the request")?;
        let headers = PASSED_ON.into_iter();
        let headers: HeaderMap = headers
            .filter_map(|name| Some((name.clone(), parts.headers.get(name)?.clone())))
            .collect();
        let answer = self
            .api
            .pass_on(parts.method, &path, headers, body.into())
            .await?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        for name in OF_THE_CONNECTION {
            response.headers_mut().remove(name);
        }
        *response.body_mut() = answer.bytes().await.context("the answer broke off")?.into();
        Ok(response)
    }
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    let Some(path) = front.below(&request).map(str::to_owned) else {
        return problem(StatusCode::NOT_FOUND, "not_found", "nothing is at this path");
    };
    match front.pass_on(&path, request).await {
        Ok(response) => response,
        Err(error) => problem(StatusCode::BAD_GATEWAY, "unavailable", &format!("{error:#}")),
    }
}

/// An error in the form of the API's.
fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({"error": code, "message": message}).to_string();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests;
