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

    async fn tables(&self, _database: &str) -> Result<Vec<ListedTable>, CatalogError> {
        Ok(vec![listed()])
    }
}

fn table_id() -> TableId {
    TableId::new("db", "t").unwrap()
}

fn listed() -> ListedTable {
    ListedTable {
        table: table_id(),
        metadata_location: Some("v1.json".to_owned()),
    }
}

fn tables(answer: Answer) -> CatalogTables<OneTable> {
    CatalogTables::new(Arc::new(OneTable(answer)), Deployment::default())
}

async fn find(error: fn() -> CatalogError) -> Result<Option<CacheEntry>, CatalogUnavailable> {
    tables(Answer::Error(error)).find(&table_id()).await
}

#[tokio::test]
async fn an_entry_has_the_properties_that_matter() {
    let mut table = DiskTable::new();
    table.json["properties"] = json!({"snowpack.min_input_files": "2", "gc.enabled": "true", "compaction_skip": "true",
        "owner": "me"});
    let entry = tables(Answer::Table(Box::new(table.load())))
        .find(&table_id())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        entry.properties.keys().collect::<Vec<_>>(),
        ["compaction_skip", "gc.enabled", "snowpack.min_input_files"]
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
    assert_eq!(down.list("db").await.unwrap(), [listed()]);
}

#[tokio::test]
async fn a_slow_catalog_gives_no_preview() {
    let actions = [Action::RewriteDataFiles, Action::ExpireSnapshots];
    let previews = tables(Answer::Never)
        .preview(&table_id(), &actions, &JobOptions::default())
        .await;
    assert_eq!(previews, vec![Err(NoPreview::Unread(BUDGET_SPENT.to_owned())); 2]);
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
    assert!(
        matches!(&previews[0], Err(NoPreview::Refused(why)) if why.contains("list.avro")),
        "{previews:?}"
    );
    assert_eq!(previews[1].as_ref().unwrap().source, PreviewSource::Live);
}

#[tokio::test]
async fn health_tells_vanished_broken_and_unavailable_apart() {
    let health = |error| async move { tables(Answer::Error(error)).health(&table_id()).await };
    let none = health(|| CatalogError::NoSuchTable("db.t".into())).await;
    assert_eq!(none.unwrap(), None);
    let broken = health(|| CatalogError::Unsupported("db.t has format version 4".into())).await;
    assert!(matches!(broken, Err(HealthUnreadable::Broken(why)) if why.contains("version 4")));
    for error in [
        || CatalogError::Unavailable("down".into()),
        || CatalogError::AccessDenied("down".into()),
    ] {
        let down = health(error).await.unwrap_err();
        assert!(matches!(down, HealthUnreadable::Unavailable(_)) && down.to_string().contains("down"));
    }
}

#[tokio::test]
async fn health_of_a_table_with_a_lost_manifest_names_the_file() {
    let mut table = DiskTable::new();
    table.commit(vec![]).await;
    let intact = tables(Answer::Table(Box::new(table.load())))
        .health(&table_id())
        .await;
    assert_eq!(intact.unwrap().unwrap().snapshot_id, Some(7));
    let mut loaded = table.load();
    loaded.io = FileIO::new_with_memory();
    let broken = tables(Answer::Table(Box::new(loaded))).health(&table_id()).await;
    assert!(matches!(broken, Err(HealthUnreadable::Broken(why)) if why.contains("list.avro")));
}

#[tokio::test]
async fn what_is_outside_of_the_scope_is_unknown() {
    let unasked = || tables(Answer::Error(|| panic!("the catalog is not asked")));
    let outside = unasked().within(DatabaseScope::new(["sales", "d"]));
    assert_eq!(outside.find(&table_id()).await.unwrap(), None);
    let down = tables(Answer::Error(|| CatalogError::Unavailable("down".to_owned())));
    assert!(
        down.within(DatabaseScope::new(["d*"]))
            .find(&table_id())
            .await
            .is_err()
    );
}
