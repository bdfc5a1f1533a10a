//! The S3 Tables adapter against an endpoint in this process.

use std::path::PathBuf;

use snowpack_catalog::{AnyCatalog, Catalog, CatalogConfig, CatalogError, CatalogKind, CommitError, open};
use snowpack_domain::TableId;
use tempfile::TempDir;

use crate::glue::first_metadata;
use crate::s3tables_server::{Answer, BUCKET, Shared, start};
use crate::suite::{Fault, Harness, append, contract};

struct S3Tables {
    folder: TempDir,
    catalog: AnyCatalog,
    server: Shared,
}

fn config(endpoint: &str) -> CatalogConfig {
    let properties = [
        ("s3tables.access-key-id", "AKIDTEST"),
        ("s3tables.secret-access-key", "hush"),
    ];
    CatalogConfig {
        uri: Some(endpoint.to_owned()),
        warehouse: Some(BUCKET.to_owned()),
        properties: properties
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..CatalogConfig::new(CatalogKind::S3Tables)
    }
}

async fn s3tables() -> S3Tables {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, server) = start(&first_metadata(&folder).await).await;
    let catalog = open(&config(&endpoint), None).await.unwrap();
    S3Tables {
        folder,
        catalog,
        server,
    }
}

impl Harness for S3Tables {
    fn catalog(&self) -> &AnyCatalog {
        &self.catalog
    }
    fn table(&self) -> TableId {
        TableId::parse("db.t").unwrap()
    }
    fn metadata_folder(&self) -> Option<PathBuf> {
        Some(self.folder.path().join("t/metadata"))
    }
    fn lists_locations(&self) -> bool {
        false
    }
    fn inject(&self, fault: Fault) -> bool {
        let answer = match fault {
            Fault::Conflict => Answer::Raced,
            Fault::LostAnswer => Answer::After(500, "InternalServerErrorException"),
            Fault::Denied => Answer::Before(403, "AccessDeniedException"),
            Fault::Throttled => Answer::Before(429, "TooManyRequestsException"),
        };
        self.server.lock().unwrap().next_update = Some(answer);
        true
    }
    fn deny_reads(&self) -> bool {
        self.server.lock().unwrap().denied = true;
        true
    }
    fn drop_table(&self) {
        self.server.lock().unwrap().location = None;
    }
}

contract!(s3tables());

#[tokio::test]
async fn an_update_sent_twice_conflicts_with_itself_and_is_applied() {
    let made = s3tables().await;
    let base = made.catalog.load(&made.table()).await.unwrap();
    made.server.lock().unwrap().next_update = Some(Answer::After(409, "ConflictException"));
    let (id, change) = append(&base);
    made.catalog.commit(&base, change).await.unwrap();
    let table = made.catalog.load(&made.table()).await.unwrap();
    assert_eq!(table.metadata.current_snapshot_id(), Some(id));
}

#[tokio::test]
async fn what_a_conflict_does_not_explain_keeps_its_metadata_file() {
    let made = s3tables().await;
    let files = || {
        std::fs::read_dir(made.metadata_folder().unwrap())
            .unwrap()
            .count()
    };
    let (base, before) = (made.catalog.load(&made.table()).await.unwrap(), files());
    made.server.lock().unwrap().next_update = Some(Answer::Before(409, "ConflictException"));
    let error = made.catalog.commit(&base, append(&base).1).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error:?}");
    assert_eq!(files(), before + 1, "the update may still be under way");
}

#[tokio::test]
async fn an_update_is_sent_once_whatever_the_answer() {
    let made = s3tables().await;
    for (answer, open) in [
        (Answer::After(500, "InternalServerErrorException"), true),
        (Answer::After(503, "ServiceUnavailable"), true),
        (Answer::Before(429, "TooManyRequestsException"), false),
        (Answer::Before(400, "BadRequestException"), false),
    ] {
        let before = made.server.lock().unwrap().updates;
        made.server.lock().unwrap().next_update = Some(answer);
        let base = made.catalog.load(&made.table()).await.unwrap();
        let error = made.catalog.commit(&base, append(&base).1).await.unwrap_err();
        assert_eq!(
            matches!(error, CommitError::Unknown(_)),
            open,
            "{answer:?}: {error:?}"
        );
        assert_eq!(made.server.lock().unwrap().updates, before + 1, "{answer:?}");
        assert!(!error.to_string().contains("hush"));
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_missing_or_denied() {
    let made = s3tables().await;
    let load = async |name: &str| {
        made.catalog
            .load(&TableId::parse(name).unwrap())
            .await
            .unwrap_err()
    };
    assert!(matches!(load("a.b.t").await, CatalogError::NoSuchTable(_)));
    let denied = load("db.forbidden").await;
    assert!(matches!(denied, CatalogError::AccessDenied(_)), "{denied:?}");
    assert_eq!(made.catalog.databases().await.unwrap(), ["db", "other"]);
    let mut config = config("http://127.0.0.1:1");
    config.warehouse = Some("s3://lake".to_owned());
    let error = open(&config, None).await.unwrap_err().to_string();
    assert!(
        error.contains("arn:aws:s3tables:") && error.contains("s3://lake"),
        "{error}"
    );
}

#[tokio::test]
async fn files_of_table_buckets_are_neither_listed_nor_deleted() {
    let made = s3tables().await;
    let table = made.catalog.load(&made.table()).await.unwrap();
    let error = table
        .io
        .delete("s3://63a8e430--table-s3/data/x")
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("S3 Tables removes files by itself"),
        "{error}"
    );
    let listed = futures::StreamExt::next(&mut table.list("s3://63a8e430--table-s3/data")).await;
    let error = listed.unwrap().unwrap_err();
    assert!(error.to_string().contains("S3 Tables lists no files"), "{error}");
}
