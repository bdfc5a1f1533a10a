//! The database's tables and indexes, and their version.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;

/// Kept in SQLite's `user_version`; 0 is a fresh file.
const SCHEMA_VERSION: i64 = 1;

/// Instants are microseconds since the epoch. `due` and `finished_at` repeat what the job document says, for
/// the indexes: when its message is due (absent: never), and when it ended (absent: active).
const SCHEMA: &str = "
CREATE TABLE jobs (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,
    status TEXT NOT NULL,
    database_name TEXT NOT NULL,
    table_name TEXT NOT NULL,
    submitted_at INTEGER NOT NULL,
    finished_at INTEGER,
    due INTEGER,
    document TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_by_submission ON jobs (submitted_at, id);
CREATE INDEX jobs_by_status ON jobs (status, submitted_at, id);
CREATE INDEX jobs_by_database ON jobs (database_name, submitted_at, id);
CREATE INDEX jobs_by_table ON jobs (table_name, database_name, submitted_at, id);
CREATE INDEX finished_jobs ON jobs (finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX finished_jobs_by_table ON jobs (table_name, database_name, finished_at, id)
    WHERE finished_at IS NOT NULL;
CREATE INDEX due_jobs ON jobs (due) WHERE due IS NOT NULL;

CREATE TABLE locks (
    database_name TEXT NOT NULL,
    table_name TEXT NOT NULL,
    version INTEGER NOT NULL,
    holder TEXT,
    fence INTEGER NOT NULL,
    PRIMARY KEY (database_name, table_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE drain (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    version INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    reason TEXT
) STRICT;

CREATE TABLE cache_entries (
    database_name TEXT NOT NULL,
    table_name TEXT NOT NULL,
    location TEXT,
    metadata_location TEXT,
    format_version INTEGER,
    properties TEXT NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (database_name, table_name)
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_entries_by_generation ON cache_entries (generation);

CREATE TABLE cache_state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    generation INTEGER NOT NULL,
    last_synced INTEGER,
    table_count INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY NOT NULL,
    request_hash TEXT NOT NULL,
    job TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    visible_at INTEGER NOT NULL,
    receive_count INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX messages_by_visibility ON messages (visible_at, id);
";

/// Makes a fresh file's tables in one transaction, and checks the version of any other.
///
/// # Errors
/// [`OpenError::Newer`] when a newer program made the file; [`OpenError::Sqlite`] otherwise.
pub(crate) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sqlite)?;
    let found: i64 = transaction
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(sqlite)?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: SCHEMA_VERSION,
        });
    }
    if found == 0 {
        transaction.execute_batch(SCHEMA).map_err(sqlite)?;
        transaction
            .pragma_update(None, "user_version", SCHEMA_VERSION)
            .map_err(sqlite)?;
    }
    transaction.commit().map_err(sqlite)
}
