//! What errors of S3 mean to the users of a storage.

use std::io;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use iceberg::{Error, ErrorKind};

/// The error of a failed call that was to `verb` the object at `path`. Its source is an [`io::Error`] whose
/// kind tells apart a missing object, a denied one, and everything else.
pub(super) fn failure<E>(verb: &str, path: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        let reason = DisplayErrorContext(error).to_string();
        return describe(verb, path, io::Error::other(reason)).with_retryable(true);
    };
    let status = answer.raw().status().as_u16();
    let code = answer.err().code();
    let expired = has_expired(code, status);
    let kind = match (code, status) {
        _ if expired => io::ErrorKind::Other,
        (Some("NoSuchKey" | "NotFound"), _) => io::ErrorKind::NotFound,
        // HEAD has no body and so no code; a missing bucket is a mistake in a location, not a missing file.
        (None, 404) => io::ErrorKind::NotFound,
        (Some("InvalidRange"), _) | (None, 416) => io::ErrorKind::UnexpectedEof,
        (_, 401 | 403) => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    let reason = match kind {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::UnexpectedEof => "it is shorter than its table says".to_owned(),
        _ => {
            let code = code.unwrap_or("no code");
            let message = answer.err().message().unwrap_or("no message");
            format!("S3 answered {status} {code}: {message}")
        }
    };
    let busy = status >= 500 || status == 429 || code == Some("SlowDown");
    describe(verb, path, io::Error::new(kind, reason)).with_retryable(busy || expired)
}

/// Whether the session that signed the request is over. It stays so for whoever holds on to it, but the next
/// attempt of a job begins with a new one.
fn has_expired(code: Option<&str>, status: u16) -> bool {
    match code {
        Some(code) => matches!(
            code,
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired"
        ),
        // HEAD, which is asked for nothing that S3 could find wrong besides.
        None => status == 400,
    }
}

/// An error about one object.
pub(super) fn describe(verb: &str, path: &str, cause: io::Error) -> Error {
    let kind = match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => ErrorKind::DataInvalid,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, format!("cannot {verb} {path}: {cause}")).with_source(cause)
}
