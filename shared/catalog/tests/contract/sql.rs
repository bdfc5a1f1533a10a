//! The SQL adapter on SQLite files of every schema in use.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use iceberg::TableUpdate;
use rusqlite::Connection;
use snowpack_catalog::{
    AnyCatalog, Catalog, CatalogConfig, CatalogError, CatalogKind, CommitError, LoadedTable, TableChange,
    create_sql_catalog, open,
};
use snowpack_domain::TableId;
use tempfile::TempDir;

use crate::suite::{Fault, Harness, append, contract, creation};

struct Sql {
    folder: TempDir,
    catalog: AnyCatalog,
}

fn config(folder: &TempDir) -> CatalogConfig {
    CatalogConfig {
        uri: Some(format!("sqlite://{}/catalog.db", folder.path().display())),
        ..CatalogConfig::new(CatalogKind::Sql)
    }
}

/// A catalog with one table, made by ourselves.
async fn sql() -> Sql {
    let folder = tempfile::tempdir().unwrap();
    create_sql_catalog(&folder.path().join("catalog.db")).unwrap();
    let catalog = open(&config(&folder), None).await.unwrap();
    let harness = Sql { folder, catalog };
    let catalog = harness.catalog.sql().unwrap();
    catalog
        .create_table(&harness.table(), creation(harness.folder.path()))
        .await
        .unwrap();
    harness
}

/// The same with the table as Java's schema V0 has it, and a row of another catalog beside it.
async fn sql_v0() -> Sql {
    let harness = sql().await;
    harness.execute("ALTER TABLE iceberg_tables DROP COLUMN iceberg_type");
    harness.execute("DROP TABLE iceberg_namespace_properties");
    harness.execute("INSERT INTO iceberg_tables VALUES ('other', 'db.nested', 'x', '/x', NULL)");
    harness
}

impl Sql {
    fn connect(&self) -> Connection {
        Connection::open(self.folder.path().join("catalog.db")).unwrap()
    }

    fn execute(&self, sql: &str) {
        self.connect().execute(sql, []).unwrap();
    }

    async fn load(&self) -> LoadedTable {
        self.catalog.load(&self.table()).await.unwrap()
    }
}

impl Harness for Sql {
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
        if fault == Fault::Conflict {
            // The pointer moves between our check of the requirements and our UPDATE.
            self.execute(
                "CREATE TRIGGER first BEFORE UPDATE ON iceberg_tables BEGIN SELECT RAISE(IGNORE); END",
            );
        }
        if fault == Fault::Denied {
            self.execute("DROP TRIGGER first");
        }
        fault == Fault::Conflict
    }
    fn deny_reads(&self) -> bool {
        false
    }
    fn drop_table(&self) {
        self.execute("DELETE FROM iceberg_tables");
    }
}

contract!(sql());

mod v0 {
    use super::*;

    contract!(sql_v0());
}

#[tokio::test]
async fn a_locked_file_is_waited_for_and_then_unavailable() {
    let sql = sql().await;
    let base = sql.load().await;
    let lock = sql.connect();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = Instant::now();
    let error = sql.catalog.commit(&base, append(&base).1).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Failed(CatalogError::Unavailable(_))),
        "{error:?}"
    );
    assert!(started.elapsed() > Duration::from_secs(4));
    assert_eq!(
        std::fs::read_dir(sql.metadata_folder().unwrap()).unwrap().count(),
        1,
        "nothing is left"
    );
    lock.execute_batch("ROLLBACK").unwrap();
    sql.catalog.commit(&base, append(&base).1).await.unwrap();
}

#[tokio::test]
async fn no_lock_outlives_a_call() {
    let sql = sql().await;
    let base = sql.load().await;
    sql.catalog.commit(&base, append(&base).1).await.unwrap();
    sql.catalog.databases().await.unwrap();
    sql.connect().execute_batch("BEGIN EXCLUSIVE; COMMIT").unwrap();
}

async fn listed(sql: &Sql, database: &str) -> Vec<TableId> {
    let listed = sql.catalog.tables(database).await.unwrap();
    listed.into_iter().map(|listed| listed.table).collect()
}

#[tokio::test]
async fn views_are_unsupported_and_not_listed() {
    let sql = sql().await;
    sql.execute("INSERT INTO iceberg_tables VALUES ('snowpack', 'db.nested', 'v', '/v', NULL, 'VIEW')");
    let error = sql
        .catalog
        .load(&TableId::parse("db.nested.v").unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CatalogError::Unsupported(reason) if reason.contains("view")),
        "{error:?}"
    );
    assert_eq!(listed(&sql, "db.nested").await, [sql.table()]);
}

#[tokio::test]
async fn names_snowpack_cannot_address_and_empty_namespaces() {
    let sql = sql().await;
    sql.execute("INSERT INTO iceberg_tables VALUES ('snowpack', 'db.nested', 'odd name', '/v', NULL, NULL)");
    sql.execute("INSERT INTO iceberg_namespace_properties VALUES ('snowpack', 'empty', 'exists', 'true')");
    assert_eq!(listed(&sql, "db.nested").await, [sql.table()]);
    assert_eq!(sql.catalog.databases().await.unwrap(), ["db.nested", "empty"]);
}

