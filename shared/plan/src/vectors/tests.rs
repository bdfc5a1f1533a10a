//! What is converted, copied, dropped and left alone, and that a second run has nothing to do.

use std::collections::HashMap;

use iceberg::spec::{DataContentType, DataFileFormat};
use proptest::prelude::*;
use serde_json::json;
use snowpack_domain::{JobOptions, Properties};

use super::*;
use crate::fixture::{FileOf, metadata, metadata_from, metadata_json, state};
use crate::rewrite::{ACTION_SUMMARY_KEY, TARGET_SUMMARY_KEY};

const TARGET: u64 = 100_000;
/// A snapshot that this action made.
const OWN: i64 = 77;

fn settings() -> PositionDeleteCompaction {
    let table = HashMap::from([(
        "write.delete.target-file-size-bytes".to_owned(),
        TARGET.to_string(),
    )]);
    let properties = Properties {
        table: &table,
        deployment: &HashMap::new(),
    };
    PositionDeleteCompaction::resolve(&JobOptions::default(), properties).unwrap()
}

fn delete(path: &str, sequence: i64) -> FileOf {
    FileOf::deletes(path, DataContentType::PositionDeletes).at(sequence)
}

fn delete_of(path: &str, target: &str, sequence: i64) -> FileOf {
    delete(path, sequence).with(|file| {
        file.referenced_data_file(Some(target.to_owned()));
    })
}

/// A vector of `bytes` in a Puffin file of `of` bytes.
fn vector(puffin: &str, target: &str, bytes: u64, of: u64) -> FileOf {
    delete_of(puffin, target, 5).with(|file| {
        file.file_format(DataFileFormat::Puffin)
            .file_size_in_bytes(of)
            .content_offset(Some(4))
            .content_size_in_bytes(Some(bytes as i64));
    })
}

fn plan_of(data: Vec<FileOf>, deletes: Vec<FileOf>) -> DeletePlan<VectorGroup> {
    plan(&state(data, deletes), &metadata(), &settings(), None).unwrap()
}

fn paths<'a>(files: impl IntoIterator<Item = &'a Arc<LiveFile>>) -> Vec<&'a str> {
    files.into_iter().map(|file| file.file.file_path()).collect()
}

fn skipped(plan: &DeletePlan<VectorGroup>) -> Vec<(&'static str, u64)> {
    let named = |(reason, count): (&SkipReason, &u64)| (reason.as_str(), *count);
    plan.skipped.iter().map(named).collect()
}

#[test]
fn delete_files_that_may_share_a_data_file_are_converted_together() {
    let data = vec![
        FileOf::data("a", 10),
        FileOf::data("b", 10),
        FileOf::data("c", 10).partition(2),
        FileOf::data("d", 10).partition(2),
    ];
    let deletes = vec![
        delete("p1", 3),
        delete_of("pa", "a", 3),
        delete_of("pc", "c", 3).partition(2),
        delete_of("pd", "d", 3).partition(2),
        delete_of("pd2", "d", 4).partition(1),
    ];
    let plan = plan_of(data, deletes);
    let [group] = plan.groups.as_slice() else {
        panic!("{plan:?}")
    };
    let conversions: Vec<_> = group
        .conversions
        .iter()
        .map(|conversion| (paths(&conversion.deletes), paths(&conversion.targets)))
        .collect();
    assert_eq!(
        conversions,
        [
            (vec!["p1", "pa"], vec!["a", "b"]),
            (vec!["pc"], vec!["c"]),
            // It applies by its name, wherever it is listed.
            (vec!["pd", "pd2"], vec!["d"]),
        ]
    );
    assert_eq!((plan.files_considered, skipped(&plan)), (5, vec![]));
}

#[test]
fn filters_select_whole_conversions_and_whole_puffin_files() {
    let data = vec![
        FileOf::data("a", 10).partition(1),
        FileOf::data("b", 10).partition(2),
        FileOf::data("c", 10).partition(1),
        FileOf::data("d", 10).partition(2),
        FileOf::data("e", 10).partition(1),
    ];
    let deletes = vec![
        delete_of("pa", "a", 3).partition(1),
        delete_of("pb", "b", 3).partition(2),
        vector("mixed", "c", 10, 400).partition(1),
        vector("mixed", "d", 10, 400).partition(2),
        vector("inside", "e", 10, 400).partition(1),
        delete_of("dead", "x", 3).partition(1),
        delete_of("dead-outside", "y", 3).partition(2),
    ];
    let settings = PositionDeleteCompaction {
        filter: Some("part = 1".to_owned()),
        rewrite_all: true,
        ..settings()
    };
    let plan = plan(&state(data, deletes), &metadata(), &settings, None).unwrap();
    let mut taken: Vec<_> = plan
        .groups
        .iter()
        .flat_map(|group| paths(group.files()))
        .collect();
    taken.sort_unstable();
    assert_eq!(taken, ["dead", "inside", "pa"]);
    assert_eq!(skipped(&plan), [("filtered_out", 3)]);
}

