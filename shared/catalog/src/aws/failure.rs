//! What a failed call of Glue or S3 Tables means: for a read, and for a commit that may have been applied.

use std::error::Error;
use std::fmt::Display;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use snowpack_domain::TableId;

use crate::port::{CatalogError, CommitError};

/// How a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It never reached the service.
    NotSent(String),
    /// There were no credentials to send it with.
    NoCredentials(String),
    /// It was sent, and no whole answer came back.
    NoAnswer(String),
    /// The service refused.
    Refused {
        /// The name of the exception.
        code: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
}

impl Failure {
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if is_missing(code))
    }
}

impl<E: ProvideErrorMetadata + Error + Send + Sync + 'static> From<SdkError<E, HttpResponse>> for Failure {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        match &error {
            SdkError::ServiceError(refused) => Self::Refused {
                code: refused.err().code().unwrap_or("no code").to_owned(),
                status: refused.raw().status().as_u16(),
                message: refused.err().message().unwrap_or_default().to_owned(),
            },
            _ if has_cause::<CredentialsError>(&error) => Self::NoCredentials(chain(&error)),
            SdkError::ConstructionFailure(_) => Self::NotSent(chain(&error)),
            SdkError::DispatchFailure(failure) if failure.is_user() => Self::NotSent(chain(&error)),
            _ => Self::NoAnswer(chain(&error)),
        }
    }
}

/// What a failed read means.
pub(crate) fn read_error(failure: Failure, what: &impl Display) -> CatalogError {
    let (code, status, message) = match failure {
        Failure::NoCredentials(reason) => return CatalogError::AccessDenied(format!("{what}: {reason}")),
        Failure::NotSent(reason) | Failure::NoAnswer(reason) => {
            return CatalogError::Unavailable(format!("{what}: {reason}"));
        }
        Failure::Refused {
            code,
            status,
            message,
        } => (code, status, message),
    };
    let text = format!("{what}: {code}: {message}");
    match code.as_str() {
        code if is_missing(code) => CatalogError::NoSuchTable(what.to_string()),
        code if is_denial(code) => CatalogError::AccessDenied(text),
        code if passes(code) => CatalogError::Unavailable(text),
        _ if status == 429 || status >= 500 => CatalogError::Unavailable(text),
        _ if status == 401 || status == 403 => CatalogError::AccessDenied(text),
        _ => CatalogError::Rejected(text),
    }
}

/// What a failed `UpdateTable` or `UpdateTableMetadataLocation` means (`GlueTableOperations.handleAWSExceptions`).
/// Unlike Java, which calls an internal error of Glue a failed commit, whatever may have come after the change
/// leaves the outcome open.
pub(crate) fn commit_error(failure: Failure, table: &TableId) -> CommitError {
    match &failure {
        Failure::NoAnswer(reason) => CommitError::Unknown(format!("{table}: {reason}")),
        Failure::Refused {
            code,
            status,
            message,
        } => {
            let text = || format!("{table}: {code}: {message}");
            match code.as_str() {
                "ConcurrentModificationException" | "VersionMismatchException" | "ConflictException" => {
                    CommitError::Conflict(text())
                }
                "OperationTimeoutException" => CommitError::Unknown(text()),
                code if is_throttle(code) => read_error(failure, table).into(),
                _ if *status >= 500 => CommitError::Unknown(text()),
                _ => read_error(failure, table).into(),
            }
        }
        Failure::NotSent(_) | Failure::NoCredentials(_) => read_error(failure, table).into(),
    }
}

fn is_missing(code: &str) -> bool {
    matches!(code, "EntityNotFoundException" | "NotFoundException")
}

/// These are sent instead of doing the work.
pub(crate) fn is_throttle(code: &str) -> bool {
    matches!(
        code,
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded"
    )
}

/// The session that signed is over: the next attempt begins with a new one.
pub(crate) fn is_expiry(code: &str) -> bool {
    matches!(code, "ExpiredTokenException" | "ExpiredToken" | "RequestExpired")
}

fn passes(code: &str) -> bool {
    is_throttle(code)
        || is_expiry(code)
        || matches!(
            code,
            "InternalServiceException"
                | "OperationTimeoutException"
                | "ResourceNotReadyException"
                | "FederationSourceRetryableException"
        )
}

fn is_denial(code: &str) -> bool {
    matches!(
        code,
        "AccessDeniedException"
            | "ForbiddenException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "GlueEncryptionException"
    )
}

fn has_cause<T: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    error.is::<T>() || error.source().is_some_and(has_cause::<T>)
}

/// An error with its causes; the SDK prints only the outermost.
fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}
