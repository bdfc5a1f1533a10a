//! The REST adapter against a server in this process.

use std::path::PathBuf;

use serde_json::json;
use snowpack_catalog::{AnyCatalog, Catalog, CatalogConfig, CatalogError, CatalogKind, CommitError, open};
use snowpack_domain::TableId;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::rest_server::{Answer, Shared, start};
use crate::suite::{Fault, Harness, append, contract};

pub(crate) struct Rest {
    catalog: AnyCatalog,
    address: String,
    pub(crate) server: Shared,
    _folder: TempDir,
}

pub(crate) fn config(address: &str, properties: &[(&str, &str)]) -> CatalogConfig {
    let properties = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    CatalogConfig {
        uri: Some(address.to_owned()),
        properties: properties.collect(),
        ..CatalogConfig::new(CatalogKind::Rest)
    }
}

pub(crate) async fn rest() -> Rest {
    let folder = tempfile::tempdir().unwrap();
    let (address, server) = start(folder.path()).await;
    let catalog = open(&config(&address, &[]), None).await.unwrap();
    Rest {
        catalog,
        address,
        server,
        _folder: folder,
    }
}

impl Rest {
    pub(crate) fn config(&self, properties: &[(&str, &str)]) -> CatalogConfig {
        config(&self.address, properties)
    }

    pub(crate) async fn open(&self, properties: &[(&str, &str)]) -> AnyCatalog {
        open(&self.config(properties), None).await.unwrap()
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.server.lock().unwrap().next_commit = Some(answer);
    }
}

impl Harness for Rest {
    fn catalog(&self) -> &AnyCatalog {
        &self.catalog
    }
    fn table(&self) -> TableId {
        TableId::parse("db.nested.t").unwrap()
    }
    fn metadata_folder(&self) -> Option<PathBuf> {
        None
    }
    fn lists_locations(&self) -> bool {
        false
    }
    fn inject(&self, fault: Fault) -> bool {
        self.answer(match fault {
            Fault::Conflict => Answer::Before(409),
            Fault::LostAnswer => Answer::After(500),
            Fault::Denied => Answer::Before(403),
            Fault::Throttled => Answer::Before(429),
        });
        true
    }
    fn deny_reads(&self) -> bool {
        self.server.lock().unwrap().denied = true;
        true
    }
    fn drop_table(&self) {
        self.server.lock().unwrap().tables.clear();
    }
}

contract!(rest());

