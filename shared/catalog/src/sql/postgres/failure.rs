//! What a failed statement of PostgreSQL means: for a read, and for a commit that may have been applied.

use std::error::Error;

use tokio_postgres::error::SqlState;

use super::super::database::SwapError;
use crate::config::configuration;
use crate::port::CatalogError;

/// How a statement failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused, with this state and message.
    Refused(SqlState, String),
    /// The connection ended before an answer came.
    Closed(String),
    /// No answer came in time.
    TooSlow,
    /// No connection, or an answer that cannot be read.
    Other(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // Said to whoever comes first after the server or an administrator ended the connection.
            Some(refusal) if matches!(refusal.code().code(), "57P01" | "57P02") => {
                Self::Closed(refusal.message().to_owned())
            }
            Some(refusal) => Self::Refused(refusal.code().clone(), refusal.message().to_owned()),
            None if error.is_closed() => Self::Closed(chain(&error)),
            None => Self::Other(chain(&error)),
        }
    }
}

/// What a failed read or connect means.
pub(super) fn describe(place: &str, failure: &Failure) -> CatalogError {
    let (state, message) = match failure {
        Failure::Refused(state, message) => (state, message),
        Failure::Closed(reason) | Failure::Other(reason) => {
            return CatalogError::Unavailable(format!("{place}: {reason}"));
        }
        Failure::TooSlow => return CatalogError::Unavailable(format!("{place} does not answer")),
    };
    let text = format!("{place}: {message} ({})", state.code());
    if *state == SqlState::UNDEFINED_TABLE {
        return configuration(format!(
            "{place} is not an Iceberg catalog, or not in this schema: {message}"
        ));
    }
    match class(state) {
        // The password, the right to connect, and rights on a table.
        "28" => CatalogError::AccessDenied(text),
        _ if *state == SqlState::INSUFFICIENT_PRIVILEGE => CatalogError::AccessDenied(text),
        // No such database or schema, or columns that are not those of a catalog.
        "3D" | "3F" | "42" => CatalogError::Configuration(text),
        "22" | "23" => CatalogError::Rejected(text),
        _ => CatalogError::Unavailable(text),
    }
}

/// What a failed `UPDATE` means within a transaction that is not committed: it was not applied.
pub(super) fn update_error(place: &str, failure: &Failure) -> SwapError {
    match failure {
        // Another writer's change came in between, whatever the isolation the server was told.
        Failure::Refused(state, _) if *state == SqlState::T_R_SERIALIZATION_FAILURE => SwapError::Moved,
        failure => SwapError::Certain(describe(place, failure)),
    }
}

/// What a failed `COMMIT` means. A server that says why it refused has rolled back, unless it stopped, broke
/// down, or says that it does not know.
pub(super) fn commit_error(place: &str, failure: &Failure) -> SwapError {
    let Failure::Refused(state, message) = failure else {
        return SwapError::Unknown(describe(place, failure).to_string());
    };
    let stopped = class(state) == "57" && *state != SqlState::QUERY_CANCELED;
    let open = stopped
        || matches!(class(state), "08" | "58" | "XX")
        || *state == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN;
    if open {
        return SwapError::Unknown(format!("{place}: {message} ({})", state.code()));
    }
    update_error(place, failure)
}

/// The first two characters of a state, which say what kind of error it is.
fn class(state: &SqlState) -> &str {
    state.code().get(..2).unwrap_or_default()
}

/// An error with its causes; the client prints only the outermost.
fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> Failure {
        Failure::Refused(SqlState::from_code(code), "m".to_owned())
    }

    #[test]
    fn only_what_certainly_failed_is_called_failed() {
        let is_open = |error: &SwapError| matches!(error, SwapError::Unknown(_));
        for code in ["57P01", "57P02", "08006", "XX000", "58030", "40003"] {
            assert!(is_open(&commit_error("h", &refused(code))), "{code}");
            assert!(!is_open(&update_error("h", &refused(code))), "{code}");
        }
        for failure in [
            Failure::TooSlow,
            Failure::Closed("c".into()),
            Failure::Other("o".into()),
        ] {
            assert!(is_open(&commit_error("h", &failure)), "{failure:?}");
            let not_sent = update_error("h", &failure);
            assert!(
                matches!(&not_sent, SwapError::Certain(error) if error.is_transient()),
                "{failure:?}: {not_sent:?}"
            );
        }
        for step in [update_error, commit_error] {
            assert!(matches!(step("h", &refused("40001")), SwapError::Moved));
            for (code, transient) in [
                ("55P03", true),
                ("57014", true),
                ("40P01", true),
                ("25006", true),
                ("42501", false),
            ] {
                let error = step("h", &refused(code));
                assert!(
                    matches!(&error, SwapError::Certain(error) if error.is_transient() == transient),
                    "{code}: {error:?}"
                );
            }
        }
    }

    #[test]
    fn reads_tell_rights_settings_and_outages_apart() {
        for code in ["28P01", "28000", "42501"] {
            let error = describe("h", &refused(code));
            assert!(
                matches!(error, CatalogError::AccessDenied(_)),
                "{code}: {error:?}"
            );
        }
        for code in ["42P01", "3D000", "42703"] {
            let error = describe("h", &refused(code));
            assert!(
                matches!(error, CatalogError::Configuration(_)),
                "{code}: {error:?}"
            );
        }
        for code in ["53300", "57P03", "08006"] {
            assert!(describe("h", &refused(code)).is_transient(), "{code}");
        }
    }
}
