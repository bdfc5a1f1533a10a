//! The database's tables and indexes, and their version.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;

/// Each step brings a file to the next version, from a fresh one on. The version is kept in SQLite's `user_version`.
const STEPS: [&str; 4] = [FIRST, UPKEEP_AND_HEALTH, ENDS, HEALTH_SYNC];

/// Instants are microseconds since the epoch. `due` and `finished_at` repeat what the job document says, for
/// the indexes: when its message is due (absent: never), and when it ended (absent: active).
const FIRST: &str = "
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

const UPKEEP_AND_HEALTH: &str = "
ALTER TABLE locks ADD COLUMN completed_at INTEGER;
ALTER TABLE locks ADD COLUMN orphans_removed_at INTEGER;
DROP INDEX cache_entries_by_generation;
ALTER TABLE cache_state ADD COLUMN position TEXT;

CREATE TABLE health (
    database_name TEXT NOT NULL,
    table_name TEXT NOT NULL,
    collected_at INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (database_name, table_name, collected_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX health_by_age ON health (collected_at);

CREATE TABLE runs (
    id TEXT PRIMARY KEY NOT NULL,
    started_at INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_by_start ON runs (started_at, id);
";

const ENDS: &str = "ALTER TABLE locks ADD COLUMN ended_at INTEGER;";

const HEALTH_SYNC: &str = "
CREATE TABLE health_sync (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    position TEXT NOT NULL
) STRICT;
";

/// Brings a file to the newest version in one transaction.
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
    let known = STEPS.len() as i64;
    let todo = usize::try_from(found).ok().and_then(|found| STEPS.get(found..));
    let Some(todo) = todo else {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    };
    for step in todo {
        transaction.execute_batch(step).map_err(sqlite)?;
    }
    if !todo.is_empty() {
        transaction
            .pragma_update(None, "user_version", known)
            .map_err(sqlite)?;
    }
    transaction.commit().map_err(sqlite)
}
