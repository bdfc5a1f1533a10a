//! What is due on which health, each action on both sides of its threshold.

use std::collections::HashMap;

use super::*;
use crate::{FileStats, Preview, Properties, TableId};

fn thresholds() -> Thresholds {
    let (table, deployment) = (HashMap::new(), HashMap::new());
    Thresholds::resolve(Properties {
        table: &table,
        deployment: &deployment,
    })
    .unwrap()
}

fn outlook(numbers: &[(&str, u64)]) -> Preview {
    Preview {
        source: PreviewSource::Live,
        numbers: numbers
            .iter()
            .map(|(name, number)| ((*name).to_owned(), Some(*number)))
            .collect(),
        note: None,
    }
}

/// A table on which no action would do anything.
fn healthy() -> TableHealth {
    TableHealth {
        table: TableId::new("db", "t").unwrap(),
        location: "s3://bucket/db/t".to_owned(),
        metadata_location: "s3://bucket/db/t/metadata/1.json".to_owned(),
        format_version: 2,
        snapshot_id: Some(1),
        files: FileStats {
            data_files: 3,
            ..FileStats::default()
        },
        snapshot_count: 1,
        oldest_snapshot_at: None,
        manifest_count: 1,
        total_records: 3,
        deleted_records: 0,
        outlook: Action::ALL.map(|action| (action, outlook(&[]))).into(),
        settings_hash: None,
        collected_at: Timestamp::from_micros(0),
    }
}

fn scanned(seconds_ago: i64) -> Upkeep {
    Upkeep {
        orphans_removed_at: Some(now() - Duration::from_seconds(seconds_ago)),
        ..Upkeep::default()
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(0)
}

fn due(health: &TableHealth) -> Vec<Action> {
    let all = recommend(health, &thresholds(), &scanned(0), now());
    assert_eq!(
        all.iter().map(|entry| entry.action).collect::<Vec<_>>(),
        Action::ALL
    );
    let due = all.iter().filter(|entry| entry.recommended);
    due.map(|entry| entry.action).collect()
}

fn reason(health: &TableHealth, action: Action) -> String {
    let all = recommend(health, &thresholds(), &scanned(0), now());
    all.into_iter()
        .find(|entry| entry.action == action)
        .unwrap()
        .reason
}

fn expecting(action: Action, numbers: &[(&str, u64)]) -> TableHealth {
    let mut health = healthy();
    health.outlook.insert(action, outlook(numbers));
    health
}

#[test]
fn nothing_is_due_on_a_healthy_table() {
    assert_eq!(due(&healthy()), []);
    assert_eq!(issues(&healthy(), &thresholds()), []);
}

#[test]
fn what_would_change_something_is_due() {
    let mut health = expecting(Action::RewriteDataFiles, &[("files_in", 9), ("files_out", 2)]);
    assert_eq!(due(&health), [Action::RewriteDataFiles]);
    assert_eq!(
        reason(&health, Action::RewriteDataFiles),
        "9 of 3 data files become 2"
    );
    health
        .outlook
        .insert(Action::ExpireSnapshots, outlook(&[("snapshots", 1)]));
    assert_eq!(due(&health), [Action::RewriteDataFiles, Action::ExpireSnapshots]);
    let tags = expecting(Action::ExpireSnapshots, &[("snapshots", 0), ("refs", 2)]);
    assert_eq!(due(&tags), [Action::ExpireSnapshots]);
}

#[test]
fn small_files_that_no_rewrite_would_join_are_an_issue_and_no_reason() {
    let mut health = healthy();
    health.files.data_files = 60;
    health.files.small_files = 60;
    assert_eq!(due(&health), []);
    assert!(reason(&health, Action::RewriteDataFiles).contains("too few in any partition"));
    let found = issues(&health, &thresholds());
    assert_eq!(
        (found[0].code, found[0].severity),
        ("many_small_files", Severity::Critical)
    );
}

#[test]
fn few_position_deletes_and_manifests_stay() {
    let mut health = expecting(Action::RewritePositionDeleteFiles, &[("files_in", 4)]);
    health.files.position_delete_files = 4;
    assert_eq!(due(&health), []);
    health.files.deletion_vectors = 1;
    assert_eq!(due(&health), [Action::RewritePositionDeleteFiles]);
    let mut health = expecting(
        Action::RewriteManifests,
        &[("manifests_in", 100), ("manifests_out", 1)],
    );
    health.manifest_count = 100;
    assert_eq!(due(&health), []);
    health.manifest_count = 101;
    assert_eq!(due(&health), [Action::RewriteManifests]);
    assert_eq!(issues(&health, &thresholds())[0].code, "many_manifests");
}

#[test]
fn orphans_are_looked_for_from_time_to_time() {
    let week = 7 * 86_400;
    let is_due = |upkeep| recommend(&healthy(), &thresholds(), &upkeep, now())[4].recommended;
    assert!(is_due(Upkeep::default()) && is_due(scanned(week)));
    assert!(!is_due(scanned(week - 1)));
}

#[test]
fn what_cannot_be_planned_is_not_due_and_says_why() {
    let mut health = healthy();
    let refused = Preview {
        source: PreviewSource::None,
        note: Some("the table has ORC files".to_owned()),
        ..outlook(&[("files_in", 9)])
    };
    health.outlook.insert(Action::RewriteDataFiles, refused);
    assert_eq!(due(&health), []);
    assert_eq!(
        reason(&health, Action::RewriteDataFiles),
        "the table has ORC files"
    );
    assert_eq!(issues(&health, &thresholds())[0].code, "cannot_be_compacted");
}
