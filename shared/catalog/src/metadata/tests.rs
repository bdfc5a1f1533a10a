//! Metadata that Spark wrote, read, changed and written again; and metadata that nobody should have written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::spec::{Operation, Snapshot, SnapshotReference, SnapshotRetention, Summary};
use iceberg::{TableRequirement, TableUpdate};
use serde_json::{Value, json};
use snowpack_domain::TableId;

use super::apply::apply;
use super::*;
use crate::port::{CatalogError, CommitError, LoadedTable, TableChange};
use crate::storage::DispatchFactory;

/// Spark 3.5 with Iceberg 1.10: evolved schema and spec, sort order, branch, tag, both kinds of statistics.
const FIXTURES: [&str; 2] = [
    include_str!("fixtures/spark-v1.metadata.json"),
    include_str!("fixtures/spark-v2.metadata.json"),
];

/// After everything in the fixtures.
const NOW_MS: i64 = 1_900_000_000_000;

fn raw(fixture: &str) -> Value {
    serde_json::from_str(fixture).unwrap()
}

fn id() -> TableId {
    TableId::parse("bench.t").unwrap()
}

fn io() -> FileIO {
    FileIOBuilder::new(Arc::new(DispatchFactory::default())).build()
}

fn table(raw: &Value) -> LoadedTable {
    let location = "file:/warehouse/bench/t/metadata/00013-x.metadata.json".to_owned();
    let document = parse(&id(), &location, raw).unwrap();
    LoadedTable::from_document(id(), location, document, io()).with_raw(raw.to_string().into())
}

/// What a commit would write.
fn written(table: &LoadedTable) -> Value {
    serde_json::from_slice(&table.raw).unwrap()
}

fn change(updates: Vec<TableUpdate>) -> TableChange {
    TableChange {
        requirements: Vec::new(),
        updates,
    }
}

/// Applies updates as a commit does, without the file.
fn updated(base: &LoadedTable, updates: Vec<TableUpdate>) -> LoadedTable {
    let next = apply(base, change(updates), NOW_MS).unwrap().unwrap();
    let table = LoadedTable::from_document(id(), "/next.json".to_owned(), next.document, base.io.clone());
    table.with_raw(next.raw.to_string().into())
}

fn ids(list: &Value, member: &str) -> Vec<i64> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|element| element[member].as_i64().unwrap())
        .collect()
}

fn remove_oldest(base: &LoadedTable, raw: &Value) -> (i64, LoadedTable) {
    let oldest = ids(&raw["snapshots"], "snapshot-id")[0];
    (
        oldest,
        updated(
            base,
            vec![TableUpdate::RemoveSnapshots {
                snapshot_ids: vec![oldest],
            }],
        ),
    )
}

#[test]
fn a_commit_changes_what_it_says_and_nothing_else() {
    for fixture in FIXTURES {
        let mut raw = raw(fixture);
        let base = table(&raw);
        let set = TableUpdate::SetProperties {
            updates: [("n".into(), "1".into())].into(),
        };
        let written = written(&updated(&base, vec![set]));
        let log = raw["metadata-log"].as_array_mut().unwrap();
        log.remove(0);
        log.push(
            json!({"timestamp-ms": base.metadata.last_updated_ms(), "metadata-file": base.metadata_location}),
        );
        raw["properties"]["n"] = json!("1");
        raw["last-updated-ms"] = json!(NOW_MS);
        assert_eq!(written, raw);
    }
}

