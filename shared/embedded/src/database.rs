//! Connections to the file, and work on them off the async threads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::Mutex;

use crate::OpenError;
use crate::error::DatabaseError;
use crate::schema;

/// Connections for reading. SQLite has one writer anyway; two readers keep both cores of a small machine busy.
const READERS: usize = 2;

/// How long to wait for another process that holds the file, for example a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// An open database: one connection that writes, a few that read.
#[derive(Debug)]
pub(crate) struct Database {
    writer: Arc<Mutex<Connection>>,
    readers: Vec<Arc<Mutex<Connection>>>,
    next_reader: AtomicUsize,
}

impl Database {
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let mut writer = connect(path)?;
        schema::prepare(&mut writer, path)?;
        let readers = (0..READERS)
            .map(|_| connect(path).map(|connection| Arc::new(Mutex::new(connection))))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            writer: Arc::new(Mutex::new(writer)),
            readers,
            next_reader: AtomicUsize::new(0),
        })
    }

    /// Runs `work` on one snapshot of the database.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, DatabaseError> + Send + 'static,
    {
        let reader = self.next_reader.fetch_add(1, Ordering::Relaxed) % self.readers.len();
        run(
            &self.readers[reader],
            TransactionBehavior::Deferred,
            |transaction| work(transaction).map(Outcome::Commit),
        )
        .await
    }

    /// Runs `work` in the only write transaction; durable once this returns `Ok`.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, DatabaseError> + Send + 'static,
    {
        self.write_or_undo(|transaction| work(transaction).map(Outcome::Commit))
            .await
    }

    /// Like [`Self::write`], for work that may decide to leave no trace.
    pub(crate) async fn write_or_undo<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<Outcome<T>, DatabaseError> + Send + 'static,
    {
        run(&self.writer, TransactionBehavior::Immediate, work).await
    }
}

/// What to do with a transaction whose work succeeded.
pub(crate) enum Outcome<T> {
    Commit(T),
    Undo(T),
}

fn connect(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    };
    open().map_err(|source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    })
}

async fn run<T, F>(
    connection: &Arc<Mutex<Connection>>,
    behavior: TransactionBehavior,
    work: F,
) -> Result<T, DatabaseError>
where
    T: Send + 'static,
    F: FnOnce(&Transaction<'_>) -> Result<Outcome<T>, DatabaseError> + Send + 'static,
{
    let mut connection = Arc::clone(connection).lock_owned().await;
    let work = move || {
        let transaction = connection.transaction_with_behavior(behavior)?;
        match work(&transaction)? {
            Outcome::Commit(value) => transaction.commit().map(|()| value).map_err(DatabaseError::from),
            Outcome::Undo(value) => transaction
                .rollback()
                .map(|()| value)
                .map_err(DatabaseError::from),
        }
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| DatabaseError::Stopped)?
}