#[test]
fn what_applies_to_nothing_is_dropped_unread() {
    let data = vec![
        FileOf::data("a", 10).at(9),
        FileOf::data("b", 10),
        FileOf::data("c", 10).at(9).partition(3),
    ];
    let deletes = vec![
        vector("v", "gone", 10, 400),
        vector("v", "b", 10, 400),
        delete_of("older", "a", 3),
        delete_of("dead", "x", 3),
        delete_of("superseded", "b", 3),
        delete("no-such-partition", 3).partition(2),
        delete("all-newer", 3).partition(3),
    ];
    let plan = plan_of(data, deletes);
    let [group] = plan.groups.as_slice() else {
        panic!("{plan:?}")
    };
    let dropped = [
        "v",
        "no-such-partition",
        "all-newer",
        "older",
        "dead",
        "superseded",
    ];
    assert_eq!(paths(&group.dangling), dropped);
    assert!(group.conversions.is_empty() && group.copies.is_empty());
    assert_eq!(skipped(&plan), [("too_few_files", 1)]);
}

#[test]
fn files_with_a_vector_are_no_targets() {
    let data = vec![FileOf::data("a", 10), FileOf::data("b", 10)];
    let plan = plan_of(data, vec![vector("v", "a", 10, 400), delete("p", 3)]);
    assert_eq!(paths(&plan.groups[0].conversions[0].targets), ["b"]);
    let only_a = vec![FileOf::data("a", 10)];
    let plan = plan_of(only_a, vec![vector("v", "a", 10, 400), delete("p", 3)]);
    assert_eq!(paths(&plan.groups[0].dangling), ["p"]);
}

#[test]
fn small_puffin_files_are_merged_once_there_are_enough_and_wasteful_ones_alone() {
    let data = || {
        (0..9)
            .map(|index| FileOf::data(&format!("d{index}"), 10))
            .collect::<Vec<_>>()
    };
    let small = |count: usize| {
        let one = |index| vector(&format!("v{index}"), &format!("d{index}"), 40, 300);
        (0..count).map(one).collect::<Vec<_>>()
    };
    assert!(plan_of(data(), small(4)).groups.is_empty());
    assert_eq!(plan_of(data(), small(5)).groups[0].copies.len(), 5);
    let mut with_delete_file = small(4);
    with_delete_file.push(delete_of("p", "d8", 3));
    let plan = plan_of(data(), with_delete_file);
    assert_eq!(
        (plan.groups.len(), plan.groups[0].copies.len()),
        (1, 4),
        "the fifth is written"
    );
    let wasteful = vec![
        vector("w", "d0", 30_000, 80_000),
        vector("full", "d1", 60_000, 80_000),
    ];
    let plan = plan_of(data(), wasteful);
    assert_eq!(paths(&plan.groups[0].copies), ["w"]);
    assert_eq!(skipped(&plan), [("at_target", 1)]);
    let halves = (0..6).map(|index| vector(&format!("v{index}"), &format!("d{index}"), 60_000, 61_000));
    let plan = plan_of(data(), halves.collect());
    assert_eq!((plan.groups.len(), skipped(&plan)), (0, vec![("no_gain", 6)]));
}

#[test]
fn two_vectors_of_one_data_file_are_refused() {
    let deletes = vec![
        vector("v1", "s3://b/a", 10, 100),
        vector("v2", "s3a://b/a", 10, 100),
    ];
    let refused = plan(&state(vec![], deletes), &metadata(), &settings(), None).unwrap_err();
    assert!(
        refused.contains("two deletion vectors") && refused.contains("v1"),
        "{refused}"
    );
    let mute = delete("v", 5).with(|file| {
        file.file_format(DataFileFormat::Puffin);
    });
    assert!(plan(&state(vec![], vec![mute]), &metadata(), &settings(), None).is_err());
}

