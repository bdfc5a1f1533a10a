//! What a report counts, and that it is whole where an action cannot be planned.

use iceberg::spec::DataFileFormat;
use serde_json::json;
use snowpack_domain::PreviewSource;

use super::*;
use crate::fixture::{DiskTable, FileOf, state};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_500_000_000);

fn health(table: &DiskTable, state: &TableState) -> TableHealth {
    health_of(&table.load(), state, &Deployment::default(), NOW)
}

fn sources(health: &TableHealth) -> Vec<PreviewSource> {
    health.outlook.values().map(|preview| preview.source).collect()
}

/// Three files far below the target and one above the smallest size that is left alone; deletes of each kind.
fn mixed() -> TableState {
    const TARGET: u64 = 512 << 20;
    let mut data: Vec<_> = (0..3)
        .map(|index| FileOf::data(&format!("small{index}"), 10))
        .collect();
    data.push(FileOf::data("right", TARGET / 4 * 3));
    let kinds = [
        ("p1", DataContentType::PositionDeletes),
        ("p2", DataContentType::PositionDeletes),
        ("e1", DataContentType::EqualityDeletes),
    ];
    let mut deletes: Vec<_> = kinds
        .into_iter()
        .map(|(path, kind)| FileOf::deletes(path, kind).at(9))
        .collect();
    deletes.push(
        FileOf::deletes("v.puffin", DataContentType::PositionDeletes)
            .at(9)
            .with(|file| {
                file.file_format(DataFileFormat::Puffin)
                    .record_count(7)
                    .content_offset(Some(4))
                    .content_size_in_bytes(Some(40))
                    .referenced_data_file(Some("right".to_owned()));
            }),
    );
    state(data, deletes)
}

#[tokio::test]
async fn files_and_rows_are_counted() {
    let mut table = DiskTable::new();
    table.commit(vec![]).await;
    let health = health(&table, &mixed());
    let expected = FileStats {
        data_files: 4,
        position_delete_files: 2,
        equality_delete_files: 1,
        deletion_vectors: 1,
        total_size_bytes: 30 + (384 << 20),
        small_files: 3,
    };
    assert_eq!(health.files, expected);
    assert_eq!((health.total_records, health.deleted_records), (400, 207));
    assert_eq!((health.snapshot_count, health.snapshot_id), (1, Some(7)));
    assert_eq!(
        health.oldest_snapshot_at,
        Some(Timestamp::from_micros(1_700_000_000_000_000))
    );
    assert_eq!((health.collected_at, health.format_version), (NOW, 2));
    assert_eq!(health.metadata_location, table.path("v1.json"));
    assert_eq!(health.outlook.keys().copied().collect::<Vec<_>>(), Action::ALL);
}

#[test]
fn the_outlook_is_what_a_dry_run_shows() {
    let data = (0..6).map(|index| FileOf::data(&format!("f{index}"), 10));
    let health = health(&DiskTable::new(), &state(data.collect(), vec![]));
    assert_eq!(health.expects(Action::RewriteDataFiles, "files_in"), Some(6));
    assert_eq!(health.expects(Action::RewriteDataFiles, "files_out"), Some(1));
    assert_eq!(sources(&health), [PreviewSource::Live; 5]);
}

#[test]
fn a_table_without_a_snapshot_is_healthy() {
    let health = health(&DiskTable::new(), &TableState::empty());
    assert_eq!(health.files, FileStats::default());
    assert_eq!((health.snapshot_id, health.oldest_snapshot_at), (None, None));
    assert_eq!(sources(&health), [PreviewSource::Live; 5]);
    for (action, number) in [
        (Action::RewriteDataFiles, "files_in"),
        (Action::RewritePositionDeleteFiles, "files_in"),
        (Action::ExpireSnapshots, "snapshots"),
        (Action::RewriteManifests, "manifests_in"),
    ] {
        assert_eq!(health.expects(action, number), Some(0), "{action}");
    }
}

#[test]
fn what_cannot_be_planned_leaves_the_rest_of_the_report() {
    let mut orc = state(vec![FileOf::data("a", 10)], vec![]);
    orc.data = vec![
        FileOf::data("a.orc", 10)
            .with(|file| {
                file.file_format(DataFileFormat::Orc);
            })
            .build(),
    ];
    let health_of_orc = health(&DiskTable::new(), &orc);
    let rewrite = &health_of_orc.outlook[&Action::RewriteDataFiles];
    assert_eq!(rewrite.source, PreviewSource::None);
    assert!(rewrite.note.as_ref().unwrap().contains("a.orc"));
    let manifests = &health_of_orc.outlook[&Action::RewriteManifests];
    assert_eq!(
        (manifests.source, health_of_orc.files.small_files),
        (PreviewSource::Live, 1)
    );

    let mut table = DiskTable::new();
    table.json["properties"] = json!({"snowpack.min_input_files": "many"});
    let health = health(&table, &state(vec![FileOf::data("a", 10)], vec![]));
    let rewrite = &health.outlook[&Action::RewriteDataFiles];
    assert!(
        rewrite
            .note
            .as_ref()
            .unwrap()
            .contains("snowpack.min_input_files")
    );
    assert_eq!(
        (rewrite.source, health.files.small_files),
        (PreviewSource::None, 1)
    );
}

#[test]
fn rewrite_all_makes_nothing_due() {
    let asked = |value: &str| {
        let mut table = DiskTable::new();
        table.json["properties"] = json!({"snowpack.rewrite_data_rewrite_all": value});
        table
    };
    let right = FileOf::data("right", 512 << 20);
    let in_shape = state(vec![right.clone()], vec![]);
    let due = |table: &DiskTable, state| health(table, state).expects(Action::RewriteDataFiles, "files_in");
    assert_eq!(
        due(&asked("true"), &in_shape),
        Some(0),
        "rewritten once, it would be due again"
    );
    let small = (0..6).map(|index| FileOf::data(&format!("f{index}"), 10));
    let mixed = state(small.chain([right]).collect(), vec![]);
    assert_eq!(
        due(&asked("true"), &mixed),
        Some(6),
        "what is due anyway still is"
    );
    let unreadable = health(&asked("maybe"), &in_shape);
    let rewrite = &unreadable.outlook[&Action::RewriteDataFiles];
    assert_eq!(rewrite.source, PreviewSource::None);
    assert!(
        rewrite
            .note
            .as_ref()
            .unwrap()
            .contains("rewrite_data_rewrite_all")
    );
}

#[test]
fn what_nobody_would_do_here_is_not_in_the_outlook() {
    let orc = |index| {
        FileOf::data(&format!("f{index}.orc"), 10).with(|file| {
            file.file_format(DataFileFormat::Orc);
        })
    };
    let state = state((0..6).map(orc).collect(), vec![]);
    for (engine, has_spark, sources) in [
        ("spark", true, [PreviewSource::Live; 2]),
        ("auto", true, [PreviewSource::Live; 2]),
        ("spark", false, [PreviewSource::None; 2]),
        ("auto", false, [PreviewSource::None, PreviewSource::Live]),
    ] {
        let mut table = DiskTable::new();
        table.json["properties"] = json!({"snowpack.engine": engine});
        let deployment = Deployment {
            has_spark,
            ..Deployment::default()
        };
        let outlook = health_of(&table.load(), &state, &deployment, NOW).outlook;
        let rewrites = [Action::RewriteDataFiles, Action::RewritePositionDeleteFiles];
        let found = rewrites.map(|action| outlook[&action].source);
        assert_eq!(found, sources, "{engine} {has_spark}");
        assert_eq!(outlook[&Action::ExpireSnapshots].source, PreviewSource::Live);
    }
}