#[tokio::test]
async fn gateway_errors_and_senseless_answers_leave_the_outcome_open() {
    let rest = rest().await;
    for answer in [
        Answer::After(502),
        Answer::After(504),
        Answer::Before(503),
        Answer::Garbage,
    ] {
        let base = rest.catalog.load(&rest.table()).await.unwrap();
        rest.answer(answer);
        let error = rest.catalog.commit(&base, append(&base).1).await.unwrap_err();
        assert!(matches!(error, CommitError::Unknown(_)), "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_change_the_server_cannot_apply_is_rejected() {
    let rest = rest().await;
    let base = rest.catalog.load(&rest.table()).await.unwrap();
    rest.answer(Answer::Before(400));
    let error = rest.catalog.commit(&base, append(&base).1).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Failed(CatalogError::Rejected(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_table_made_anew_under_the_same_name_is_another_table() {
    let rest = rest().await;
    let base = rest.catalog.load(&rest.table()).await.unwrap();
    let (_, other) = start(tempfile::tempdir().unwrap().path()).await;
    rest.server.lock().unwrap().tables = other.lock().unwrap().tables.clone();
    let error = rest.catalog.commit(&base, append(&base).1).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error:?}");
}

#[tokio::test]
async fn a_view_is_told_from_a_table_that_is_missing() {
    let rest = rest().await;
    let view = TableId::parse("db.view").unwrap();
    let error = rest.catalog.load(&view).await.unwrap_err();
    assert!(matches!(error, CatalogError::Unsupported(_)), "{error:?}");
    assert!(error.to_string().contains("db.view is a view"), "{error}");
}

#[tokio::test]
async fn namespaces_are_listed_through_all_pages_and_levels() {
    let rest = rest().await;
    assert_eq!(
        rest.catalog.databases().await.unwrap(),
        ["db", "db.nested", "flat"]
    );
}

#[tokio::test]
async fn the_servers_prefix_and_overrides_are_obeyed() {
    let rest = rest().await;
    rest.server.lock().unwrap().config =
        json!({"defaults": {"prefix": "ignored"}, "overrides": {"prefix": "catalogs/mine"}});
    assert!(
        rest.open(&[("prefix", "ours")])
            .await
            .load(&rest.table())
            .await
            .is_ok()
    );
    rest.server.lock().unwrap().config = json!({"overrides": {"uri": "ftp://elsewhere"}});
    let error = rest.open(&[]).await.load(&rest.table()).await.unwrap_err();
    assert!(matches!(error, CatalogError::Configuration(_)), "{error:?}");
}

#[tokio::test]
async fn tokens_are_sent_and_never_told() {
    let rest = rest().await;
    rest.server.lock().unwrap().token = Some("open-sesame".to_owned());
    let error = rest
        .open(&[("token", "wrong-secret")])
        .await
        .load(&rest.table())
        .await
        .unwrap_err();
    assert!(matches!(error, CatalogError::AccessDenied(_)) && !error.to_string().contains("wrong-secret"));
    let catalog = rest.open(&[("token", "open-sesame")]).await;
    assert!(catalog.load(&rest.table()).await.is_ok());
    assert!(!format!("{catalog:?}").contains("open-sesame"));
}

#[tokio::test]
async fn client_credentials_buy_one_token_and_another_when_it_is_revoked() {
    let rest = rest().await;
    rest.server.lock().unwrap().token = Some("unknown to us".to_owned());
    let catalog = rest
        .open(&[("credential", "id:sesame"), ("audience", "us")])
        .await;
    for _ in 0..3 {
        catalog.load(&rest.table()).await.unwrap();
    }
    assert_eq!(rest.server.lock().unwrap().tokens_sold, 1);
    assert!(rest.server.lock().unwrap().form.contains("audience=us"));
    rest.server.lock().unwrap().token = Some("revoked".to_owned());
    catalog.load(&rest.table()).await.unwrap();
    assert_eq!(rest.server.lock().unwrap().tokens_sold, 2);

    let error = rest
        .open(&[("credential", "id:hush")])
        .await
        .load(&rest.table())
        .await
        .unwrap_err();
    assert!(
        matches!(error, CatalogError::AccessDenied(_)) && !error.to_string().contains("hush"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_and_asked_again() {
    let down = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", down.local_addr().unwrap());
    drop(down);
    let catalog = open(&config(&address, &[]), None).await.unwrap();
    let error = catalog.load(&TableId::parse("db.t").unwrap()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn a_connection_cut_after_a_commit_was_sent_leaves_the_outcome_open() {
    let rest = rest().await;
    let base = rest.catalog.load(&rest.table()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let catalog = open(
        &config(&format!("http://{}", listener.local_addr().unwrap()), &[]),
        None,
    )
    .await
    .unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 65_536];
        let (mut first, _) = listener.accept().await.unwrap();
        assert_ne!(first.read(&mut buffer).await.unwrap(), 0);
        first
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
            .await
            .unwrap();
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        assert_ne!(second.read(&mut buffer).await.unwrap(), 0);
    });
    let error = catalog.commit(&base, append(&base).1).await.unwrap_err();
    assert!(matches!(error, CommitError::Unknown(_)), "{error:?}");
}

#[tokio::test]
async fn an_address_that_is_no_catalog_is_a_configuration_error() {
    let rest = rest().await;
    rest.server.lock().unwrap().config = json!("<html>welcome</html>");
    let error = rest.open(&[]).await.load(&rest.table()).await.unwrap_err();
    assert!(matches!(error, CatalogError::Configuration(_)), "{error:?}");
}