#[test]
fn an_appended_snapshot_is_written_as_its_version_wants() {
    for (fixture, version) in FIXTURES.into_iter().zip([1, 2]) {
        let raw = raw(fixture);
        let base = table(&raw);
        let snapshot = Snapshot::builder()
            .with_snapshot_id(77)
            .with_parent_snapshot_id(base.metadata.current_snapshot_id())
            .with_sequence_number(base.metadata.next_sequence_number())
            .with_timestamp_ms(NOW_MS - 5)
            .with_manifest_list("/snap-77.avro")
            .with_schema_id(base.metadata.current_schema_id())
            .with_summary(Summary {
                operation: Operation::Replace,
                additional_properties: [].into(),
            })
            .build();
        let main = SnapshotReference {
            snapshot_id: 77,
            ..base.refs()["main"].clone()
        };
        let set = TableUpdate::SetSnapshotRef {
            ref_name: "main".to_owned(),
            reference: main,
        };
        let next = updated(
            &base,
            vec![
                TableUpdate::AddSnapshot {
                    snapshot: snapshot.clone(),
                },
                set,
            ],
        );
        let written = written(&next);
        let added = written["snapshots"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (added["snapshot-id"].as_i64(), &added["summary"]["operation"]),
            (Some(77), &json!("replace"))
        );
        assert_eq!(added.get("sequence-number").is_some(), version == 2);
        assert_eq!(written["current-snapshot-id"], 77);
        assert_eq!(written["last-updated-ms"], NOW_MS - 5);
        let log = written["snapshot-log"].as_array().unwrap();
        assert_eq!(
            log.last().unwrap(),
            &json!({"timestamp-ms": NOW_MS - 5, "snapshot-id": 77})
        );
        assert_eq!(log.len(), raw["snapshot-log"].as_array().unwrap().len() + 1);
        let again = apply(&next, change(vec![TableUpdate::AddSnapshot { snapshot }]), NOW_MS)
            .err()
            .unwrap();
        assert!(again.to_string().contains("exists already"), "{again}");
    }
}

#[test]
fn members_nobody_knows_survive_where_their_place_does() {
    for fixture in FIXTURES {
        let mut raw = raw(fixture);
        raw["future"] = json!({"a": [1, 2]});
        for snapshot in raw["snapshots"].as_array_mut().unwrap() {
            snapshot["future"] = json!("kept");
        }
        raw["schemas"][1]["fields"][0]["future"] = json!(3);
        let (oldest, table) = remove_oldest(&table(&raw), &raw);
        let written = written(&table);
        assert_eq!(written["future"], raw["future"]);
        assert_eq!(written["schemas"][1]["fields"][0]["future"], json!(3));
        let snapshots = written["snapshots"].as_array().unwrap();
        assert_eq!(snapshots.len(), raw["snapshots"].as_array().unwrap().len() - 1);
        assert!(
            snapshots
                .iter()
                .all(|one| one["future"] == "kept" && one["snapshot-id"] != oldest)
        );
    }
}

#[test]
fn the_metadata_log_drops_its_oldest_file() {
    for fixture in FIXTURES {
        let raw = raw(fixture);
        let base = table(&raw);
        let next = updated(
            &base,
            vec![TableUpdate::SetProperties {
                updates: [("n".into(), "1".into())].into(),
            }],
        );
        assert_eq!(next.metadata.metadata_log().len(), 4, "previous-versions-max");
        let dropped = write::dropped_files(&base.metadata, &next.metadata);
        assert_eq!(
            dropped,
            [raw["metadata-log"][0]["metadata-file"].as_str().unwrap()]
        );
    }
}

#[tokio::test]
async fn metadata_files_are_deleted_only_in_the_tables_own_places() {
    let folder = tempfile::tempdir().unwrap();
    let file = |path: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "{}").unwrap();
        path
    };
    for (path, goes) in [
        ("t/metadata/00000-x.metadata.json", true),
        ("hive/part-0", false),
        ("t2/x", false),
    ] {
        let oldest = file(path);
        let mut raw = raw(FIXTURES[1]);
        raw["location"] = json!(format!("file:{}/t", folder.path().display()));
        raw["properties"]["write.metadata.delete-after-commit.enabled"] = json!("true");
        raw["metadata-log"][0]["metadata-file"] = json!(format!("file://{}", oldest.display()));
        let set = TableUpdate::SetProperties {
            updates: [("n".into(), "1".into())].into(),
        };
        let staged = Staged::prepare(&table(&raw), change(vec![set])).await.unwrap();
        staged.unwrap().committed().await;
        assert_eq!(!oldest.exists(), goes, "{path}");
    }
}

