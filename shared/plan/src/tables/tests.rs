//! The port over a catalog that answers as told.

use iceberg::io::FileIO;
use serde_json::json;
use snowpack_catalog::{CommitError, TableChange};
use snowpack_domain::PreviewSource;

use super::*;
use crate::fixture::DiskTable;

/// How the catalog answers a load.
enum Answer {
    Table(Box<LoadedTable>),
    Error(fn() -> CatalogError),
    Never,
}

struct OneTable(Answer);

impl Catalog for OneTable {
    async fn load(&self, _table: &TableId) -> Result<LoadedTable, CatalogError> {
        match &self.0 {
            Answer::Table(table) => Ok(LoadedTable::clone(table)),
            Answer::Error(error) => Err(error()),
            Answer::Never => std::future::pending().await,
        }
    }

    async fn commit(&self, _base: &LoadedTable, _change: TableChange) -> Result<LoadedTable, CommitError> {
        unreachable!("previews never commit")
    }

    async fn databases(&self) -> Result<Vec<String>, CatalogError> {
        Err(CatalogError::Unavailable("down".to_owned()))
    }

    async fn tables(&self, _database: &str) -> Result<Vec<TableId>, CatalogError> {
        Ok(vec![table_id()])
    }
}

fn table_id() -> TableId {
    TableId::new("db", "t").unwrap()
}

fn tables(answer: Answer) -> CatalogTables<OneTable> {
    CatalogTables::new(Arc::new(OneTable(answer)), HashMap::new())
}

async fn find(error: fn() -> CatalogError) -> Result<Option<CacheEntry>, CatalogUnavailable> {
    tables(Answer::Error(error)).find(&table_id()).await
}

#[tokio::test]
async fn an_entry_has_the_properties_that_matter() {
    let mut table = DiskTable::new();
    table.json["properties"] = json!({"snowpack.min_input_files": "2", "gc.enabled": "true", "owner": "me"});
    let entry = tables(Answer::Table(Box::new(table.load())))
        .find(&table_id())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        entry.properties.keys().collect::<Vec<_>>(),
        ["gc.enabled", "snowpack.min_input_files"]
    );
    assert_eq!(
        (entry.format_version, entry.location.as_deref()),
        (Some(2), Some("s3://bucket/db/t"))
    );
    assert_eq!(entry.metadata_location, Some(table.path("v1.json")));
}

#[tokio::test]
async fn errors_tell_unknown_unusable_and_unavailable_apart() {
    assert_eq!(
        find(|| CatalogError::NoSuchTable("db.t".into())).await.unwrap(),
        None
    );
    let bad = || CatalogError::BadMetadata {
        table: "db.t".into(),
        location: "l".into(),
        reason: "r".into(),
    };
    assert_eq!(find(bad).await.unwrap(), Some(entry_by_name(&table_id())));
    assert!(find(|| CatalogError::Unavailable("down".into())).await.is_err());
    let down = tables(Answer::Never);
    assert!(down.databases().await.unwrap_err().to_string().contains("down"));
    assert_eq!(down.list("db").await.unwrap(), [table_id()]);
}

#[tokio::test]
async fn a_slow_catalog_gives_no_preview() {
    let actions = [Action::RewriteDataFiles, Action::ExpireSnapshots];
    let previews = tables(Answer::Never)
        .preview(&table_id(), &actions, &JobOptions::default())
        .await;
    assert_eq!(previews, vec![no_preview(BUDGET_SPENT.to_owned()); 2]);
}

#[tokio::test]
async fn a_missing_manifest_spoils_only_previews_that_need_it() {
    let mut table = DiskTable::new();
    table.commit(vec![]).await;
    let mut loaded = table.load();
    loaded.io = FileIO::new_with_memory();
    let actions = [Action::RewriteDataFiles, Action::ExpireSnapshots];
    let previews = tables(Answer::Table(Box::new(loaded)))
        .preview(&table_id(), &actions, &JobOptions::default())
        .await;
    assert_eq!(previews[0].source, PreviewSource::None);
    assert!(previews[0].note.as_ref().unwrap().contains("list.avro"));
    assert_eq!(previews[1].source, PreviewSource::Live);
}
