//! Every answer that is not a success: which status, code and fields an outcome has. Nothing else decides that.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use snowpack_domain::{CancelRefused, NameError, SubmitRefused};
use snowpack_service::ports::{ListError, StoreError};
use snowpack_service::{CancelRefusal, Failure, SubmitRefusal};
use snowpack_wire::http::{BodyError, ErrorBody};

/// When to try again after something behind the API did not answer.
const UNAVAILABLE_RETRY_SECONDS: u32 = 5;
/// When to try again under drain mode, which lasts as long as a migration.
const DRAIN_RETRY_SECONDS: u32 = 30;

/// An error answer. As a response it is a mere marker, which [`crate::frame`] renders with the request's id.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    // On the heap: a problem is the error of most functions here, and a small error is cheap to return.
    body: Box<ErrorBody>,
    retry_after_seconds: Option<u32>,
    /// For the log only: it may name things a caller must not see.
    cause: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let body = Box::new(ErrorBody {
            error: code.to_owned(),
            message: message.into(),
            ..ErrorBody::default()
        });
        Self {
            status,
            body,
            retry_after_seconds: None,
            cause: None,
        }
    }

    fn of_field(mut self, field: impl Into<String>) -> Self {
        self.body.field = Some(field.into());
        self
    }

    fn unavailable(what: &str, cause: &impl ToString) -> Self {
        Self {
            retry_after_seconds: Some(UNAVAILABLE_RETRY_SECONDS),
            cause: Some(cause.to_string()),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                format!("{what} cannot be reached now: send the request again later"),
            )
        }
    }

    /// A bug, or a deployment that is set up wrongly.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the request could not be carried out; its id finds the cause in the log",
            )
        }
    }

    pub(crate) fn unknown_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "nothing is at this path; /openapi.json lists what there is",
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path does not take this method; the header Allow lists those it takes",
        )
    }

    pub(crate) fn unknown_job() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "job_not_found",
            "there is no job of this id",
        )
    }

    pub(crate) fn unknown_table() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "table_not_found",
            "neither the table cache nor the catalog has this table; check the database and the table name",
        )
    }

    pub(crate) fn unknown_run() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "run_not_found",
            "there is no record of a run of this id",
        )
    }

    /// The table is known, but nobody has read its health yet.
    pub(crate) fn no_health() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "health_not_found",
            "no health of this table was kept yet; /health reads it now",
        )
    }

    pub(crate) fn run_exists() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "run_exists",
            "another run has this id: send another id, or none",
        )
        .of_field("id")
    }

    /// The table's metadata is damaged, or of a kind that is not supported.
    fn unreadable(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "table_unreadable", reason)
    }

    /// The request was ended. What it began may have been done, a submission too.
    pub(crate) fn out_of_time(seconds: u64) -> Self {
        let message = format!(
            "the request was not done within {seconds} seconds, or only in part: see what there is, then send it again"
        );
        Self {
            retry_after_seconds: Some(UNAVAILABLE_RETRY_SECONDS),
            cause: Some(format!("not done within {seconds} seconds")),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }

    /// The table has more metadata than can be read while a caller waits.
    pub(crate) fn slow_table(seconds: u64) -> Self {
        let message = format!(
            "the table's metadata could not be read within {seconds} seconds; /health/cached has what was kept last"
        );
        Self {
            retry_after_seconds: Some(UNAVAILABLE_RETRY_SECONDS),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }

    pub(crate) fn draining(reason: Option<&str>) -> Self {
        let because = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        Self {
            retry_after_seconds: Some(DRAIN_RETRY_SECONDS),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "drain_mode",
                format!("drain mode is on and no job is accepted{because}; try again later"),
            )
        }
    }

    pub(crate) fn not_ready(what: impl Into<String>, cause: Option<String>) -> Self {
        Self {
            cause,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", what)
        }
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            format!("the request body is over {limit} bytes"),
        )
    }

    pub(crate) fn wrong_content_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body must be JSON in UTF-8: send the header Content-Type: application/json",
        )
    }

    /// A query parameter, header or body as a whole that cannot be used.
    pub(crate) fn bad_request(field: Option<&str>, message: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "invalid_request", message);
        match field {
            Some(field) => problem.of_field(field),
            None => problem,
        }
    }

    pub(crate) fn bad_name(field: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_name", message).of_field(field)
    }

    /// The response, with everything the caller may know.
    pub(crate) fn render(self, request_id: &str) -> Response {
        let body = ErrorBody {
            request_id: request_id.to_owned(),
            ..*self.body
        };
        let mut response = crate::reply::json(self.status, &body);
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::bad_name(error.field, error.to_string())
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        Self::bad_request(error.field.as_deref(), error.message)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::unavailable("the job store", &cause),
            StoreError::Corrupt(_) | StoreError::Refused(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<ListError> for Problem {
    fn from(error: ListError) -> Self {
        match error {
            ListError::BadCursor => Self::bad_request(
                Some("cursor"),
                "cursor is none that this list returned: follow its Link header",
            ),
            ListError::Store(error) => error.into(),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) => error.into(),
            Failure::Catalog(error) => Self::unavailable("the catalog", &error),
            Failure::Unreadable(reason) => Self::unreadable(reason),
            Failure::Remote(error) => Self::unavailable("the other engine", &error),
            Failure::Contended => Self::unavailable("the table's lock", &failure),
        }
    }
}

impl From<SubmitRefusal> for Problem {
    fn from(refusal: SubmitRefusal) -> Self {
        match refusal {
            SubmitRefusal::Protocol(SubmitRefused::Draining(reason)) => Self::draining(reason.as_deref()),
            SubmitRefusal::Protocol(SubmitRefused::UnknownTable) => Self::unknown_table(),
            SubmitRefusal::Protocol(SubmitRefused::Busy(active)) => {
                let message =
                    format!("job {active} is pending or running for this table: wait for it or cancel it");
                let mut problem = Self::new(StatusCode::CONFLICT, "job_active", message);
                problem.body.active_job_id = Some(active.to_string());
                problem
            }
            SubmitRefusal::IdempotencyMismatch => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_mismatch",
                "this Idempotency-Key was used for another request in the last 24 hours: use a new key",
            )
            .of_field("Idempotency-Key"),
        }
    }
}

impl From<CancelRefusal> for Problem {
    fn from(refusal: CancelRefusal) -> Self {
        match refusal {
            CancelRefusal::UnknownJob => Self::unknown_job(),
            CancelRefusal::Protocol(CancelRefused::Terminal(status)) => {
                let status = status.as_str();
                let message = format!("the job is {status} already and cannot be cancelled");
                let mut problem = Self::new(StatusCode::CONFLICT, "job_terminal", message);
                problem.body.status = Some(status.to_owned());
                problem
            }
        }
    }
}
