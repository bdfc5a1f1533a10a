//! Refusals do not hide the work, and options are checked whoever will do it.

use iceberg::spec::DataFileFormat;
use serde_json::json;

use super::*;
use crate::fixture::{DiskTable, Entry, FileOf};

async fn table_of(files: Vec<FileOf>) -> DiskTable {
    let mut table = DiskTable::new();
    let entries = files.into_iter().map(Entry::Added).collect();
    let manifest = table.manifest("m.avro", true, entries).await;
    table.commit(vec![manifest]).await;
    table
}

async fn assess_it(table: &DiskTable, action: Action, options: &JobOptions) -> Result<Assessment, PlanError> {
    let intent = Intent {
        table: &table.load(),
        action,
        options,
        deployment: &HashMap::new(),
        now: Timestamp::from_micros(1_700_000_000_000_000),
    };
    intent.assess().await
}

#[tokio::test]
async fn a_refused_table_is_planned_all_the_same() {
    let orc = |index| {
        FileOf::data(&format!("f{index}"), 10).with(|file| {
            file.file_format(DataFileFormat::Orc);
        })
    };
    let table = table_of((0..6).map(orc).collect()).await;
    let assessed = assess_it(&table, Action::RewriteDataFiles, &JobOptions::default())
        .await
        .unwrap();
    assert!(assessed.refusal.unwrap().contains("orc"));
    assert_eq!(assessed.work.unwrap().files, 6);
    assert_eq!(assessed.forecast["files_in"], Some(6));
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
    let table = table_of(vec![FileOf::data("f", 10)]).await;
    let mut options = JobOptions::default();
    let filter = OptionValue::Text("id in (select 1)".into());
    options.set(Action::RewriteDataFiles, "where", filter).unwrap();
    let refused = assess_it(&table, Action::RewriteDataFiles, &options)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("where"), "{refused}");
}
