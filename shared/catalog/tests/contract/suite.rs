//! What every adapter must do, as functions over a [`Harness`].

use std::path::{Path, PathBuf};

use iceberg::spec::{
    NestedField, Operation, PrimitiveType, Schema, Snapshot, SnapshotReference, SnapshotRetention, Summary,
    Type,
};
use iceberg::{TableCreation, TableRequirement, TableUpdate};
use snowpack_catalog::{AnyCatalog, Catalog, CatalogError, CommitError, LoadedTable, TableChange};
use snowpack_domain::{ListedTable, TableId};

/// How the next commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Another writer came between our look and our change, perhaps moving the table and moving it back; nothing of
    /// ours is applied.
    Conflict,
    /// Applied, and then the answer is lost.
    LostAnswer,
    /// Refused for lack of rights.
    Denied,
    /// Too many requests: not looked at.
    Throttled,
}

/// A catalog under test with the table `db.nested.t` (`db.t` where namespaces are flat) and its server.
pub(crate) trait Harness {
    fn catalog(&self) -> &AnyCatalog;
    /// The table's name.
    fn table(&self) -> TableId;
    /// Where the adapter itself writes metadata files; none when the server does.
    fn metadata_folder(&self) -> Option<PathBuf>;
    /// Whether lists say where tables are.
    fn lists_locations(&self) -> bool {
        true
    }
    /// Makes the next commit fail; false when this kind of catalog cannot fail so.
    fn inject(&self, fault: Fault) -> bool;
    /// Takes the right to read the catalog away; false when this kind of catalog knows no rights.
    fn deny_reads(&self) -> bool;
    /// Drops the table behind the catalog's back.
    fn drop_table(&self);
}

pub(crate) fn creation(folder: &Path) -> TableCreation {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    TableCreation::builder()
        .name("t".to_owned())
        .location(format!("file://{}/t", folder.display()))
        .schema(Schema::builder().with_fields([id.into()]).build().unwrap())
        .build()
}

/// Adds a snapshot to `main`, on the condition that it is where `base` has it.
pub(crate) fn append(base: &LoadedTable) -> (i64, TableChange) {
    let parent = base.metadata.current_snapshot_id();
    let id = parent.map_or(100, |parent| parent + 1);
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(base.metadata.next_sequence_number())
        .with_timestamp_ms(base.metadata.last_updated_ms() + 1)
        .with_manifest_list(format!("{}/metadata/snap-{id}.avro", base.metadata.location()))
        .with_schema_id(base.metadata.current_schema_id())
        .with_summary(Summary {
            operation: Operation::Replace,
            additional_properties: [].into(),
        })
        .build();
    let retention = SnapshotRetention::Branch {
        min_snapshots_to_keep: None,
        max_snapshot_age_ms: None,
        max_ref_age_ms: None,
    };
    let change = TableChange {
        requirements: vec![TableRequirement::RefSnapshotIdMatch {
            r#ref: "main".to_owned(),
            snapshot_id: parent,
        }],
        updates: vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef {
                ref_name: "main".to_owned(),
                reference: SnapshotReference::new(id, retention),
            },
        ],
    };
    (id, change)
}

fn files(harness: &impl Harness) -> usize {
    harness
        .metadata_folder()
        .map_or(0, |folder| std::fs::read_dir(folder).unwrap().count())
}

async fn load(harness: &impl Harness) -> LoadedTable {
    harness.catalog().load(&harness.table()).await.unwrap()
}

pub(crate) async fn a_commit_moves_the_table(harness: &impl Harness) {
    let base = load(harness).await;
    assert_eq!((base.id.clone(), base.refs().len()), (harness.table(), 0));
    let (id, change) = append(&base);
    let committed = harness.catalog().commit(&base, change).await.unwrap();
    assert_eq!(committed.metadata.current_snapshot_id(), Some(id));
    assert_eq!(committed.refs()["main"].snapshot_id, id);
    assert_ne!(committed.metadata_location, base.metadata_location);
    assert_eq!(
        committed.metadata.metadata_log().last().unwrap().metadata_file,
        base.metadata_location
    );

    let seen = load(harness).await;
    assert_eq!(seen.metadata_location, committed.metadata_location);
    assert_eq!(seen.metadata, committed.metadata);
    assert_eq!(seen.refs(), committed.refs());
    let (next, change) = append(&committed);
    harness.catalog().commit(&committed, change).await.unwrap();
    assert_eq!(load(harness).await.metadata.current_snapshot_id(), Some(next));
}

pub(crate) async fn of_two_commits_on_one_base_one_conflicts(harness: &impl Harness) {
    let base = load(harness).await;
    let (first, second) = (append(&base).1, append(&base).1);
    let won = harness.catalog().commit(&base, first).await.unwrap();
    let before = files(harness);
    let error = harness.catalog().commit(&base, second).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error:?}");
    assert_eq!(files(harness), before, "the loser's metadata file is gone");
    assert_eq!(load(harness).await.metadata_location, won.metadata_location);
}