/// Carries a plan out on paper: every conversion gives each target a vector, every group fills its Puffin files.
fn carry_out(plan: &DeletePlan<VectorGroup>, deletes: &[FileOf], vector_size: u64) -> Vec<FileOf> {
    let replaced: HashSet<_> = plan
        .groups
        .iter()
        .flat_map(VectorGroup::files)
        .map(|file| (file.file.file_path().to_owned(), file.file.referenced_data_file()))
        .collect();
    let is_left = |file: &&FileOf| {
        let file = file.builder.build().unwrap();
        !replaced.contains(&(file.file_path().to_owned(), file.referenced_data_file()))
    };
    let mut left: Vec<_> = deletes.iter().filter(is_left).cloned().collect();
    for group in &plan.groups {
        let converted = group
            .conversions
            .iter()
            .flat_map(|conversion| &conversion.targets);
        let converted = converted.map(|target| (target.file.file_path().to_owned(), vector_size));
        let copied = group.copies.iter().map(|copy| {
            let bytes = copy.file.content_size_in_bytes().unwrap() as u64;
            (copy.file.referenced_data_file().unwrap(), bytes)
        });
        let vectors = converted
            .chain(copied)
            .map(|vector| vec![vector])
            .collect::<Vec<_>>();
        let entry = |vectors: &[(String, u64)]| {
            vectors
                .iter()
                .map(|(path, bytes)| bytes + 200 + path.len() as u64)
                .sum::<u64>()
        };
        let mut files: Vec<Vec<(String, u64)>> = Vec::new();
        for vector in vectors {
            match files.last_mut() {
                Some(file) if entry(file) + entry(&vector) <= group.max_output_bytes => file.extend(vector),
                _ => files.push(vector),
            }
        }
        for (index, file) in files.iter().enumerate() {
            let (name, size) = (
                format!("own{}-{}-{index}", plan.snapshot_id, group.index),
                entry(file) + 150,
            );
            left.extend(file.iter().map(|(target, bytes)| {
                let mut vector = vector(&name, target, *bytes, size);
                vector.snapshot_id = OWN;
                vector
            }));
        }
    }
    left
}

proptest! {
    #[test]
    fn the_second_run_has_nothing_to_do(
        scoped in prop::collection::vec((0..30_usize, 0..3_i32), 0..12),
        whole in prop::collection::vec(0..3_i32, 0..4),
        puffins in prop::collection::vec((1..6_usize, 40..60_000_u64, 1..4_u64), 0..20),
        vector_size in 40..3_000_u64,
    ) {
        let path = |index: usize| format!("d{index}");
        let data: Vec<_> = (0..60).map(|index| FileOf::data(&path(index), 10).partition(index as i32 % 3)).collect();
        let mut deletes: Vec<_> = scoped.iter().enumerate()
            .map(|(index, (target, part))| delete_of(&format!("s{index}"), &path(*target), 3).partition(*part))
            .collect();
        deletes.extend(whole.iter().enumerate().map(|(index, part)| delete(&format!("w{index}"), 3).partition(*part)));
        let mut next = 20;
        for (index, (count, bytes, waste)) in puffins.iter().enumerate() {
            let size = *count as u64 * (bytes + 230) * waste;
            for _ in 0..*count {
                deletes.push(vector(&format!("v{index}"), &path(next), *bytes, size));
                next += 1;
            }
        }
        let mut json = metadata_json();
        json["snapshots"] = json!([{
            "snapshot-id": OWN, "sequence-number": 50, "timestamp-ms": 1_700_000_000_000_i64, "schema-id": 0,
            "manifest-list": "s3://bucket/ml.avro",
            "summary": {
                "operation": "replace", ACTION_SUMMARY_KEY: "rewrite_position_delete_files",
                TARGET_SUMMARY_KEY: TARGET.to_string(),
            },
        }]);
        let metadata = metadata_from(&json);
        let first = plan(&state(data.clone(), deletes.clone()), &metadata, &settings(), None).unwrap();
        let mut written = HashSet::new();
        let mut targets = first.groups.iter().flat_map(|group| &group.conversions).flat_map(|conversion| &conversion.targets);
        prop_assert!(targets.all(|target| written.insert(target.file.file_path().to_owned())));
        let after = carry_out(&first, &deletes, vector_size);
        prop_assert!(after.iter().all(|file| file.builder.build().unwrap().file_format() == DataFileFormat::Puffin));
        let second = plan(&state(data, after), &metadata, &settings(), None).unwrap();
        prop_assert!(second.groups.is_empty(), "{:?}\n{:?}", first, second);
    }
}
