//! One catalog in a schema of its own for every test, reached through the proxy as a role without rights to
//! more than it needs.

use std::path::PathBuf;

use snowpack_catalog::{AnyCatalog, CatalogConfig, CatalogKind, open};
use snowpack_domain::TableId;
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

use crate::proxy::Proxy;
use crate::suite::{Fault, Harness, creation};

/// The schema that Java makes, V1.
const SCHEMA: &str = "
    CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
        table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
        iceberg_type VARCHAR(5), PRIMARY KEY (catalog_name, table_namespace, table_name));
    CREATE TABLE iceberg_namespace_properties (catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL,
        property_key VARCHAR(255), property_value VARCHAR(1000), PRIMARY KEY (catalog_name, namespace, property_key));";
pub(crate) struct Postgres {
    pub(crate) admin: Client,
    pub(crate) catalog: AnyCatalog,
    pub(crate) config: CatalogConfig,
    pub(crate) folder: TempDir,
    pub(crate) schema: String,
    pub(crate) proxy: Proxy,
}

/// Where the server is, and how to get in as its superuser.
pub(crate) fn server() -> Config {
    let address = std::env::var("SNOWPACK_TEST_POSTGRES");
    let address = address.expect("tests/run starts PostgreSQL and names it in SNOWPACK_TEST_POSTGRES");
    address.parse().unwrap()
}

pub(crate) async fn admin() -> Client {
    let (client, connection) = server().connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A catalog with one table, made by ourselves.
pub(crate) async fn postgres() -> Postgres {
    let folder = tempfile::tempdir().unwrap();
    let admin = admin().await;
    let schema = format!("s{}", uuid::Uuid::new_v4().simple());
    let role = format!(
        "CREATE ROLE {schema} LOGIN PASSWORD 'hush'; CREATE SCHEMA {schema}; SET search_path = {schema}; {SCHEMA};
         GRANT USAGE ON SCHEMA {schema} TO {schema};
         GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO {schema}"
    );
    admin.batch_execute(&role).await.unwrap();
    let proxy = Proxy::start(format!("127.0.0.1:{}", server().get_ports()[0])).await;
    let config = config(proxy.port, &schema, "sslmode=disable");
    let catalog = open(&config, None).await.unwrap();
    let harness = Postgres {
        admin,
        catalog,
        config,
        folder,
        schema,
        proxy,
    };
    let made = harness.catalog.sql().unwrap();
    let creation = creation(harness.folder.path());
    made.create_table(&harness.table(), creation).await.unwrap();
    harness
}

/// A catalog of that schema, as its own role, at that port.
pub(crate) fn config(port: u16, schema: &str, options: &str) -> CatalogConfig {
    let database = server().get_dbname().unwrap().to_owned();
    let mut config = CatalogConfig::new(CatalogKind::Sql);
    config.uri = Some(format!(
        "postgresql://{schema}@localhost:{port}/{database}?currentSchema={schema}&{options}"
    ));
    config
        .properties
        .insert("jdbc.password".to_owned(), "hush".to_owned());
    config
}

impl Postgres {
    /// Cuts the next connection that asks for that, once it is done.
    pub(crate) fn lose_answer_to(&self, statement: &'static str) {
        *self.proxy.wire.cut.lock().unwrap() = Some(statement);
    }

    pub(crate) fn execute(&self, sql: &str) {
        let done = self.admin.batch_execute(sql);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(done)).unwrap();
    }
}

impl Harness for Postgres {
    fn catalog(&self) -> &AnyCatalog {
        &self.catalog
    }
    fn table(&self) -> TableId {
        TableId::parse("db.nested.t").unwrap()
    }
    fn metadata_folder(&self) -> Option<PathBuf> {
        Some(self.folder.path().join("t/metadata"))
    }
    fn inject(&self, fault: Fault) -> bool {
        let schema = &self.schema;
        match fault {
            Fault::Conflict => self.execute(
                "CREATE OR REPLACE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
                 CREATE TRIGGER first BEFORE UPDATE ON iceberg_tables FOR EACH ROW EXECUTE FUNCTION lose()",
            ),
            Fault::Denied => self.execute(&format!(
                "DROP TRIGGER first ON iceberg_tables; REVOKE UPDATE ON iceberg_tables FROM {schema}"
            )),
            // Another writer holds the row for longer than a commit waits.
            Fault::Throttled => {
                self.execute(&format!("GRANT UPDATE ON iceberg_tables TO {schema}"));
                self.execute("BEGIN");
                self.execute("SELECT * FROM iceberg_tables FOR UPDATE");
            }
            Fault::LostAnswer => {
                self.execute("ROLLBACK");
                self.lose_answer_to("COMMIT\0");
            }
        }
        true
    }
    fn deny_reads(&self) -> bool {
        self.execute(&format!(
            "REVOKE SELECT ON ALL TABLES IN SCHEMA {0} FROM {0}",
            self.schema
        ));
        true
    }
    fn drop_table(&self) {
        self.execute("DELETE FROM iceberg_tables");
    }
}