pub(crate) async fn a_requirement_that_does_not_hold_is_a_conflict(harness: &impl Harness) {
    let base = load(harness).await;
    let (_, mut change) = append(&base);
    change.requirements = vec![TableRequirement::RefSnapshotIdMatch {
        r#ref: "main".to_owned(),
        snapshot_id: Some(7),
    }];
    let error = harness.catalog().commit(&base, change).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error:?}");
    assert_eq!(load(harness).await.metadata_location, base.metadata_location);
}

/// A commit that certainly failed changes nothing and leaves nothing; one of unknown outcome leaves its file.
pub(crate) async fn faults_are_told_apart(harness: &impl Harness) {
    for fault in [Fault::Conflict, Fault::Denied, Fault::Throttled] {
        let (base, before) = (load(harness).await, files(harness));
        if !harness.inject(fault) {
            continue;
        }
        let error = harness
            .catalog()
            .commit(&base, append(&base).1)
            .await
            .unwrap_err();
        let expected = match &error {
            CommitError::Conflict(_) => Fault::Conflict,
            CommitError::Failed(CatalogError::AccessDenied(_)) => Fault::Denied,
            CommitError::Failed(CatalogError::Unavailable(_)) => Fault::Throttled,
            other => panic!("{fault:?} gave {other:?}"),
        };
        assert_eq!(expected, fault, "{error:?}");
        assert!(
            error.to_string().contains(&harness.table().to_string()),
            "{error}"
        );
        assert_eq!(files(harness), before, "{fault:?} leaves nothing behind");
        assert_eq!(load(harness).await.metadata_location, base.metadata_location);
    }
    if harness.inject(Fault::LostAnswer) {
        let base = load(harness).await;
        let (id, change) = append(&base);
        let error = harness.catalog().commit(&base, change).await.unwrap_err();
        assert!(matches!(error, CommitError::Unknown(_)), "{error:?}");
        let seen = load(harness).await;
        assert_eq!(
            seen.metadata.current_snapshot_id(),
            Some(id),
            "it was applied, and the file is there"
        );
    }
}

pub(crate) async fn tables_that_are_not_there_are_missing(harness: &impl Harness) {
    let missing = TableId::parse("db.none").unwrap();
    let error = harness.catalog().load(&missing).await.unwrap_err();
    assert!(
        matches!(&error, CatalogError::NoSuchTable(name) if name == "db.none"),
        "{error:?}"
    );
    assert_eq!(harness.catalog().tables("no_such_database").await.unwrap(), []);

    let (base, before) = (load(harness).await, files(harness));
    harness.drop_table();
    let error = harness
        .catalog()
        .commit(&base, append(&base).1)
        .await
        .unwrap_err();
    assert!(
        matches!(error, CommitError::Failed(CatalogError::NoSuchTable(_))),
        "{error:?}"
    );
    assert_eq!(files(harness), before);
}

pub(crate) async fn reads_without_rights_are_denied(harness: &impl Harness) {
    if !harness.deny_reads() {
        return;
    }
    let table = harness.table();
    let errors = [
        harness.catalog().load(&table).await.map(drop),
        harness.catalog().tables(table.database.as_str()).await.map(drop),
        harness.catalog().databases().await.map(drop),
    ];
    for answer in errors {
        let error = answer.unwrap_err();
        assert!(matches!(error, CatalogError::AccessDenied(_)), "{error:?}");
        assert!(
            !error.is_transient() && !error.to_string().contains("hush"),
            "{error}"
        );
    }
}

pub(crate) async fn lists_name_iceberg_tables_only(harness: &impl Harness) {
    let table = harness.table();
    let databases = harness.catalog().databases().await.unwrap();
    assert!(
        databases.iter().any(|name| name == table.database.as_str()),
        "{databases:?}"
    );
    let metadata_location = match harness.lists_locations() {
        true => Some(load(harness).await.metadata_location),
        false => None,
    };
    let listed = harness.catalog().tables(table.database.as_str()).await.unwrap();
    assert_eq!(
        listed,
        [ListedTable {
            table,
            metadata_location
        }]
    );
}

/// Runs one function of the suite per test, each on a fresh harness.
macro_rules! contract {
    ($harness:expr) => {
        contract!($harness; a_commit_moves_the_table, of_two_commits_on_one_base_one_conflicts,
            a_requirement_that_does_not_hold_is_a_conflict, faults_are_told_apart,
            tables_that_are_not_there_are_missing, reads_without_rights_are_denied,
            lists_name_iceberg_tables_only);
    };
    ($harness:expr; $($name:ident),*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            crate::suite::$name(&$harness.await).await;
        })*
    };
}
pub(crate) use contract;
