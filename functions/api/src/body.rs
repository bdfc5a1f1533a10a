//! Request bodies: JSON only, read up to a limit whatever the caller announces.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::problem::Problem;

/// Largest body accepted (api.md, Conventions).
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long a body may take to arrive: far above what 64 KiB need, below API Gateway's 30 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// Reads a JSON body. An empty one is returned as it is, for its reader to refuse.
///
/// # Errors
/// 415 when it is declared as something else or not at all, 413 over [`MAX_BODY_BYTES`], 400 when it breaks off.
pub(crate) async fn read_json(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().is_ok_and(is_json));
    if declared == Some(false) {
        return Err(Problem::wrong_content_type());
    }
    let bytes = read_bounded(body).await?;
    if declared.is_none() && !bytes.is_empty() {
        return Err(Problem::wrong_content_type());
    }
    Ok(bytes)
}

async fn read_bounded(body: Body) -> Result<Bytes, Problem> {
    if HttpBody::size_hint(&body).lower() > MAX_BODY_BYTES as u64 {
        return Err(Problem::too_large(MAX_BODY_BYTES));
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(MAX_BODY_BYTES)),
        Ok(Err(_)) => Err(Problem::bad_request(
            None,
            "the body broke off before its end: send it again",
        )),
        Err(_) => Err(Problem::bad_request(
            None,
            "the body did not arrive in time: send it again",
        )),
    }
}

/// Whether a content type is JSON in UTF-8; parameters other than the character set do not matter.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let json = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    json && parts.all(utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_parameters_is_json() {
        for good in [
            "application/json",
            "Application/JSON ; charset=\"UTF-8\"",
            "application/json;v=1",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/json",
            "application/json2",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