#[test]
fn snapshots_go_with_their_statistics_refs_and_history() {
    for fixture in FIXTURES {
        let mut raw = raw(fixture);
        let oldest = ids(&raw["snapshots"], "snapshot-id")[0];
        raw["refs"]["old"] = json!({"snapshot-id": oldest, "type": "tag"});
        raw["refs"]["main"]["min-snapshots-to-keep"] = json!(3);
        for list in ["statistics", "partition-statistics"] {
            let mut copy = raw[list][0].clone();
            copy["snapshot-id"] = json!(oldest);
            raw[list].as_array_mut().unwrap().push(copy);
        }
        let (_, next) = remove_oldest(&table(&raw), &raw);
        let written = written(&next);
        for list in ["snapshots", "statistics", "partition-statistics", "snapshot-log"] {
            let kept = ids(&written[list], "snapshot-id");
            assert!(!kept.is_empty() && !kept.contains(&oldest), "{list}: {kept:?}");
        }
        assert_eq!(next.refs().keys().collect::<Vec<_>>(), ["b1", "main", "t1"]);
        assert_eq!(written["refs"]["main"]["min-snapshots-to-keep"], 3);
        assert_eq!(written["refs"]["b1"], raw["refs"]["b1"]);
    }
}

#[test]
fn removing_a_snapshot_forgets_the_history_before_it() {
    let raw = raw(FIXTURES[1]);
    let snapshots = ids(&raw["snapshots"], "snapshot-id");
    let base = table(&raw);
    let next = updated(
        &base,
        vec![TableUpdate::RemoveSnapshots {
            snapshot_ids: vec![snapshots[1]],
        }],
    );
    let history: Vec<_> = next
        .metadata
        .history()
        .iter()
        .map(|entry| entry.snapshot_id)
        .collect();
    assert_eq!(history, ids(&raw["snapshot-log"], "snapshot-id")[2..]);
}

#[test]
fn tags_of_v1_tables_are_known_checked_set_and_removed() {
    let raw = raw(FIXTURES[0]);
    let base = table(&raw);
    let tagged = base.refs()["t1"].snapshot_id;
    let require = |snapshot_id| TableChange {
        requirements: vec![TableRequirement::RefSnapshotIdMatch {
            r#ref: "t1".to_owned(),
            snapshot_id,
        }],
        updates: vec![TableUpdate::RemoveSnapshotRef {
            ref_name: "t1".to_owned(),
        }],
    };
    let error = apply(&base, require(None), NOW_MS).err().unwrap();
    assert!(matches!(error, CommitError::Conflict(_)), "{error:?}");
    let next = apply(&base, require(Some(tagged)), NOW_MS).unwrap().unwrap();
    assert_eq!(next.document.refs.keys().collect::<Vec<_>>(), ["b1", "main"]);
    let tag = SnapshotReference::new(
        tagged,
        SnapshotRetention::Tag {
            max_ref_age_ms: Some(5),
        },
    );
    let set = TableUpdate::SetSnapshotRef {
        ref_name: "new".to_owned(),
        reference: tag,
    };
    let written = written(&updated(&base, vec![set]));
    assert_eq!(
        written["refs"]["new"],
        json!({"snapshot-id": tagged, "type": "tag", "max-ref-age-ms": 5})
    );
    assert_eq!(written["refs"]["t1"], raw["refs"]["t1"]);
}

#[test]
fn changes_that_would_harm_are_rejected() {
    for fixture in FIXTURES {
        let raw = raw(fixture);
        let base = table(&raw);
        let current = base.metadata.current_snapshot_id().unwrap();
        let main = base.refs()["main"].clone();
        for update in [
            TableUpdate::RemoveSnapshots {
                snapshot_ids: vec![current],
            },
            TableUpdate::RemoveSnapshotRef {
                ref_name: "main".to_owned(),
            },
            TableUpdate::RemoveSchemas {
                schema_ids: vec![base.metadata.current_schema_id()],
            },
            TableUpdate::RemovePartitionSpecs {
                spec_ids: vec![base.metadata.default_partition_spec_id()],
            },
            TableUpdate::SetProperties {
                updates: [("format-version".into(), "3".into())].into(),
            },
            TableUpdate::SetLocation {
                location: "/elsewhere".to_owned(),
            },
            TableUpdate::SetSnapshotRef {
                ref_name: "main".to_owned(),
                reference: SnapshotReference {
                    snapshot_id: 1,
                    ..main
                },
            },
        ] {
            let error = apply(&base, change(vec![update.clone()]), NOW_MS).err().unwrap();
            assert!(
                matches!(error, CommitError::Failed(CatalogError::Rejected(_))),
                "{update:?}: {error:?}"
            );
        }
    }
}

