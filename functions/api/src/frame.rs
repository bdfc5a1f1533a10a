//! Around every request: its id, its log line, error answers, and panics.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http::{HeaderValue, Method, header};
use snowpack_telemetry::events::{HTTP_REQUEST, REQUEST_FAILED};
use snowpack_telemetry::request_span;
use tracing::Instrument;
use uuid::Uuid;

use crate::problem::Problem;

/// The header that repeats a request's id.
const REQUEST_ID_HEADER: &str = "x-request-id";

/// How long a request may take. Lambda ends the function at 29 s and API Gateway waits for 30 s, and what the caller
/// would get from either is not the contract's error; two seconds are enough to answer and to log.
const REQUEST_BUDGET: Duration = Duration::from_secs(27);

/// A request's id in answers and logs. Whoever embeds the router may put one into a request's extensions,
/// as the Lambda function does with API Gateway's; other requests get a fresh one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// An id from outside; `None` unless it is 1 to 128 visible ASCII characters.
    pub fn new(id: &str) -> Option<Self> {
        let well_formed = (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        well_formed.then(|| Self(id.to_owned()))
    }

    fn fresh() -> Self {
        Self(Uuid::new_v4().to_string())
    }
}

/// Runs a request and finishes its answer.
pub(crate) async fn frame(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let RequestId(id) = request
        .extensions()
        .get()
        .cloned()
        .unwrap_or_else(RequestId::fresh);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let span = request_span(&id);
    let answer = answer_within(REQUEST_BUDGET, next.run(request).instrument(span.clone())).await;
    let _in_span = span.enter();
    let mut answer = render(answer, &method, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    tracing::info!(
        event = HTTP_REQUEST.name,
        %method,
        path,
        status = answer.status().as_u16(),
        elapsed_seconds = started.elapsed().as_secs_f64(),
    );
    answer
}

/// The answer, or the problem of a request that panics or takes too long. It is ended wherever it is: what a caller
/// could lose by that, it could lose by the end of the process.
async fn answer_within(budget: Duration, request: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout(budget, AssertUnwindSafe(request).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panic)) => Problem::internal(describe(panic.as_ref())).into_response(),
        Err(_elapsed) => Problem::out_of_time(budget.as_secs()).into_response(),
    }
}

/// Fills in the body of an error answer; other answers stay as they are.
fn render(mut answer: Response, method: &Method, id: &str) -> Response {
    let Some(problem) = answer.extensions_mut().remove::<Problem>() else {
        return answer;
    };
    if let Some(cause) = problem.cause() {
        tracing::error!(event = REQUEST_FAILED.name, cause);
    }
    let mut rendered = problem.render(id);
    if method == Method::HEAD {
        let length = axum::body::HttpBody::size_hint(rendered.body()).lower();
        rendered
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        *rendered.body_mut() = Body::empty();
    }
    rendered
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", message.unwrap_or("of unknown cause"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_outside_are_checked() {
        assert!(RequestId::new("JKJaXmPLvHcESHA=").is_some());
        for bad in ["", "a b", "a\nb", "é", &"x".repeat(129)] {
            assert_eq!(RequestId::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_time_of_a_request_ends_before_the_function_does() {
        let template = include_str!("../../../infra/template.yaml");
        let (_, function) = template.split_once("\n  ApiFunction:").unwrap();
        let (_, timeout) = function.split_once("\n      Timeout: ").unwrap();
        let seconds: u64 = timeout.lines().next().unwrap().parse().unwrap();
        assert_eq!(REQUEST_BUDGET, Duration::from_secs(seconds - 2));
    }

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_unavailable() {
        let answer = answer_within(Duration::from_millis(10), std::future::pending()).await;
        let answer = render(answer, &Method::GET, "r-1");
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
        let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            text.contains(r#""error":"unavailable""#) && text.contains(r#""request_id":"r-1""#),
            "{text}"
        );
    }

    /// What the router answers to `GET /`: status, headers and body.
    async fn ask(router: axum::Router) -> (http::StatusCode, http::HeaderMap, String) {
        let request = http::Request::get("/")
            .extension(RequestId::new("r-1").unwrap())
            .body(Body::empty())
            .unwrap();
        let answer = tower::ServiceExt::oneshot(router, request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, 10_000).await.unwrap();
        (
            parts.status,
            parts.headers,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn a_panic_becomes_an_internal_error_without_its_cause() {
        async fn broken() -> Response {
            panic!("secret")
        }
        let router: axum::Router = axum::Router::new()
            .route("/", axum::routing::get(broken))
            .layer(axum::middleware::from_fn(frame));
        let (status, headers, text) = ask(router).await;
        assert_eq!(status, 500);
        assert_eq!(headers[REQUEST_ID_HEADER], "r-1");
        assert!(
            text.contains(r#""request_id":"r-1""#) && text.contains("internal") && !text.contains("secret"),
            "{text}"
        );
    }
}
