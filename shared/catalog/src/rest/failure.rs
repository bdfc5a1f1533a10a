//! What a failed request to a REST catalog means: for a read, and for a commit that may have been applied.

use std::error::Error;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use snowpack_domain::TableId;

use crate::aws;
use crate::port::{CatalogError, CommitError};

/// Longest message of a server that is passed on.
const MAX_MESSAGE_CHARS: usize = 500;

/// Where AWS names the exception.
const AWS_EXCEPTION: &str = "x-amzn-errortype";

/// How a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It never reached the server.
    NotSent(String),
    /// It was sent, and no whole answer came back.
    NoAnswer(String),
    /// The server refused.
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The server accepted, but its answer is not one of the specification.
    Unreadable(String),
    /// No token could be had.
    Auth(CatalogError),
}

/// The specification's `IcebergErrorResponse`.
#[derive(Deserialize)]
struct ErrorAnswer {
    error: ErrorModel,
}

#[derive(Deserialize)]
struct ErrorModel {
    #[serde(default)]
    message: String,
    #[serde(default, rename = "type")]
    kind: String,
}

impl Failure {
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        let sent = !(error.is_connect() || error.is_builder());
        // The address may carry a token of its own.
        let error = error.without_url();
        let text = chain(&error);
        if sent {
            Self::NoAnswer(text)
        } else {
            Self::NotSent(text)
        }
    }

    pub(super) fn from_answer(status: u16, body: &[u8]) -> Self {
        let message = match serde_json::from_slice::<ErrorAnswer>(body) {
            Ok(ErrorAnswer { error }) => format!("{}: {}", error.kind, error.message),
            Err(_) => String::from_utf8_lossy(body).into_owned(),
        };
        Self::Refused {
            status,
            message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
        }
    }
}

/// The specification's status for credentials whose time is over.
const EXPIRED: u16 = 419;

/// The status that an answer means: Glue throttles with 400, and AWS says 403 when a session is over.
pub(super) fn status_of(said: StatusCode, headers: &HeaderMap) -> u16 {
    let named = headers.get(AWS_EXCEPTION).and_then(|name| name.to_str().ok());
    // `namespace#Name:address`, of which only the name is sure to be there.
    let name = named.and_then(|named| named.split(':').next()?.rsplit('#').next());
    match name {
        Some(name) if aws::is_throttle(name) => StatusCode::TOO_MANY_REQUESTS.as_u16(),
        Some(name) if aws::is_expiry(name) => EXPIRED,
        _ => said.as_u16(),
    }
}

/// What a failed read means.
pub(super) fn read_error(failure: Failure, what: &str) -> CatalogError {
    match failure {
        Failure::NotSent(reason) | Failure::NoAnswer(reason) => {
            CatalogError::Unavailable(format!("{what}: {reason}"))
        }
        Failure::Unreadable(reason) => CatalogError::Configuration(format!(
            "{what}: this address does not answer like an Iceberg REST catalog: {reason}"
        )),
        Failure::Auth(error) => error,
        Failure::Refused { status, message } => {
            let text = format!("{what}: status {status}: {message}");
            match status {
                401 | 403 | 419 => CatalogError::AccessDenied(text),
                405 | 406 | 501 => CatalogError::Unsupported(text),
                408 | 429 | 500.. => CatalogError::Unavailable(text),
                _ => CatalogError::Rejected(text),
            }
        }
    }
}

/// What a failed commit means, as Java's `ErrorHandlers.tableCommitHandler` decides: every 500 to 504 leaves
/// its outcome open, 503 too, because a gateway may say so after the server has committed. 429 is sent
/// instead of doing the work (Java sends the request again).
pub(super) fn commit_error(failure: Failure, table: &TableId) -> CommitError {
    match failure {
        Failure::NoAnswer(reason) | Failure::Unreadable(reason) => {
            CommitError::Unknown(format!("{table}: {reason}"))
        }
        Failure::Refused { status: 409, message } => CommitError::Conflict(format!("{table}: {message}")),
        Failure::Refused { status: 404, .. } => CatalogError::NoSuchTable(table.to_string()).into(),
        Failure::Refused { status, message } if status == 408 || (status >= 500 && status != 501) => {
            CommitError::Unknown(format!("{table}: status {status}: {message}"))
        }
        other => read_error(other, &table.to_string()).into(),
    }
}

/// An error with its causes, which `reqwest` does not print by itself.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn commit(status: u16) -> CommitError {
        let body = br#"{"error":{"message":"m","type":"T","code":1}}"#;
        commit_error(
            Failure::from_answer(status, body),
            &TableId::parse("d.t").unwrap(),
        )
    }

    #[test]
    fn only_what_certainly_failed_is_called_failed() {
        assert!(matches!(commit(409), CommitError::Conflict(reason) if reason == "d.t: T: m"));
        for open in [408, 500, 502, 503, 504, 520] {
            assert!(matches!(commit(open), CommitError::Unknown(_)), "{open}");
        }
        assert!(matches!(
            commit(404),
            CommitError::Failed(CatalogError::NoSuchTable(_))
        ));
        assert!(matches!(
            commit(429),
            CommitError::Failed(CatalogError::Unavailable(_))
        ));
        assert!(matches!(
            commit(403),
            CommitError::Failed(CatalogError::AccessDenied(_))
        ));
        assert!(matches!(
            commit(400),
            CommitError::Failed(CatalogError::Rejected(_))
        ));
        assert!(matches!(
            commit(501),
            CommitError::Failed(CatalogError::Unsupported(_))
        ));
    }

    #[test]
    fn what_aws_throttles_is_told_from_what_it_refuses() {
        let means = |name: &'static str| {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(AWS_EXCEPTION),
                HeaderValue::from_static(name),
            )]);
            status_of(StatusCode::BAD_REQUEST, &headers)
        };
        for name in [
            "ThrottlingException",
            "ThrottlingException:http://internal.amazon.com/coral/#x",
            "com.amazonaws.glue#ThrottlingException",
        ] {
            assert_eq!(means(name), 429, "{name}");
        }
        assert_eq!(means("ExpiredTokenException"), EXPIRED);
        assert_eq!(means("InvalidInputException"), 400);
        assert_eq!(status_of(StatusCode::BAD_REQUEST, &HeaderMap::new()), 400);
    }

    #[test]
    fn messages_of_any_kind_are_cut() {
        let Failure::Refused { message, .. } = Failure::from_answer(500, &[b'x'; 10_000]) else {
            panic!()
        };
        assert_eq!(message.len(), MAX_MESSAGE_CHARS);
    }
}
