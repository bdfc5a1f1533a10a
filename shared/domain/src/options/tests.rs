//! Checks of option values and of the order in which defaults are looked up.

use std::collections::HashMap;

use super::*;
use crate::Timestamp;

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn text(value: &str) -> OptionValue {
    OptionValue::Text(value.to_owned())
}

#[test]
fn text_is_read_as_the_options_type() {
    let mut options = JobOptions::default();
    let action = Action::RewriteDataFiles;
    options.set(action, "min-input-files", text("7")).unwrap();
    options.set(action, "rewrite-all", text("true")).unwrap();
    options
        .set(Action::ExpireSnapshots, "snapshot_ids", text("1, 2"))
        .unwrap();
    options
        .set(
            Action::ExpireSnapshots,
            "older_than",
            text("1970-01-01T00:00:01+00:00"),
        )
        .unwrap();
    assert_eq!(options.get(action, "min-input-files"), Some(&OptionValue::Int(7)));
    assert_eq!(options.get(action, "rewrite-all"), Some(&OptionValue::Bool(true)));
    let time = OptionValue::Time(Timestamp::from_micros(1_000_000));
    assert_eq!(options.get(Action::ExpireSnapshots, "older_than"), Some(&time));
    assert_eq!(
        options.get(Action::ExpireSnapshots, "snapshot_ids"),
        Some(&OptionValue::Ints(vec![1, 2]))
    );
}

#[test]
fn bad_options_are_named() {
    let mut options = JobOptions::default();
    let action = Action::RewriteDataFiles;
    let unknown = options.set(action, "min-inputfiles", text("7")).unwrap_err();
    assert_eq!(unknown.option, "rewrite_data_files.min-inputfiles");
    for (name, value) in [
        ("min-input-files", OptionValue::Int(0)),
        ("min-input-files", OptionValue::Bool(true)),
        ("min-input-files", text("many")),
        ("strategy", text("quick")),
        ("delete-ratio-threshold", OptionValue::Float(1.5)),
        ("delete-ratio-threshold", OptionValue::Float(f64::NAN)),
    ] {
        assert!(options.set(action, name, value).is_err(), "{name}");
    }
    assert!(options.is_empty());
}

#[test]
fn the_job_beats_the_table_beats_the_deployment_beats_iceberg() {
    let resolve = |job: Option<i64>, table: &[(&str, &str)], deployment: &[(&str, &str)]| {
        let mut options = JobOptions::default();
        if let Some(bytes) = job {
            options
                .set(
                    Action::RewriteDataFiles,
                    "target-file-size-bytes",
                    OptionValue::Int(bytes),
                )
                .unwrap();
        }
        let properties = Properties {
            table: &map(table),
            deployment: &map(deployment),
        };
        Compaction::resolve(&options, properties).map(|settings| settings.target_file_bytes)
    };
    let table = [
        ("snowpack.target_file_size_bytes", "200"),
        ("write.target-file-size-bytes", "400"),
    ];
    let deployment = [("target_file_size_bytes", "300")];
    assert_eq!(resolve(Some(100), &table, &deployment), Ok(100));
    assert_eq!(resolve(None, &table, &deployment), Ok(200));
    assert_eq!(resolve(None, &table[1..], &deployment), Ok(300));
    assert_eq!(resolve(None, &table[1..], &[]), Ok(400));
    assert_eq!(resolve(None, &[], &[]), Ok(536_870_912));
    let bad = resolve(None, &[("snowpack.target_file_size_bytes", "big")], &[]).unwrap_err();
    assert_eq!(bad.option, "snowpack.target_file_size_bytes");
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let mut options = JobOptions::default();
    options
        .set(
            Action::RewriteDataFiles,
            "target-file-size-bytes",
            OptionValue::Int(100),
        )
        .unwrap();
    options
        .set(
            Action::RewriteDataFiles,
            "min-file-size-bytes",
            OptionValue::Int(100),
        )
        .unwrap();
    let empty = HashMap::new();
    let properties = Properties {
        table: &empty,
        deployment: &empty,
    };
    let refused = Compaction::resolve(&options, properties).unwrap_err();
    assert_eq!(refused.option, "rewrite_data_files.min-file-size-bytes");
}

#[test]
fn expiry_defaults_to_five_days_and_three_snapshots() {
    let now = Timestamp::from_micros(1_000_000_000_000_000);
    let empty = HashMap::new();
    let defaults = Expiry::resolve(
        &JobOptions::default(),
        Properties {
            table: &empty,
            deployment: &empty,
        },
        now,
    )
    .unwrap();
    assert_eq!((now - defaults.older_than).as_micros(), 5 * 86_400 * 1_000_000);
    assert_eq!(defaults.retain_last, 3);
    let table = map(&[
        ("history.expire.max-snapshot-age-ms", "1000"),
        ("history.expire.min-snapshots-to-keep", "9"),
    ]);
    let from_table = Expiry::resolve(
        &JobOptions::default(),
        Properties {
            table: &table,
            deployment: &empty,
        },
        now,
    )
    .unwrap();
    assert_eq!((now - from_table.older_than).as_micros(), 1_000_000);
    assert_eq!(from_table.retain_last, 9);
}
