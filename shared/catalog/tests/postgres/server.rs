//! The contract on PostgreSQL, and what only a server has: encryption, roles, restarts.

use snowpack_catalog::{Catalog, CatalogConfig, CatalogError, CommitError, TableChange, open};
use snowpack_domain::TableId;

use crate::harness::{Postgres, admin, config, postgres, server};
use crate::suite::{Harness, append, contract, creation};

contract!(postgres());

/// The same with the table as Java's schema V0 has it, and a row of another catalog beside it.
async fn postgres_v0() -> Postgres {
    let harness = postgres().await;
    harness.execute(
        "ALTER TABLE iceberg_tables DROP COLUMN iceberg_type; DROP TABLE iceberg_namespace_properties;
         INSERT INTO iceberg_tables VALUES ('other', 'db.nested', 'x', '/x', NULL)",
    );
    harness
}

mod v0 {
    use super::*;

    contract!(postgres_v0());
}

async fn refused(config: &CatalogConfig) -> CatalogError {
    let error = open(config, None).await.unwrap_err();
    assert!(!format!("{error} {config:?}").contains("hush"), "{error}");
    error
}

async fn load(config: &CatalogConfig) -> Result<(), CatalogError> {
    let catalog = open(config, None).await?;
    catalog
        .load(&TableId::parse("db.nested.t").unwrap())
        .await
        .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_encrypted_as_far_as_the_address_says() {
    let made = postgres().await;
    let port = server().get_ports()[0];
    let with = |options: &str| config(port, &made.schema, options);
    made.execute(&format!("GRANT encrypted_only TO {}", made.schema));
    let error = refused(&with("sslmode=disable")).await;
    assert!(matches!(error, CatalogError::AccessDenied(_)), "{error:?}");
    load(&with("sslmode=prefer")).await.unwrap();
    load(&with("sslmode=require")).await.unwrap();
    let authority = std::env::var("SNOWPACK_TEST_POSTGRES_CA").unwrap();
    load(&with(&format!("sslmode=verify-full&sslrootcert={authority}")))
        .await
        .unwrap();
    // Nobody but that file vouches for the server, and it does not for that name.
    let unknown = load(&with("sslmode=verify-full")).await.unwrap_err();
    let mut misnamed = with(&format!("sslmode=verify-full&sslrootcert={authority}"));
    misnamed.uri = misnamed.uri.map(|uri| uri.replace("localhost", "127.0.0.1"));
    let misnamed = load(&misnamed).await.unwrap_err();
    for error in [unknown, misnamed] {
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_denied_and_a_wrong_place_named() {
    let made = postgres().await;
    let mut wrong = made.config.clone();
    wrong
        .properties
        .insert("jdbc.password".to_owned(), "hush-hush".to_owned());
    assert!(matches!(refused(&wrong).await, CatalogError::AccessDenied(_)));

    let mut nameless = made.config.clone();
    nameless.name = "nope".to_owned();
    let error = refused(&nameless).await.to_string();
    assert!(
        error.contains("\"nope\"") && error.ends_with("it has: snowpack"),
        "{error}"
    );

    let mut elsewhere = made.config.clone();
    elsewhere.uri = elsewhere
        .uri
        .map(|uri| uri.replace("currentSchema=", "currentSchema=no"));
    let error = refused(&elsewhere).await;
    assert!(
        matches!(&error, CatalogError::Configuration(text) if text.contains("iceberg_tables")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_unavailable_and_tried_again() {
    let made = postgres().await;
    let mut down = made.config.clone();
    down.uri = Some("postgresql://me@localhost:1/none".to_owned());
    let catalog = open(&down, None).await.unwrap();
    let error = catalog.load(&made.table()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_ended_are_replaced() {
    let made = postgres().await;
    let base = made.catalog.load(&made.table()).await.unwrap();
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'",
        made.schema
    );
    let ended = admin().await.query(&end, &[]).await.unwrap();
    assert_eq!(ended.len(), 1, "one connection is kept");
    made.catalog.load(&made.table()).await.unwrap();
    admin().await.query(&end, &[]).await.unwrap();
    made.catalog.commit(&base, append(&base).1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_names_that_cannot_be_addressed_are_left_out() {
    let made = postgres().await;
    made.execute(
        "INSERT INTO iceberg_tables VALUES ('snowpack', 'db.nested', 'v', '/v', NULL, 'VIEW'),
             ('snowpack', 'db.nested', 'odd name', '/v', NULL, NULL), ('snowpack', 'db.nested', 'empty', NULL, NULL, 'TABLE');
         INSERT INTO iceberg_namespace_properties VALUES ('snowpack', 'bare', 'exists', 'true')",
    );
    assert_eq!(made.catalog.databases().await.unwrap(), ["bare", "db.nested"]);
    let tables = made.catalog.tables("db.nested").await.unwrap();
    assert_eq!(
        tables
            .iter()
            .map(|listed| listed.table.to_string())
            .collect::<Vec<_>>(),
        ["db.nested.empty", "db.nested.t"]
    );
    let view = made
        .catalog
        .load(&TableId::parse("db.nested.v").unwrap())
        .await
        .unwrap_err();
    assert!(view.to_string().contains("is a view"), "{view}");
    let empty = made
        .catalog
        .load(&TableId::parse("db.nested.empty").unwrap())
        .await
        .unwrap_err();
    assert!(matches!(empty, CatalogError::BadMetadata { .. }), "{empty:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_created_once_and_changes_of_nothing_write_nothing() {
    let made = postgres().await;
    let (table, catalog) = (made.table(), made.catalog.sql().unwrap());
    let again = catalog.create_table(&table, creation(made.folder.path())).await;
    assert!(again.unwrap_err().to_string().contains("already exists"));
    let base = made.catalog.load(&made.table()).await.unwrap();
    let same = made.catalog.commit(&base, TableChange::default()).await;
    assert_eq!(same.unwrap().metadata_location, base.metadata_location);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_commits_at_once_each_is_applied_or_conflicts() {
    let made = postgres().await;
    let base = made.catalog.load(&made.table()).await.unwrap();
    let commits = (0..16).map(|_| made.catalog.commit(&base, append(&base).1));
    let ends = futures::future::join_all(commits).await;
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
    let conflicts = ends
        .iter()
        .filter(|end| matches!(end, Err(CommitError::Conflict(_))));
    assert_eq!(conflicts.count(), 15, "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_whose_answer_is_lost_was_never_committed() {
    let made = postgres().await;
    let base = made.catalog.load(&made.table()).await.unwrap();
    let files = || {
        std::fs::read_dir(made.metadata_folder().unwrap())
            .unwrap()
            .count()
    };
    let before = files();
    made.lose_answer_to("UPDATE iceberg_tables");
    let error = made.catalog.commit(&base, append(&base).1).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Failed(CatalogError::Unavailable(_))),
        "{error:?}"
    );
    assert_eq!(files(), before);
    made.catalog.commit(&base, append(&base).1).await.unwrap();
}

/// What a pooler lends to somebody else between transactions.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_set_for_a_commit_outlives_its_transaction() {
    let made = postgres().await;
    made.execute(
        "CREATE FUNCTION check_limit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF current_setting('lock_timeout') <> '5s' THEN RAISE 'no limit'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER limited BEFORE UPDATE ON iceberg_tables FOR EACH ROW EXECUTE FUNCTION check_limit()",
    );
    let base = made.catalog.load(&made.table()).await.unwrap();
    made.catalog.commit(&base, append(&base).1).await.unwrap();
    let asked = made.proxy.wire.asked.lock().unwrap().clone();
    assert!(asked.contains("SET LOCAL lock_timeout"));
    assert!(!asked.contains("SET lock_timeout"));
}
