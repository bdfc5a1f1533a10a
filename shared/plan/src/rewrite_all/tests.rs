//! A job that rewrites every file takes each of them once, however many commits it makes.

use std::collections::HashMap;

use iceberg::spec::{DataContentType, DataFileFormat};
use serde_json::json;
use snowpack_domain::{Compaction, PositionDeleteCompaction};
use snowpack_domain::{JobOptions, Properties};

use super::*;
use crate::fixture::{FileOf, metadata_from, metadata_json, settings, state};
use crate::types::SkipReason;
use crate::{position_deletes, rewrite, vectors};

fn job(number: u128) -> JobId {
    JobId::from_u128(number)
}

/// A table whose snapshot 2 was made by job 7's `action`.
fn rewritten_by(action: &str) -> TableMetadata {
    let mut json = metadata_json();
    json["snapshots"] = json!([{
        "snapshot-id": 2, "sequence-number": 2, "timestamp-ms": 1_700_000_000_000_i64, "manifest-list": "s3://b/l",
        "summary": {"operation": "replace", ACTION_SUMMARY_KEY: action, JOB_SUMMARY_KEY: job(7).as_str()}
    }]);
    metadata_from(&json)
}

fn in_snapshot_2(mut file: FileOf) -> FileOf {
    file.snapshot_id = 2;
    file
}

fn everything() -> PositionDeleteCompaction {
    let (table, deployment) = (HashMap::new(), HashMap::new());
    let properties = Properties {
        table: &table,
        deployment: &deployment,
    };
    let all = PositionDeleteCompaction::resolve(&JobOptions::default(), properties).unwrap();
    PositionDeleteCompaction {
        rewrite_all: true,
        ..all
    }
}

/// Files in groups, and files left because the job has rewritten them.
type Split = (usize, u64);

fn data_files(metadata: &TableMetadata, number: u128, rewrite_all: bool) -> Split {
    let files = vec![
        FileOf::data("old", 1_000),
        in_snapshot_2(FileOf::data("new", 1_000)),
    ];
    let settings = Compaction {
        rewrite_all,
        ..settings(1_000)
    };
    let plan = rewrite::plan(&state(files, vec![]), metadata, &settings, Some(&job(number)));
    let files = plan.groups.iter().map(|group| group.files.len()).sum();
    (files, left(plan.skipped.get(&SkipReason::AlreadyRewritten)))
}

fn left(count: Option<&u64>) -> u64 {
    count.copied().unwrap_or(0)
}

#[test]
fn a_later_slice_of_the_same_job_takes_only_what_is_left() {
    assert_eq!(data_files(&rewritten_by("rewrite_data_files"), 7, true), (1, 1));
}

#[test]
fn another_job_and_another_action_have_rewritten_nothing() {
    assert_eq!(data_files(&rewritten_by("rewrite_data_files"), 8, true), (2, 0));
    assert_eq!(data_files(&rewritten_by("rewrite_manifests"), 7, true), (2, 0));
}

#[test]
fn without_the_option_files_are_judged_as_ever() {
    assert_eq!(data_files(&rewritten_by("rewrite_data_files"), 7, false), (0, 0));
}

#[test]
fn position_deletes_are_rewritten_once() {
    let delete = |path| FileOf::deletes(path, DataContentType::PositionDeletes).at(5);
    let files = state(
        vec![FileOf::data("data", 1_000)],
        vec![delete("old"), in_snapshot_2(delete("new"))],
    );
    let metadata = rewritten_by("rewrite_position_delete_files");
    let plan = position_deletes::plan(&files, &metadata, &everything(), Some(&job(7)));
    let taken: usize = plan.groups.iter().map(|group| group.files.len()).sum();
    let already = left(plan.skipped.get(&SkipReason::AlreadyRewritten));
    assert_eq!((taken, already), (1, 1));
}

#[test]
fn puffin_files_are_rewritten_once_and_whole() {
    let vector = |puffin: &str, target: &str| {
        let file = FileOf::deletes(puffin, DataContentType::PositionDeletes).at(5);
        file.with(|file| {
            file.file_format(DataFileFormat::Puffin)
                .referenced_data_file(Some(target.to_owned()))
                .content_offset(Some(4))
                .content_size_in_bytes(Some(40));
        })
    };
    let data = ["a", "b", "c", "d"]
        .map(|path| FileOf::data(path, 1_000))
        .to_vec();
    let deletes = vec![
        vector("old", "a"),
        in_snapshot_2(vector("new", "b")),
        // One of its vectors is somebody else's.
        vector("both", "c"),
        in_snapshot_2(vector("both", "d")),
    ];
    let metadata = rewritten_by("rewrite_position_delete_files");
    let plan = vectors::plan(&state(data, deletes), &metadata, &everything(), Some(&job(7))).unwrap();
    let taken: usize = plan.groups.iter().map(|group| group.files().count()).sum();
    let already = left(plan.skipped.get(&SkipReason::AlreadyRewritten));
    assert_eq!((taken, already), (3, 1));
}
