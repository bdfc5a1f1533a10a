//! The statements of a catalog in a SQLite file, and what their failures mean.
//!
//! Spark and others share the file, so no connection, statement or lock outlives a call: every operation opens
//! a connection, runs one statement at a time outside any transaction, and closes it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};
use snowpack_domain::TableId;

use super::database::{Entry, NAMESPACES, Swap, SwapError, check_name, listed};
use crate::config::configuration;
use crate::port::CatalogError;

/// How long a statement waits for another program's lock. Commits of other engines hold it for milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// One catalog inside a SQLite file.
#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    path: String,
    /// The value of `catalog_name`.
    name: String,
}

impl Sqlite {
    pub(super) fn new(path: String, name: String) -> Self {
        Self { path, name }
    }

    /// Checks that the file is a catalog and, unless it is empty, that it has one of this name.
    pub(super) async fn check(&self) -> Result<(), CatalogError> {
        let names = self.query(Self::catalog_names).await?;
        check_name(&self.path, &self.name, &names)
    }

    fn catalog_names(&self, connection: &Connection) -> Result<Vec<String>, CatalogError> {
        if !has_table(connection, "iceberg_tables").map_err(|error| self.describe(&error))? {
            let reason = format!(
                "{} is not an Iceberg catalog: it has no table iceberg_tables",
                self.path
            );
            return Err(configuration(reason));
        }
        let mut sql = "SELECT DISTINCT catalog_name FROM iceberg_tables".to_owned();
        if has_table(connection, NAMESPACES).map_err(|error| self.describe(&error))? {
            sql.push_str(" UNION SELECT catalog_name FROM iceberg_namespace_properties");
        }
        self.strings(connection, &format!("{sql} ORDER BY 1"), &[])
    }

    pub(super) async fn find(&self, table: &TableId) -> Result<Option<Entry>, CatalogError> {
        let table = table.clone();
        self.query(move |database, connection| database.find_in(connection, &table))
            .await
    }

    fn find_in(&self, connection: &Connection, table: &TableId) -> Result<Option<Entry>, CatalogError> {
        // The whole row, as Java reads it: whether there is an iceberg_type tells V0 from V1.
        let sql = "SELECT * FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3";
        let key = params![self.name, table.database.as_str(), table.table.as_str()];
        let found = connection.query_row(sql, key, entry).optional();
        found.map_err(|error| self.describe(&error))
    }

    /// Moves the table's pointer if it is still where it was.
    pub(super) async fn swap(&self, swap: Swap) -> Result<(), SwapError> {
        let database = self.clone();
        let done = tokio::task::spawn_blocking(move || database.swap_now(&swap)).await;
        done.unwrap_or_else(|stopped| Err(SwapError::Unknown(stopped.to_string())))
    }

    fn swap_now(&self, swap: &Swap) -> Result<(), SwapError> {
        let connection = self.connect()?;
        let sql = "UPDATE iceberg_tables SET metadata_location = ?1, previous_metadata_location = ?2 \
                   WHERE catalog_name = ?3 AND table_namespace = ?4 AND table_name = ?5 AND metadata_location = ?2";
        let (namespace, name) = (swap.table.database.as_str(), swap.table.table.as_str());
        match connection.execute(sql, params![swap.to, swap.from, self.name, namespace, name]) {
            Ok(0) => match self.find_in(&connection, &swap.table)? {
                Some(_) => Err(SwapError::Moved),
                None => Err(CatalogError::NoSuchTable(swap.table.to_string()).into()),
            },
            Ok(_) => Ok(()),
            Err(error) if surely_not_applied(&error) => Err(self.describe(&error).into()),
            Err(error) => Err(SwapError::Unknown(format!("{}: {error}", self.path))),
        }
    }

