//! The Glue adapter against an endpoint in this process.

use std::path::PathBuf;

use serde_json::{Value, json};
use snowpack_catalog::{
    AnyCatalog, Catalog, CatalogConfig, CatalogError, CatalogKind, CommitError, create_sql_catalog, open,
};
use snowpack_domain::TableId;
use tempfile::TempDir;

use crate::glue_server::{Answer, Shared, start};
use crate::suite::{Fault, Harness, append, contract, creation};

struct Glue {
    folder: TempDir,
    catalog: AnyCatalog,
    server: Shared,
}

fn config(endpoint: &str) -> CatalogConfig {
    let properties = [
        ("glue.endpoint", endpoint),
        ("client.region", "eu-west-1"),
        ("glue.access-key-id", "AKIDTEST"),
        ("glue.secret-access-key", "hush"),
    ];
    CatalogConfig {
        properties: properties
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..CatalogConfig::new(CatalogKind::Glue)
    }
}

/// The first metadata file of a table, written by way of a SQL catalog.
pub(crate) async fn first_metadata(folder: &TempDir) -> String {
    let database = folder.path().join("catalog.db");
    create_sql_catalog(&database).unwrap();
    let uri = Some(format!("sqlite://{}", database.display()));
    let config = CatalogConfig {
        uri,
        ..CatalogConfig::new(CatalogKind::Sql)
    };
    let catalog = open(&config, None).await.unwrap();
    let table = TableId::parse("db.t").unwrap();
    catalog
        .sql()
        .unwrap()
        .create_table(&table, creation(folder.path()))
        .await
        .unwrap()
        .metadata_location
}

async fn glue() -> Glue {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, server) = start(&first_metadata(&folder).await).await;
    let catalog = open(&config(&endpoint), None).await.unwrap();
    Glue {
        folder,
        catalog,
        server,
    }
}

impl Glue {
    fn answer(&self, answer: Answer) {
        self.server.lock().unwrap().next_update = Some(answer);
    }

    async fn commit(&self) -> Result<(), CommitError> {
        let base = self.catalog.load(&self.table()).await.unwrap();
        self.catalog.commit(&base, append(&base).1).await.map(drop)
    }
}

impl Harness for Glue {
    fn catalog(&self) -> &AnyCatalog {
        &self.catalog
    }
    fn table(&self) -> TableId {
        TableId::parse("db.t").unwrap()
    }
    fn metadata_folder(&self) -> Option<PathBuf> {
        Some(self.folder.path().join("t/metadata"))
    }
    fn inject(&self, fault: Fault) -> bool {
        self.answer(match fault {
            Fault::Conflict => Answer::Raced,
            Fault::LostAnswer => Answer::After(500, "InternalServiceException"),
            Fault::Denied => Answer::Before(400, "AccessDeniedException"),
            Fault::Throttled => Answer::Before(400, "ThrottlingException"),
        });
        true
    }
    fn deny_reads(&self) -> bool {
        self.server.lock().unwrap().denied = true;
        true
    }
    fn drop_table(&self) {
        self.server.lock().unwrap().table = None;
    }
}

contract!(glue());

#[tokio::test]
async fn an_update_keeps_everything_else_of_the_table() {
    let glue = glue().await;
    let before = glue.server.lock().unwrap().table.clone().unwrap();
    glue.commit().await.unwrap();
    let request = glue.server.lock().unwrap().update.clone();
    assert_eq!(
        (&request["VersionId"], &request["SkipArchive"]),
        (&json!("7"), &json!(true))
    );
    let input = &request["TableInput"];
    for kept in [
        "Name",
        "Owner",
        "Description",
        "Retention",
        "ViewOriginalText",
        "PartitionKeys",
        "TableType",
    ] {
        assert_eq!(input[kept], before[kept], "{kept}");
    }
    assert_eq!(
        input["StorageDescriptor"]["Columns"],
        before["StorageDescriptor"]["Columns"]
    );
    assert_eq!(
        input["StorageDescriptor"]["Location"],
        format!("file://{}/t", glue.folder.path().display())
    );
    let parameters = &input["Parameters"];
    assert_eq!(
        (&parameters["table_type"], &parameters["mine"]),
        (&json!("ICEBERG"), &json!("kept"))
    );
    assert_eq!(
        parameters["previous_metadata_location"],
        before["Parameters"]["metadata_location"]
    );
}

#[tokio::test]
async fn an_update_is_sent_once_whatever_the_answer() {
    let glue = glue().await;
    for (answer, open) in [
        (Answer::After(500, "InternalServiceException"), true),
        (Answer::After(503, "ServiceUnavailable"), true),
        (Answer::Before(400, "OperationTimeoutException"), true),
        (Answer::Before(400, "ThrottlingException"), false),
        (Answer::Before(400, "InvalidInputException"), false),
    ] {
        let before = glue.server.lock().unwrap().updates;
        glue.answer(answer);
        let error = glue.commit().await.unwrap_err();
        assert_eq!(
            matches!(error, CommitError::Unknown(_)),
            open,
            "{answer:?}: {error:?}"
        );
        assert_eq!(glue.server.lock().unwrap().updates, before + 1, "{answer:?}");
        assert!(!error.to_string().contains("hush"));
    }
}

#[tokio::test]
async fn an_update_sent_twice_conflicts_with_itself_and_is_applied() {
    let glue = glue().await;
    glue.answer(Answer::After(400, "ConcurrentModificationException"));
    glue.commit().await.unwrap();
    let table = glue.catalog.load(&glue.table()).await.unwrap();
    assert!(table.metadata.current_snapshot_id().is_some());
}

#[tokio::test]
async fn what_a_conflict_does_not_explain_keeps_its_metadata_file() {
    let glue = glue().await;
    let files = || {
        std::fs::read_dir(glue.metadata_folder().unwrap())
            .unwrap()
            .count()
    };
    let before = files();
    glue.answer(Answer::Before(400, "ConcurrentModificationException"));
    let error = glue.commit().await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error:?}");
    assert_eq!(files(), before + 1, "the update may still be under way");
}

#[tokio::test]
async fn an_endpoint_without_versions_is_not_committed_to() {
    let glue = glue().await;
    glue.server.lock().unwrap().table.as_mut().unwrap()["VersionId"] = Value::Null;
    let error = glue.commit().await.unwrap_err();
    assert!(
        matches!(error, CommitError::Failed(CatalogError::Unsupported(_))),
        "{error:?}"
    );
    assert_eq!(glue.server.lock().unwrap().updates, 0);
}

#[tokio::test]
async fn views_are_refused_by_name() {
    let view = TableId::parse("db.view").unwrap();
    let error = glue().await.catalog.load(&view).await.unwrap_err();
    assert!(matches!(error, CatalogError::Unsupported(_)), "{error:?}");
    assert!(error.to_string().contains("db.view is a view"), "{error}");
}

#[tokio::test]
async fn tables_of_another_kind_and_nested_databases_are_missing() {
    let glue = glue().await;
    for name in ["db.hive", "a.b.t"] {
        let error = glue
            .catalog
            .load(&TableId::parse(name).unwrap())
            .await
            .unwrap_err();
        assert!(matches!(error, CatalogError::NoSuchTable(_)), "{name}: {error:?}");
    }
    let error = glue
        .catalog
        .load(&TableId::parse("db.forbidden").unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, CatalogError::AccessDenied(_)), "{error:?}");
    assert_eq!(glue.catalog.databases().await.unwrap(), ["db", "other"]);
}
