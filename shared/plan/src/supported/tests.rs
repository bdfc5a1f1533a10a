//! Every refusal names the table and the reason.

use iceberg::spec::DataFileFormat;
use serde_json::json;
use snowpack_domain::{Compaction, Strategy};

use super::*;
use crate::fixture::{DiskTable, FileOf, settings, state};

fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut table = DiskTable::new();
    change(&mut table.json);
    let error = check_metadata(&table.load()).unwrap_err();
    assert!(!error.is_transient());
    error.to_string()
}

#[test]
fn ordinary_tables_pass() {
    let table = DiskTable::new().load();
    check_metadata(&table).unwrap();
    check_settings(&table, &settings(1_000)).unwrap();
    check_files(&table, &state(vec![FileOf::data("f", 1)], vec![])).unwrap();
}

#[test]
fn metadata_the_engine_would_get_wrong_is_refused() {
    let encrypted = refusal(|json| json["properties"] = json!({"encryption.key-id": "k"}));
    assert!(encrypted.contains("encrypted"), "{encrypted}");
    let transform = refusal(|json| json["partition-specs"][1]["fields"][0]["transform"] = "unknown".into());
    assert!(
        transform.contains("partition field part of spec 1 has an unknown transform"),
        "{transform}"
    );
    let order = refusal(|json| {
        let field =
            json!({"transform": "unknown", "source-id": 1, "direction": "asc", "null-order": "nulls-first"});
        json["sort-orders"] = json!([{"order-id": 0, "fields": []}, {"order-id": 1, "fields": [field]}]);
        json["default-sort-order-id"] = 1.into();
    });
    assert!(order.contains("sort order 1 has an unknown transform"), "{order}");
}

#[test]
fn files_that_are_not_plain_parquet_are_refused() {
    let table = DiskTable::new().load();
    let orc = FileOf::data("f.orc", 1).with(|file| {
        file.file_format(DataFileFormat::Orc);
    });
    let error = check_files(&table, &state(vec![orc], vec![])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "db.t cannot be maintained: f.orc is an orc file, and only Parquet is supported"
    );
    let encrypted = FileOf::data("f", 1).with(|file| {
        file.key_metadata(Some(vec![1]));
    });
    assert!(
        check_files(&table, &state(vec![], vec![encrypted]))
            .unwrap_err()
            .to_string()
            .contains("f is encrypted")
    );
}

#[test]
fn options_that_are_not_built_are_refused_by_name() {
    let table = DiskTable::new().load();
    let refusals = [
        (
            Compaction {
                strategy: Strategy::Sort,
                ..settings(1_000)
            },
            "option sort_order: the table has no sort order",
        ),
        (
            Compaction {
                filter: Some("id > part".to_owned()),
                ..settings(1_000)
            },
            "option where",
        ),
        (
            Compaction {
                output_spec_id: Some(5),
                ..settings(1_000)
            },
            "option output-spec-id: the table has no partition spec 5",
        ),
    ];
    for (settings, message) in refusals {
        let error = check_settings(&table, &settings).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