#[tokio::test]
async fn what_is_no_catalog_is_refused_when_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let refused = async |expected: &str| {
        let error = open(&config(&folder), None).await.unwrap_err();
        assert!(matches!(error, CatalogError::Configuration(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("catalog.db"), "{text}");
    };
    refused("does not exist").await;
    std::fs::write(&path, "this is no database, however long one looks at it").unwrap();
    refused("not a database").await;
    std::fs::remove_file(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute("CREATE TABLE t (a)", [])
        .unwrap();
    refused("no table iceberg_tables").await;
    assert!(
        create_sql_catalog(&path)
            .unwrap_err()
            .to_string()
            .contains("exists")
    );
}

#[tokio::test]
async fn a_wrong_catalog_name_is_told_the_right_ones() {
    let sql = sql().await;
    let config = CatalogConfig {
        name: "nope".to_owned(),
        ..config(&sql.folder)
    };
    let error = open(&config, None).await.unwrap_err().to_string();
    assert!(
        error.contains("\"nope\"") && error.ends_with("it has: snowpack"),
        "{error}"
    );
}

#[tokio::test]
async fn tables_are_created_once() {
    let sql = sql().await;
    let catalog = sql.catalog.sql().unwrap();
    let error = catalog
        .create_table(&sql.table(), creation(sql.folder.path()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
    assert_eq!(
        std::fs::read_dir(sql.metadata_folder().unwrap()).unwrap().count(),
        1
    );
}

#[tokio::test]
async fn metadata_that_is_missing_broken_or_unset_is_named() {
    let sql = sql().await;
    let location = sql.load().await.metadata_location;
    let path = location.strip_prefix("file://").unwrap().to_owned();
    let bad = async |expected: &str| {
        let error = sql.catalog.load(&sql.table()).await.unwrap_err();
        let CatalogError::BadMetadata {
            table,
            location: named,
            reason,
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((table.as_str(), named), ("db.nested.t", &location));
        assert!(reason.contains(expected), "{reason}");
    };
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    bad("not JSON").await;
    std::fs::remove_file(&path).unwrap();
    bad("does not exist").await;
    sql.execute("UPDATE iceberg_tables SET metadata_location = NULL");
    let error = sql.catalog.load(&sql.table()).await.unwrap_err();
    assert!(matches!(error, CatalogError::BadMetadata { .. }), "{error:?}");
}

#[tokio::test]
async fn a_commit_that_changes_nothing_writes_nothing() {
    let sql = sql().await;
    let base = sql.load().await;
    let same = sql.catalog.commit(&base, TableChange::default()).await.unwrap();
    assert_eq!(same.metadata_location, base.metadata_location);
    assert_eq!(
        std::fs::read_dir(sql.metadata_folder().unwrap()).unwrap().count(),
        1
    );
}

#[tokio::test]
async fn old_metadata_files_go_when_the_table_says_so() {
    let sql = sql().await;
    let mut table = sql.load().await;
    let set = |name: &str, value: &str| TableChange {
        requirements: Vec::new(),
        updates: vec![TableUpdate::SetProperties {
            updates: [(name.to_owned(), value.to_owned())].into(),
        }],
    };
    let count = || std::fs::read_dir(sql.metadata_folder().unwrap()).unwrap().count();
    table = sql
        .catalog
        .commit(&table, set("write.metadata.previous-versions-max", "2"))
        .await
        .unwrap();
    for n in 0..3 {
        table = sql
            .catalog
            .commit(&table, set("n", &n.to_string()))
            .await
            .unwrap();
    }
    assert_eq!(
        (count(), table.metadata.metadata_log().len()),
        (5, 2),
        "kept until asked to delete"
    );
    let delete = "write.metadata.delete-after-commit.enabled";
    table = sql.catalog.commit(&table, set(delete, "true")).await.unwrap();
    assert_eq!(count(), 5, "one came, one went");
    table = sql
        .catalog
        .commit(&table, set("gc.enabled", "false"))
        .await
        .unwrap();
    assert_eq!(count(), 6, "gc.enabled=false forbids it");
    assert_eq!(table.metadata.metadata_log().len(), 2);
}

#[tokio::test]
async fn metadata_can_be_gzipped_and_put_elsewhere() {
    let sql = sql().await;
    let elsewhere = sql.folder.path().join("elsewhere");
    let updates = TableUpdate::SetProperties {
        updates: [
            ("write.metadata.compression-codec".to_owned(), "gzip".to_owned()),
            (
                "write.metadata.path".to_owned(),
                format!("{}/", elsewhere.display()),
            ),
        ]
        .into(),
    };
    let change = TableChange {
        requirements: Vec::new(),
        updates: vec![updates],
    };
    let base = sql.load().await;
    let written = sql.catalog.commit(&base, change).await.unwrap();
    assert!(
        written
            .metadata_location
            .starts_with(&format!("{}/00001-", elsewhere.display()))
    );
    assert!(written.metadata_location.ends_with(".gz.metadata.json"));
    assert_eq!(
        std::fs::read(&written.metadata_location).unwrap()[..2],
        [0x1f, 0x8b]
    );
    assert_eq!(sql.load().await.metadata, written.metadata);
}