#[test]
fn schemas_and_specs_out_of_use_can_be_removed() {
    let raw = raw(FIXTURES[1]);
    let updates = vec![
        TableUpdate::RemoveSchemas { schema_ids: vec![0] },
        TableUpdate::RemovePartitionSpecs { spec_ids: vec![0] },
        TableUpdate::RemoveProperties {
            removals: vec!["write.metadata.previous-versions-max".to_owned()],
        },
    ];
    let written = written(&updated(&table(&raw), updates));
    assert!(!ids(&written["schemas"], "schema-id").contains(&0));
    assert_eq!(ids(&written["partition-specs"], "spec-id"), [1]);
    assert!(
        written["properties"]
            .get("write.metadata.previous-versions-max")
            .is_none()
    );
}

#[test]
fn changes_that_change_nothing_are_none() {
    let raw = raw(FIXTURES[0]);
    let base = table(&raw);
    let same = TableUpdate::SetSnapshotRef {
        ref_name: "t1".to_owned(),
        reference: base.refs()["t1"].clone(),
    };
    let gone = TableUpdate::RemoveSnapshots {
        snapshot_ids: vec![1, 2],
    };
    assert!(apply(&base, change(vec![same, gone]), NOW_MS).unwrap().is_none());
}

#[test]
fn what_is_not_supported_is_told_from_what_is_broken() {
    let unsupported = |raw: &Value, expected: &str| {
        let Err(error) = parse(&id(), "/m.json", raw) else {
            panic!("accepted")
        };
        assert!(matches!(error, CatalogError::Unsupported(_)), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(expected) && text.contains("bench.t") && text.contains("/m.json"),
            "{text}"
        );
    };
    let mut newer = raw(FIXTURES[1]);
    newer["format-version"] = json!(4);
    unsupported(&newer, "format version 4");
    newer["format-version"] = json!(3);
    newer["schemas"][0]["fields"][1]["type"] = json!("variant");
    unsupported(&newer, "is of type variant");
    let nested =
        json!({"type": "list", "element-id": 90, "element-required": false, "element": "geometry(srid:0)"});
    newer["schemas"][0]["fields"][1]["type"] = nested;
    unsupported(&newer, "is of type geometry(srid:0)");
    newer["schemas"][0]["fields"][1]["type"] = json!("from the future");
    unsupported(&newer, "version 3");
    let mut void = raw(FIXTURES[0]);
    let spec = void["default-spec-id"].as_u64().unwrap() as usize;
    void["partition-specs"][spec]["fields"][0]["transform"] = json!("void");
    void["partition-specs"][spec]["fields"][0]["source-id"] = json!(99);
    unsupported(&void, "dropped column 99");
}

#[test]
fn broken_files_give_an_error_and_never_a_panic() {
    for fixture in FIXTURES {
        for end in (0..fixture.len() - 2).step_by(97) {
            assert!(serde_json::from_str::<Value>(&fixture[..end]).is_err());
        }
        let whole = raw(fixture);
        let mut paths = Vec::new();
        walk(&whole, &mut String::new(), &mut paths);
        assert!(paths.len() > 150);
        for path in paths {
            for odd in [
                Value::Null,
                json!(-1),
                json!("x"),
                json!([]),
                json!({}),
                json!(i64::MAX),
                json!([{}]),
            ] {
                let mut broken = whole.clone();
                *broken.pointer_mut(&path).unwrap() = odd.clone();
                let read = catch_unwind(AssertUnwindSafe(|| read_and_write(&broken)));
                assert!(read.is_ok(), "{path} = {odd}");
            }
        }
    }
}

fn read_and_write(raw: &Value) {
    if let Ok(document) = parse(&id(), "/m.json", raw) {
        let base = LoadedTable::from_document(id(), "/m.json".to_owned(), document, io());
        let base = base.with_raw(raw.to_string().into());
        let set = TableUpdate::SetProperties {
            updates: [("n".into(), "1".into())].into(),
        };
        drop(apply(&base, change(vec![set]), NOW_MS));
    }
}

/// Every path of the document but those into the many snapshots' summaries and schemas' doubles.
fn walk(value: &Value, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    let mut visit = |key: &str, child: &Value| {
        path.push('/');
        path.push_str(&key.replace('~', "~0").replace('/', "~1"));
        found.push(path.clone());
        walk(child, path, found);
        path.truncate(length);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, child)| visit(name, child)),
        Value::Array(elements) => {
            elements
                .iter()
                .take(2)
                .enumerate()
                .for_each(|(n, child)| visit(&n.to_string(), child));
        }
        _ => {}
    }
}
