//! The web page: one document that needs nothing but this API.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Uri, header};
use uuid::Uuid;

use crate::problem::Problem;
use crate::query::Query;

const PAGE: &str = include_str!("ui/page.html");
const STYLE: &str = include_str!("ui/style.css");
const SCRIPT: &str = include_str!("ui/script.js");

/// GET /ui.
pub(crate) async fn page(uri: Uri) -> Result<Response, Problem> {
    Query::read(&uri, &[])?;
    let nonce = Uuid::new_v4().simple().to_string();
    let page = PAGE
        .replace("{nonce}", &nonce)
        .replace("{style}", STYLE)
        .replace("{script}", SCRIPT);
    let mut response = Response::new(Body::from(page));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy(&nonce)),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        // The policy names this answer's nonce.
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    for (name, value) in headers {
        let value = HeaderValue::try_from(value).expect("these values are ASCII");
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// Only what this page itself holds runs, it talks to its own origin only, and no other page can frame it.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
