//! The numbers of each action, and what is said where there are none.

use iceberg::spec::{DataContentType, DataFileFormat};
use serde_json::json;

use super::*;
use crate::fixture::{DiskTable, FileOf, state};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn try_preview(table: &DiskTable, state: &TableState, action: Action) -> Result<Preview, NoPreview> {
    let request = PreviewRequest {
        table: &table.load(),
        state: Ok(state),
        options: &JobOptions::default(),
        deployment: &Deployment {
            has_spark: true,
            ..Deployment::default()
        },
        now: NOW,
    };
    request.preview(action)
}

fn preview_of(table: &DiskTable, state: &TableState, action: Action) -> Preview {
    try_preview(table, state, action).unwrap()
}

/// Why the action would be refused.
fn refusal(table: &DiskTable, state: &TableState, action: Action) -> String {
    match try_preview(table, state, action) {
        Err(NoPreview::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn number(preview: &Preview, name: &str) -> Option<u64> {
    preview.numbers[name]
}

fn delete(path: &str) -> FileOf {
    FileOf::deletes(path, DataContentType::PositionDeletes).at(9)
}

#[test]
fn a_rewrite_counts_files_deletes_and_what_is_left_alone() {
    let mut data: Vec<_> = (0..6)
        .map(|index| FileOf::data(&format!("f{index}"), 10))
        .collect();
    data.push(FileOf::data("lone", 10).partition(2));
    let state = state(
        data,
        vec![delete("p1"), delete("p2"), delete("elsewhere").partition(9)],
    );
    let preview = preview_of(&DiskTable::new(), &state, Action::RewriteDataFiles);
    assert_eq!((preview.source, &preview.note), (PreviewSource::Live, &None));
    let counts = [
        "files_considered",
        "files_in",
        "bytes_in",
        "rows_in",
        "files_out",
        "file_groups",
        "delete_files_applied",
    ];
    let counts: Vec<_> = counts
        .iter()
        .map(|name| number(&preview, name).unwrap())
        .collect();
    assert_eq!(counts, [7, 6, 60, 600, 1, 1, 2]);
    assert_eq!(number(&preview, "skipped.too_few_files"), Some(1));
}

#[test]
fn a_rewrite_that_would_be_refused_says_so() {
    let mut table = DiskTable::new();
    table.json["properties"] = json!({"encryption.key-id": "k"});
    assert!(refusal(&table, &TableState::empty(), Action::RewriteDataFiles).contains("encrypted"));
}

#[tokio::test]
async fn an_expiry_needs_no_manifests() {
    let mut table = DiskTable::new();
    table.commit(vec![]).await;
    table.json["properties"] = json!({"gc.enabled": "false"});
    let request = PreviewRequest {
        table: &table.load(),
        state: Err(NoPreview::Unread("unread".to_owned())),
        options: &JobOptions::default(),
        deployment: &Deployment::default(),
        now: NOW,
    };
    let preview = request.preview(Action::ExpireSnapshots).unwrap();
    assert_eq!(
        (number(&preview, "snapshots"), number(&preview, "data_files")),
        (Some(0), None)
    );
    assert!(preview.note.unwrap().contains("gc.enabled is false"));
    assert_eq!(
        request.preview(Action::RewriteManifests),
        Err(NoPreview::Unread("unread".to_owned()))
    );
}

#[test]
fn position_deletes_that_dangle_or_are_many_are_counted() {
    let mut deletes: Vec<_> = (0..5).map(|index| delete(&format!("p{index}"))).collect();
    deletes.push(delete("dangling").partition(2));
    deletes.push(delete("lone").partition(3));
    let data = vec![FileOf::data("a", 10), FileOf::data("b", 10).partition(3)];
    let preview = preview_of(
        &DiskTable::new(),
        &state(data, deletes),
        Action::RewritePositionDeleteFiles,
    );
    assert_eq!((preview.source, &preview.note), (PreviewSource::Live, &None));
    let names = [
        "files_considered",
        "files_in",
        "file_groups",
        "skipped.too_few_files",
    ];
    assert_eq!(
        names.map(|name| number(&preview, name).unwrap_or_default()),
        [7, 6, 2, 1]
    );
    assert_eq!(number(&preview, "files_out"), None);
}

#[test]
fn orphans_are_told_by_a_listing_only() {
    let mut table = DiskTable::new();
    let state = TableState::empty();
    let preview = preview_of(&table, &state, Action::RemoveOrphanFiles);
    assert_eq!(number(&preview, "orphan_files"), None);
    assert!(preview.note.unwrap().contains("remove_orphan_files.dry_run"));
    table.json["properties"] = json!({"gc.enabled": "false"});
    let preview = preview_of(&table, &state, Action::RemoveOrphanFiles);
    assert!(preview.note.unwrap().contains("no file is deleted"));
    table.json["properties"] = json!({"snowpack.orphan_file_min_age_hours": "1"});
    assert!(refusal(&table, &TableState::empty(), Action::RemoveOrphanFiles).contains("24 hours"));
}

#[tokio::test]
async fn manifests_are_counted_as_a_rewrite_would_leave_them() {
    let table = DiskTable::new();
    let mut state = TableState::empty();
    for index in 0..4 {
        let mut manifest = table.manifest(&format!("m{index}"), true, vec![]).await;
        manifest.existing_files_count = Some(index.min(1));
        state.manifests.push(manifest);
    }
    let preview = preview_of(&table, &state, Action::RewriteManifests);
    let counts = ["manifests", "manifests_in", "manifests_out"].map(|name| number(&preview, name));
    assert_eq!(
        counts,
        [Some(4), Some(4), Some(1)],
        "the one without live files goes too"
    );
    assert_eq!((preview.source, preview.note), (PreviewSource::Live, None));
}

fn orc_files() -> TableState {
    let orc = |index| {
        FileOf::data(&format!("f{index}"), 60 << 20).with(|file| {
            file.file_format(DataFileFormat::Orc);
        })
    };
    state((0..6).map(orc).collect(), vec![])
}

#[test]
fn a_rewrite_that_goes_to_spark_says_so_with_its_numbers() {
    let state = orc_files();
    let mut table = DiskTable::new();
    let refused = refusal(&table, &state, Action::RewriteDataFiles);
    assert!(
        refused.starts_with("db.t cannot be maintained") && refused.contains("only Parquet is supported"),
        "{refused}"
    );
    table.json["properties"] = json!({"snowpack.engine": "auto"});
    let preview = preview_of(&table, &state, Action::RewriteDataFiles);
    assert!(
        preview.note.as_ref().unwrap().contains("handed to Spark"),
        "{preview:?}"
    );
    assert_eq!(
        (number(&preview, "files_in"), number(&preview, "native_seconds")),
        (Some(6), Some(2))
    );
    table.json["properties"] = json!({"snowpack.engine": "auto", "snowpack.verify": "content"});
    let unsafe_there = refusal(&table, &state, Action::RewriteDataFiles);
    assert!(unsafe_there.contains("verify=content"), "{unsafe_there}");
}

#[test]
fn without_spark_a_dry_run_refuses_what_a_job_would_be_refused() {
    let (options, state) = (JobOptions::default(), orc_files());
    let preview = |engine: &str, action| {
        let mut table = DiskTable::new();
        table.json["properties"] = json!({"snowpack.engine": engine});
        let request = PreviewRequest {
            table: &table.load(),
            state: Ok(&state),
            options: &options,
            deployment: &Deployment::default(),
            now: NOW,
        };
        request.preview(action)
    };
    for action in [Action::RewriteDataFiles, Action::RewritePositionDeleteFiles] {
        let refused = preview("spark", action).unwrap_err();
        assert!(
            matches!(&refused, NoPreview::Refused(why) if why.contains("SNOWPACK_SPARK_APPLICATION_ID")),
            "{refused:?}"
        );
    }
    let native = preview("auto", Action::RewriteDataFiles).unwrap_err();
    assert!(
        matches!(&native, NoPreview::Refused(why) if why.contains("only Parquet is supported")),
        "{native:?}"
    );
    for action in [Action::ExpireSnapshots, Action::RewriteManifests] {
        assert_eq!(
            preview("spark", action).unwrap().source,
            PreviewSource::Live,
            "{action}"
        );
    }
}

#[test]
fn what_metadata_refuses_goes_to_spark_with_the_numbers_there_are() {
    let (mut table, state) = (DiskTable::new(), TableState::empty());
    let properties = json!({"snowpack.engine": "auto", "encryption.key-id": "k"});
    table.json["properties"] = properties;
    for action in [
        Action::RewriteDataFiles,
        Action::RewritePositionDeleteFiles,
        Action::RewriteManifests,
    ] {
        let unknown = refusal(&table, &state, action);
        assert!(
            unknown.contains("handed to Spark") && unknown.contains("encrypted"),
            "{unknown}"
        );
    }
    let expiry = preview_of(&table, &state, Action::ExpireSnapshots);
    assert!(
        expiry.note.as_ref().unwrap().contains("handed to Spark"),
        "{expiry:?}"
    );
    assert_eq!(number(&expiry, "snapshots"), Some(0));
    assert!(refusal(&table, &state, Action::RemoveOrphanFiles).contains("encrypted"));
    table.json["properties"]["gc.enabled"] = json!("false");
    let no_gc = refusal(&table, &state, Action::ExpireSnapshots);
    assert!(
        no_gc.contains("gc.enabled"),
        "Spark's procedure fails there: {no_gc}"
    );
}
