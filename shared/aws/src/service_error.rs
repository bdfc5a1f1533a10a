//! What errors of AWS services mean to the users of a store or queue.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use snowpack_service::ports::StoreError;

/// Codes that ask to come back later, whatever their HTTP status.
const TRANSIENT_CODES: [&str; 9] = [
    "InternalServerError",
    "KmsThrottled",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// Sorts a failed call of `operation`. The SDK has retried already where that could help.
pub(crate) fn store_error<E>(operation: &str, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().unwrap_or("unknown error");
            let message = answer.err().message().unwrap_or("no message");
            let text = format!("{operation}: {code}: {message}");
            if TRANSIENT_CODES.contains(&code) || answer.raw().status().is_server_error() {
                StoreError::Unavailable(text)
            } else {
                StoreError::Refused(text)
            }
        }
        SdkError::ConstructionFailure(_) => {
            StoreError::Refused(format!("{operation}: {}", DisplayErrorContext(error)))
        }
        _ => StoreError::Unavailable(format!("{operation}: {}", DisplayErrorContext(error))),
    }
}