    /// Adds a table to a catalog of schema V1; it must not exist.
    pub(super) async fn insert(&self, table: &TableId, location: &str) -> Result<(), CatalogError> {
        let (table, location) = (table.clone(), location.to_owned());
        self.query(move |database, connection| {
            let sql = "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, \
                       iceberg_type) VALUES (?1, ?2, ?3, ?4, 'TABLE')";
            let row = params![database.name, table.database.as_str(), table.table.as_str(), location];
            connection.execute(sql, row).map(drop).map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => {
                    CatalogError::Rejected(format!("table {table} already exists"))
                }
                _ => database.describe(&error),
            })
        })
        .await
    }

    pub(super) async fn namespaces(&self) -> Result<Vec<String>, CatalogError> {
        self.query(|database, connection| {
            let mut sql =
                "SELECT DISTINCT table_namespace FROM iceberg_tables WHERE catalog_name = ?1".to_owned();
            if has_table(connection, NAMESPACES).map_err(|error| database.describe(&error))? {
                sql.push_str(
                    " UNION SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = ?1",
                );
            }
            database.strings(connection, &format!("{sql} ORDER BY 1"), &[&database.name])
        })
        .await
    }

    pub(super) async fn tables(
        &self,
        namespace: String,
    ) -> Result<Vec<(String, Option<String>)>, CatalogError> {
        self.query(move |database, connection| {
            let sql = "SELECT * FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2 ORDER BY table_name";
            let named = |row: &Row<'_>| Ok((row.get::<_, String>("table_name")?, entry(row)?));
            let mut statement = connection.prepare(sql).map_err(|error| database.describe(&error))?;
            let rows = statement.query_map([&database.name, &namespace], named);
            let rows = rows.and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>);
            let rows = rows.map_err(|error| database.describe(&error))?;
            Ok(rows.into_iter().filter_map(listed).collect())
        })
        .await
    }

    fn strings(
        &self,
        connection: &Connection,
        sql: &str,
        key: &[&String],
    ) -> Result<Vec<String>, CatalogError> {
        let read = || {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map(rusqlite::params_from_iter(key), |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        };
        read().map_err(|error| self.describe(&error))
    }

    async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self, &Connection) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let database = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&database, &database.connect()?)).await;
        done.unwrap_or_else(|stopped| Err(CatalogError::Unavailable(stopped.to_string())))
    }

    fn connect(&self) -> Result<Connection, CatalogError> {
        if !Path::new(&self.path).exists() {
            return Err(configuration(format!(
                "the SQL catalog {} does not exist",
                self.path
            )));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&self.path, flags).map_err(|error| self.describe(&error))?;
        connection
            .busy_timeout(BUSY_TIMEOUT)
            .map_err(|error| self.describe(&error))?;
        Ok(connection)
    }

    fn describe(&self, error: &rusqlite::Error) -> CatalogError {
        let what = format!("{}: {error}", self.path);
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => CatalogError::Configuration(what),
            Some(
                ErrorCode::PermissionDenied
                | ErrorCode::AuthorizationForStatementDenied
                | ErrorCode::ReadOnly,
            ) => CatalogError::AccessDenied(what),
            _ => CatalogError::Unavailable(what),
        }
    }
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.table_exists(None, name)
}

/// A row of `iceberg_tables`. V0 has no `iceberg_type`; in V1 it is NULL or `TABLE` for tables.
fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let kind: Option<String> = match row.as_ref().column_index("iceberg_type") {
        Ok(column) => row.get(column)?,
        Err(_) => None,
    };
    if kind.is_some_and(|kind| kind != "TABLE") {
        return Ok(Entry::View);
    }
    let location: Option<String> = row.get("metadata_location")?;
    Ok(location.map_or(Entry::Empty, Entry::Table))
}

/// Whether a failed `UPDATE` outside a transaction certainly left the file as it was. SQLite rolls such a
/// statement back when it cannot get its lock or runs out of space or of rights. An I/O error is not on the
/// list: it may come while the journal is removed, after the change became permanent.
fn surely_not_applied(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::AuthorizationForStatementDenied
                | ErrorCode::CannotOpen
                | ErrorCode::NotADatabase
                | ErrorCode::DiskFull
                | ErrorCode::ConstraintViolation
        )
    )
}
