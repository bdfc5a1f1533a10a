//! Work by kind of file, times by kind of work, and refusals that do not hide the work.

use std::collections::HashMap;

use iceberg::spec::{DataContentType, DataFileFormat};
use serde_json::json;
use snowpack_domain::OptionValue;

use super::*;
use crate::fixture::{DiskTable, Entry, FileOf, metadata, settings, state};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn work(
    files: Vec<FileOf>,
    deletes: Vec<FileOf>,
    settings: &Compaction,
    format: FormatVersion,
) -> NativeWork {
    let plan = plan(&state(files, deletes), &metadata(), settings, None);
    NativeWork::of_rewrite(&plan, settings, format)
}

fn files(count: usize, bytes: u64) -> Vec<FileOf> {
    (0..count)
        .map(|index| FileOf::data(&format!("f{index}"), bytes))
        .collect()
}

#[test]
fn whole_files_are_copied_and_the_rest_is_encoded() {
    let copied = work(files(6, 10 * MIB), vec![], &settings(GIB), FormatVersion::V2);
    assert_eq!(
        (copied.copied_bytes, copied.encoded_bytes, copied.files),
        (60 * MIB, 0, 6)
    );
    let scraps = work(files(6, MIB - 1), vec![], &settings(GIB), FormatVersion::V2);
    assert_eq!((scraps.copied_bytes, scraps.encoded_bytes), (0, 6 * (MIB - 1)));
    let lineage = work(files(6, 10 * MIB), vec![], &settings(GIB), FormatVersion::V3);
    assert_eq!(lineage.copied_bytes, 0);
    let sorted = Compaction {
        strategy: Strategy::Sort,
        sort_order: Some("id".into()),
        ..settings(GIB)
    };
    let sorted = work(files(6, 10 * MIB), vec![], &sorted, FormatVersion::V2);
    assert_eq!((sorted.sorts, sorted.encoded_bytes), (true, 60 * MIB));
}

#[test]
fn deletes_cost_their_file_the_shortcut() {
    let delete = FileOf::deletes("d", DataContentType::PositionDeletes)
        .at(50)
        .with(|file| {
            file.referenced_data_file(Some("f0".to_owned()));
        });
    let work = work(
        files(6, 10 * MIB),
        vec![delete],
        &settings(GIB),
        FormatVersion::V2,
    );
    assert_eq!(
        (work.encoded_bytes, work.copied_bytes, work.files),
        (10 * MIB, 50 * MIB, 7)
    );
}

#[test]
fn times_grow_with_the_work_and_saturate() {
    let encoded = |bytes| NativeWork {
        encoded_bytes: bytes,
        ..NativeWork::default()
    };
    let seconds = |work: NativeWork| work.estimate().as_micros() / 1_000_000;
    assert_eq!(seconds(encoded(0)), 0);
    assert_eq!(seconds(encoded(30 * GIB)), 1024);
    let sorted = NativeWork {
        sorts: true,
        ..encoded(30 * GIB)
    };
    assert_eq!(seconds(sorted), 3 * 1024);
    let copied = NativeWork {
        copied_bytes: 30 * GIB,
        ..NativeWork::default()
    };
    assert!(seconds(copied) * 4 < 1024);
    let read_back = NativeWork {
        reads_back: true,
        ..copied
    };
    assert_eq!(seconds(read_back) / 2, seconds(copied));
    assert!(seconds(encoded(u64::MAX)) > 0);
}

async fn table_of(files: Vec<FileOf>) -> DiskTable {
    let mut table = DiskTable::new();
    let entries = files.into_iter().map(Entry::Added).collect();
    let manifest = table.manifest("m.avro", true, entries).await;
    table.commit(vec![manifest]).await;
    table
}

async fn assess_it(table: &DiskTable, action: Action, options: &JobOptions) -> Result<Assessment, PlanError> {
    let table = table.load();
    let properties = Properties {
        table: table.metadata.properties(),
        deployment: &HashMap::new(),
    };
    assess(&table, action, options, properties).await
}

#[tokio::test]
async fn a_refused_table_is_planned_all_the_same() {
    let orc = |file: FileOf| {
        file.with(|file| {
            file.file_format(DataFileFormat::Orc);
        })
    };
    let table = table_of(files(6, 10).into_iter().map(orc).collect()).await;
    let assessed = assess_it(&table, Action::RewriteDataFiles, &JobOptions::default())
        .await
        .unwrap();
    assert!(assessed.refusal.unwrap().contains("orc"));
    assert_eq!(assessed.work.unwrap().files, 6);
    let deletes = assess_it(&table, Action::RewritePositionDeleteFiles, &JobOptions::default())
        .await
        .unwrap();
    assert_eq!(
        (deletes.refusal, deletes.work.unwrap().is_nothing()),
        (None, true)
    );
}

#[tokio::test]
async fn of_an_encrypted_table_nothing_is_read() {
    let mut table = DiskTable::new();
    table.json["properties"] = json!({"encryption.key-id": "k"});
    for action in Action::ALL {
        let assessed = assess_it(&table, action, &JobOptions::default()).await.unwrap();
        assert!(assessed.refusal.unwrap().contains("encrypted"), "{action}");
        assert_eq!(assessed.work, None);
    }
}

#[tokio::test]
async fn options_are_checked_whoever_will_do_it() {
    let table = table_of(files(2, 10)).await;
    let mut options = JobOptions::default();
    let filter = OptionValue::Text("id in (select 1)".into());
    options.set(Action::RewriteDataFiles, "where", filter).unwrap();
    let refused = assess_it(&table, Action::RewriteDataFiles, &options)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("where"), "{refused}");
}
