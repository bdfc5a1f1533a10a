//! Success answers: a status with JSON or text, and pages of lists.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri, header};
use serde::Serialize;

use crate::query::Query;

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).expect("bodies have text keys and finite numbers");
    raw_json(status, bytes)
}

/// A success that is text of another type.
pub(crate) fn text(content_type: &'static str, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A page of a list, with a link to the page that starts at `next`.
pub(crate) fn page(uri: &Uri, query: &Query, items: &[impl Serialize], next: Option<&str>) -> Response {
    let mut response = json(StatusCode::OK, &items);
    if let Some(next) = next {
        response
            .headers_mut()
            .insert(header::LINK, query.link_to(uri, next));
    }
    response
}

/// An answer that is JSON text already.
pub(crate) fn raw_json(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
