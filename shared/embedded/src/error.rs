//! What SQLite's errors mean to callers.

use std::path::PathBuf;

use rusqlite::ErrorCode;
use snowpack_service::ports::StoreError;
use snowpack_wire::stored::StoredError;

/// Why the database file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer version of Snowpack made it.
    #[error("{} was made by a newer version of Snowpack (schema {found}, this one knows {known}): use that version, or another state directory", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest schema version this program knows.
        known: i64,
    },
    /// SQLite could not open it or create its tables.
    #[error("cannot open the state database {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
}

/// Why a piece of work on the database failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Document(#[from] StoredError),
    #[error("{0}")]
    Unreadable(String),
    #[error("the task working on the database was stopped")]
    Stopped,
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        let message = error.to_string();
        match error {
            DatabaseError::Sqlite(error) => match error.sqlite_error_code() {
                Some(
                    ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::CannotOpen
                    | ErrorCode::AuthorizationForStatementDenied,
                ) => Self::Refused(message),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => Self::Corrupt(message),
                Some(_) => Self::Unavailable(message),
            },
            DatabaseError::Document(_) | DatabaseError::Unreadable(_) => Self::Corrupt(message),
            DatabaseError::Stopped => Self::Unavailable(message),
        }
    }
}
