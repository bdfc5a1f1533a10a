//! The statements of a catalog in PostgreSQL.
//!
//! One connection is kept for reading. A commit opens its own, so that no connection which died unseen makes
//! its outcome unknown. Statements are unnamed, and what is set lasts for a transaction: they work through a pooler.

mod address;
mod failure;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use snowpack_domain::TableId;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::database::{Entry, NAMESPACES, Swap, SwapError, check_name, listed};
use crate::config::CatalogConfig;
use crate::port::CatalogError;
use address::Address;
use failure::{Failure, commit_error, update_error};

/// A statement on a key takes milliseconds; this is a server or network that does not answer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the server waits for a lock by [`BEGIN`], which it keeps by itself and answers for.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(20);
/// An `UPDATE` waits five seconds for another writer's lock, which commits hold for milliseconds, and then looks at
/// the row as that writer left it.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '5s'";

type Parameters<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

/// One catalog inside a PostgreSQL database.
#[derive(Clone)]
pub(super) struct Postgres {
    config: Arc<Config>,
    tls: MakeRustlsConnect,
    /// Host and database, for messages.
    place: String,
    /// The value of `catalog_name`.
    name: String,
    reader: Arc<Mutex<Option<Arc<Client>>>>,
}

/// Shows neither user nor password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("place", &self.place)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// Nothing is contacted yet.
    ///
    /// # Errors
    /// [`CatalogError::Configuration`] about the address, which is not repeated.
    pub(super) fn new(uri: &str, config: &CatalogConfig) -> Result<Self, CatalogError> {
        let address = Address::parse(uri, config)?;
        Ok(Self {
            tls: MakeRustlsConnect::new(tls::client(&address.trust)?),
            config: Arc::new(address.config),
            place: address.place,
            name: config.name.clone(),
            reader: Arc::default(),
        })
    }

    pub(super) async fn check(&self) -> Result<(), CatalogError> {
        let mut sql = "SELECT DISTINCT catalog_name FROM iceberg_tables".to_owned();
        if self.has_namespaces().await? {
            sql.push_str(" UNION SELECT catalog_name FROM iceberg_namespace_properties");
        }
        let names = self.strings(&format!("{sql} ORDER BY 1"), &[]).await?;
        check_name(&self.place, &self.name, &names)
    }

    pub(super) async fn find(&self, table: &TableId) -> Result<Option<Entry>, CatalogError> {
        let (database, name) = (table.database.as_str(), table.table.as_str());
        let rows = self
            .read(FIND, &[text(&self.name), text(&database), text(&name)])
            .await?;
        rows.first().map(|row| self.entry(row)).transpose()
    }

    pub(super) async fn swap(&self, swap: &Swap) -> Result<(), SwapError> {
        let client = self.connect().await?;
        let what = format!("{}: {}", swap.table, self.place);
        // Nothing is applied before COMMIT is sent, even if the answer is lost.
        let updated = in_time(self.update(&client, swap)).await;
        let moved = updated.map_err(|failure| update_error(&what, &failure))?;
        if moved == 0 {
            // Ended in order, the transaction costs a pooler no connection.
            if let Err(failure) = in_time(execute(&client, "ROLLBACK")).await {
                tracing::debug!(what, ?failure, "a transaction that changed nothing was not ended");
            }
            return match self.find(&swap.table).await? {
                Some(_) => Err(SwapError::Moved),
                None => Err(CatalogError::NoSuchTable(swap.table.to_string()).into()),
            };
        }
        let committed = in_time(execute(&client, "COMMIT")).await;
        committed.map_err(|failure| commit_error(&what, &failure))
    }

    /// Begins a transaction that moves the pointer; returns the number of rows that were where they had to be.
    async fn update(&self, client: &Client, swap: &Swap) -> Result<u64, Failure> {
        execute(client, BEGIN).await?;
        let (database, name) = (swap.table.database.as_str(), swap.table.table.as_str());
        let sql = "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2 \
                   WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $2";
        let parameters = [
            text(&swap.to),
            text(&swap.from),
            text(&self.name),
            text(&database),
            text(&name),
        ];
        Ok(client.execute_typed(sql, &parameters).await?)
    }

    pub(super) async fn insert(&self, table: &TableId, location: &str) -> Result<(), CatalogError> {
        let sql = "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, \
                   iceberg_type) VALUES ($1, $2, $3, $4, 'TABLE') ON CONFLICT DO NOTHING RETURNING table_name";
        let (database, name) = (table.database.as_str(), table.table.as_str());
        let row = [text(&self.name), text(&database), text(&name), text(&location)];
        match self.read(sql, &row).await?.is_empty() {
            false => Ok(()),
            true => Err(CatalogError::Rejected(format!("table {table} already exists"))),
        }
    }

    pub(super) async fn namespaces(&self) -> Result<Vec<String>, CatalogError> {
        let mut sql =
            "SELECT DISTINCT table_namespace FROM iceberg_tables WHERE catalog_name = $1".to_owned();
        if self.has_namespaces().await? {
            sql.push_str(" UNION SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = $1");
        }
        self.strings(&format!("{sql} ORDER BY 1"), &[text(&self.name)])
            .await
    }

    pub(super) async fn tables(
        &self,
        namespace: &str,
    ) -> Result<Vec<(String, Option<String>)>, CatalogError> {
        let rows = self.read(LIST, &[text(&self.name), text(&namespace)]).await?;
        let mut tables = Vec::new();
        for row in &rows {
            let name = row.try_get("table_name");
            let name = name.map_err(|error| self.describe(&error.into()))?;
            tables.extend(listed((name, self.entry(row)?)));
        }
        Ok(tables)
    }

    async fn has_namespaces(&self) -> Result<bool, CatalogError> {
        const SQL: &str = "SELECT to_regclass($1)::text WHERE to_regclass($1) IS NOT NULL";
        let found = self.strings(SQL, &[text(&NAMESPACES)]).await?;
        Ok(!found.is_empty())
    }

    /// A row of `iceberg_tables`. V0 has no `iceberg_type`; in V1 it is NULL or `TABLE` for tables.
    fn entry(&self, row: &Row) -> Result<Entry, CatalogError> {
        let read = |column: &str| {
            row.try_get::<_, Option<String>>(column)
                .map_err(|error| self.describe(&error.into()))
        };
        let typed = row.columns().iter().any(|column| column.name() == "iceberg_type");
        let kind = if typed { read("iceberg_type")? } else { None };
        if kind.is_some_and(|kind| kind != "TABLE") {
            return Ok(Entry::View);
        }
        Ok(read("metadata_location")?.map_or(Entry::Empty, Entry::Table))
    }

    async fn strings(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<String>, CatalogError> {
        let rows = self.read(sql, parameters).await?;
        let first = rows.iter().map(|row| row.try_get(0));
        first
            .collect::<Result<_, _>>()
            .map_err(|error| self.describe(&error.into()))
    }

    /// Runs a statement on the connection kept for it; on a new one if that turns out to be dead.
    async fn read(&self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, CatalogError> {
        let mut reader = self.reader.lock().await;
        let kept = reader.take().filter(|client| !client.is_closed());
        if let Some(client) = kept {
            match query(&client, sql, parameters).await {
                Err(Failure::Closed(_) | Failure::TooSlow) => {}
                answer => {
                    *reader = Some(client);
                    return answer.map_err(|failure| self.describe(&failure));
                }
            }
        }
        let client = reader.insert(Arc::new(self.connect().await?));
        let answer = query(client, sql, parameters).await;
        answer.map_err(|failure| self.describe(&failure))
    }

    async fn connect(&self) -> Result<Client, CatalogError> {
        let connected = timeout(READ_TIMEOUT, self.config.connect(self.tls.clone())).await;
        let connected = connected.map_err(|_elapsed| self.describe(&Failure::TooSlow))?;
        let (client, connection) = connected.map_err(|error| self.describe(&error.into()))?;
        let place = self.place.clone();
        // It ends with its client.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(place, %error, "the connection to the catalog's database ended");
            }
        });
        Ok(client)
    }

    fn describe(&self, failure: &Failure) -> CatalogError {
        failure::describe(&self.place, failure)
    }
}

/// The whole row, as Java reads it: whether there is an `iceberg_type` tells V0 from V1.
const FIND: &str =
    "SELECT * FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";
const LIST: &str =
    "SELECT * FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 ORDER BY table_name";

async fn query(client: &Client, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, Failure> {
    match timeout(READ_TIMEOUT, client.query_typed(sql, parameters)).await {
        Ok(answer) => answer.map_err(Failure::from),
        Err(_elapsed) => Err(Failure::TooSlow),
    }
}

async fn execute(client: &Client, sql: &str) -> Result<(), Failure> {
    Ok(client.batch_execute(sql).await?)
}

/// The answer to a step of a commit.
async fn in_time<T>(step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(COMMIT_TIMEOUT, step)
        .await
        .unwrap_or(Err(Failure::TooSlow))
}

fn text(value: &(dyn ToSql + Sync)) -> (&(dyn ToSql + Sync), Type) {
    (value, Type::TEXT)
}
