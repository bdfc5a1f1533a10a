//! The numbers of each action, and what is said where there are none.

use serde_json::json;

use super::*;
use crate::fixture::{DiskTable, FileOf, state};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn preview_of(table: &DiskTable, state: &TableState, action: Action) -> Preview {
    let request = PreviewRequest {
        table: &table.load(),
        state: Ok(state),
        options: &JobOptions::default(),
        deployment: &HashMap::new(),
        now: NOW,
    };
    request.preview(action)
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
    assert_eq!(number(&preview, "skipped_too_few_files"), Some(1));
}

#[test]
fn a_rewrite_that_would_be_refused_says_so() {
    let mut table = DiskTable::new();
    table.json["properties"] = json!({"encryption.key-id": "k"});
    let preview = preview_of(&table, &TableState::empty(), Action::RewriteDataFiles);
    assert_eq!(preview.source, PreviewSource::None);
    assert!(preview.note.unwrap().contains("encrypted"));
}

#[tokio::test]
async fn an_expiry_needs_no_manifests() {
    let mut table = DiskTable::new();
    table.commit(vec![]).await;
    table.json["properties"] = json!({"gc.enabled": "false"});
    let request = PreviewRequest {
        table: &table.load(),
        state: Err("unread".to_owned()),
        options: &JobOptions::default(),
        deployment: &HashMap::new(),
        now: NOW,
    };
    let preview = request.preview(Action::ExpireSnapshots);
    assert_eq!(
        (number(&preview, "snapshots"), number(&preview, "data_files")),
        (Some(0), None)
    );
    assert!(preview.note.unwrap().contains("gc.enabled is false"));
    assert_eq!(
        request.preview(Action::RewriteManifests),
        no_preview("unread".to_owned())
    );
}

#[tokio::test]
async fn actions_not_built_yet_tell_what_metadata_can() {
    let table = DiskTable::new();
    let state = state(vec![], vec![delete("p1"), delete("p2")]);
    let positions = preview_of(&table, &state, Action::RewritePositionDeleteFiles);
    assert_eq!(
        (
            number(&positions, "delete_files_in"),
            number(&positions, "delete_files_out")
        ),
        (Some(2), None)
    );
    let orphans = preview_of(&table, &state, Action::RemoveOrphanFiles);
    assert_eq!(number(&orphans, "orphan_files"), None);
    for preview in [positions, orphans] {
        assert!(preview.note.unwrap().contains("not built yet"));
    }
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
