//! Selection case by case; what applies to what; that a second run has nothing to do.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use snowpack_domain::{JobOptions, OptionValue, Properties};

use super::*;
use crate::fixture::{FileOf, metadata, metadata_from, metadata_json, state};
use crate::rewrite::{ACTION_SUMMARY_KEY, TARGET_SUMMARY_KEY};

/// So large that Java's allowance for splits does not show.
const TARGET: u64 = 10_000_000;

fn settings(granularity: &str) -> PositionDeleteCompaction {
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let table = HashMap::from([
        own("write.delete.target-file-size-bytes", &TARGET.to_string()),
        own("write.delete.granularity", granularity),
    ]);
    let properties = Properties {
        table: &table,
        deployment: &HashMap::new(),
    };
    PositionDeleteCompaction::resolve(&JobOptions::default(), properties).unwrap()
}

/// A delete file of sequence number 5 over any data file of its partition.
fn delete(path: &str, bytes: u64) -> FileOf {
    FileOf::deletes(path, DataContentType::PositionDeletes)
        .at(5)
        .with(|file| {
            file.file_size_in_bytes(bytes);
        })
}

/// One of a single data file.
fn delete_of(path: &str, bytes: u64, target: &str) -> FileOf {
    delete(path, bytes).with(|file| {
        file.referenced_data_file(Some(target.to_owned()));
    })
}

fn plan_of(data: Vec<FileOf>, deletes: Vec<FileOf>, granularity: &str) -> DeletePlan<DeleteFileGroup> {
    plan(&state(data, deletes), &metadata(), &settings(granularity), None)
}

fn groups(plan: &DeletePlan<DeleteFileGroup>) -> Vec<(usize, usize)> {
    let shape = |group: &DeleteFileGroup| (group.files.len(), group.output_files);
    plan.groups.iter().map(shape).collect()
}

fn skipped(plan: &DeletePlan<DeleteFileGroup>) -> BTreeMap<&'static str, u64> {
    let named = |(reason, count): (&SkipReason, &u64)| (reason.as_str(), *count);
    plan.skipped.iter().map(named).collect()
}

fn many(count: usize, bytes: u64) -> Vec<FileOf> {
    (0..count)
        .map(|index| delete(&format!("d{index}"), bytes))
        .collect()
}

#[test]
fn enough_files_or_enough_bytes_make_a_group() {
    let data = || vec![FileOf::data("a", 10)];
    let five = plan_of(data(), many(5, 10), "partition");
    assert_eq!(groups(&five), [(5, 1)]);
    assert_eq!(five.files_considered, 5);
    let four = plan_of(data(), many(4, 10), "partition");
    assert_eq!(
        (groups(&four), skipped(&four)),
        (vec![], BTreeMap::from([("too_few_files", 4)]))
    );
    assert_eq!(
        groups(&plan_of(data(), many(2, 5_200_000), "partition")),
        [(2, 1)]
    );
    let large = plan_of(data(), many(1, 20_000_000), "partition");
    assert_eq!(groups(&large), [(1, 2)]);
    let fine = plan_of(data(), many(9, TARGET), "partition");
    assert_eq!(
        (groups(&fine), skipped(&fine)),
        (vec![], BTreeMap::from([("at_target", 9)]))
    );
}

#[test]
fn partitions_and_specs_are_grouped_apart_and_other_deletes_ignored() {
    let data = vec![
        FileOf::data("a", 10),
        FileOf::data("b", 10).partition(2),
        FileOf::data("c", 10).unpartitioned(),
    ];
    let mut deletes = many(5, 10);
    deletes.extend((0..6).map(|index| delete(&format!("e{index}"), 10).partition(2)));
    deletes.extend((0..7).map(|index| delete(&format!("f{index}"), 10).unpartitioned()));
    deletes.push(FileOf::deletes("equality", DataContentType::EqualityDeletes));
    let plan = plan_of(data, deletes, "partition");
    assert_eq!(groups(&plan), [(5, 1), (6, 1), (7, 1)]);
    assert_eq!(plan.files_considered, 18);
    let unlike = |group: &DeleteFileGroup| group.targets.sequences.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        plan.groups.iter().map(unlike).collect::<Vec<_>>(),
        [["a"], ["b"], ["c"]]
    );
}

#[test]
fn one_file_for_each_data_file_gains_only_where_a_data_file_has_several() {
    let data = || {
        (0..5)
            .map(|index| FileOf::data(&format!("a{index}"), 10))
            .collect()
    };
    let one_each = |count: usize| {
        (0..count)
            .map(|index| delete_of(&format!("d{index}"), 10, &format!("a{}", index % 5)))
            .collect()
    };
    let settled = plan_of(data(), one_each(5), "file");
    assert_eq!(
        (groups(&settled), skipped(&settled)),
        (vec![], BTreeMap::from([("no_gain", 5)]))
    );
    assert_eq!(groups(&plan_of(data(), one_each(6), "file")), [(6, 5)]);
    assert_eq!(groups(&plan_of(data(), one_each(5), "partition")), [(5, 1)]);
    assert_eq!(
        groups(&plan_of(data(), many(5, 10), "file")).len(),
        1,
        "the wrong granularity"
    );
}

#[test]
fn a_file_known_to_dangle_is_reason_enough() {
    let gone = plan_of(
        vec![FileOf::data("a", 10)],
        vec![delete_of("d", 10, "gone")],
        "file",
    );
    assert_eq!(groups(&gone), [(1, 1)]);
    let right_sized = plan_of(vec![], vec![delete("d", TARGET)], "partition");
    assert_eq!(groups(&right_sized), [(1, 1)], "no data file in the partition");
    let newer = plan_of(
        vec![FileOf::data("a", 10).at(6)],
        vec![delete("d", TARGET)],
        "partition",
    );
    assert_eq!(groups(&newer), [(1, 1)], "added again after the delete");
    let live = plan_of(
        vec![FileOf::data("a", 10).at(5)],
        vec![delete("d", TARGET)],
        "partition",
    );
    assert_eq!(groups(&live), []);
}

#[test]
fn a_delete_of_a_file_in_another_partition_is_left_alone() {
    let data = vec![FileOf::data("s3a://b/a", 10).partition(2)];
    let mut deletes = many(5, 10);
    deletes.push(delete_of("stray", 10, "s3://b/a"));
    let plan = plan_of(data, deletes, "partition");
    assert_eq!(groups(&plan), [(5, 1)]);
    assert_eq!(skipped(&plan), BTreeMap::from([("other_partition", 1)]));
}

#[test]
fn small_targets_make_as_few_files_as_sparks_splits() {
    let sizes = |target_bytes| FileSizes {
        target_bytes,
        min_bytes: target_bytes * 3 / 4,
        max_bytes: target_bytes * 9 / 5,
    };
    assert_eq!(output_files(60_000, sizes(3_000)), 15, "splits of 4,200 bytes");
    assert_eq!(output_files(3_800, sizes(3_000)), 1);
    assert_eq!(output_files(10, sizes(3_000)), 1);
    let (target, bytes) = (64 << 20, 10 * (64 << 20));
    assert_eq!(output_files(bytes, sizes(target)), 10);
}

#[test]
fn targets_are_found_by_any_spelling_unless_they_are_newer() {
    let mut targets = LiveTargets::default();
    targets.add("file:/w/a", 5);
    assert!(targets.reaches("file:///w/a", 5) && targets.reaches("/w/a", 6));
    assert!(!targets.reaches("/w/a", 4) && !targets.reaches("/w/b", 9));
}

#[test]
fn everything_is_rewritten_when_asked_and_groups_come_in_order() {
    let mut wanted = settings("partition");
    wanted.rewrite_all = true;
    wanted.max_group_bytes = 2 * TARGET;
    let data = vec![FileOf::data("a", 10)];
    let state = state(data, many(3, TARGET));
    assert_eq!(
        groups(&plan(&state, &metadata(), &wanted, None)),
        [(2, 2), (1, 1)]
    );
    wanted.job_order = snowpack_domain::RewriteJobOrder::FilesAscending;
    let ascending = plan(&state, &metadata(), &wanted, None);
    assert_eq!(groups(&ascending), [(1, 1), (2, 2)]);
    assert_eq!(ascending.groups[1].index, 1);
}

#[test]
fn filters_look_at_partitions_only() {
    let select = |filter: &str| {
        let mut wanted = settings("file");
        wanted.rewrite_all = true;
        wanted.filter = Some(filter.to_owned());
        let data = vec![FileOf::data("a", 10), FileOf::data("b", 10).partition(2)];
        let delete = |partition| FileOf::deletes("d", DataContentType::PositionDeletes).partition(partition);
        let plan = plan(
            &state(data, vec![delete(1), delete(2)]),
            &metadata(),
            &wanted,
            None,
        );
        let skipped = plan.skipped.get(&SkipReason::FilteredOut).copied();
        (plan.groups.len(), skipped.unwrap_or_default())
    };
    assert_eq!(select("part = 2 AND id = -1"), (1, 1));
    assert_eq!(select("part > 2"), (0, 2));
    assert_eq!(select("name = 'x'"), (2, 0));
}

#[test]
fn filters_that_cannot_be_used_are_refused_by_name() {
    let mut options = JobOptions::default();
    let filter = OptionValue::Text("id > part".to_owned());
    options
        .set(Action::RewritePositionDeleteFiles, "where", filter)
        .unwrap();
    let properties = Properties {
        table: &HashMap::new(),
        deployment: &HashMap::new(),
    };
    let settings = PositionDeleteCompaction::resolve(&options, properties).unwrap();
    let table = crate::fixture::DiskTable::new().load();
    let refused = crate::check_position_delete_settings(&table, &settings).unwrap_err();
    assert!(refused.to_string().contains("option where"), "{refused}");
}

/// What a rewrite makes of a plan: the files left alone, and the new ones of snapshot `id`, `shrink` per cent of
/// the size hoped for.
fn rewritten(state: &TableState, plan: &DeletePlan<DeleteFileGroup>, shrink: u64, id: i64) -> Vec<FileOf> {
    let gone: HashSet<_> = plan
        .groups
        .iter()
        .flat_map(|group| &group.files)
        .map(|file| file.file.file_path().to_owned())
        .collect();
    let left = state
        .deletes
        .iter()
        .filter(|file| !gone.contains(file.file.file_path()));
    let mut files: Vec<_> = left
        .map(|file| {
            let mut same = delete(file.file.file_path(), file.file.file_size_in_bytes());
            same.snapshot_id = file.snapshot_id;
            same
        })
        .collect();
    for group in &plan.groups {
        let live = |file: &&Arc<LiveFile>| !group.targets.leaves_dangling(file);
        let bytes: u64 = group
            .files
            .iter()
            .filter(live)
            .map(|file| file.file.file_size_in_bytes())
            .sum();
        let outputs = if bytes == 0 { 0 } else { group.output_files };
        for output in 0..outputs {
            let size = bytes / outputs as u64 * shrink / 100;
            let mut file = delete(&format!("new{id}-{}-{output}", group.index), size);
            file.snapshot_id = id;
            files.push(file);
        }
    }
    files
}

/// A table that has our own rewrites of these ids.
fn metadata_with(ids: std::ops::Range<i64>) -> TableMetadata {
    let mut json = metadata_json();
    let snapshot = |id: i64| {
        json!({
            "snapshot-id": id, "sequence-number": id, "timestamp-ms": 1_700_000_000_000_i64 + id,
            "manifest-list": "s3://b/list.avro", "summary": {
                "operation": "replace",
                ACTION_SUMMARY_KEY: "rewrite_position_delete_files",
                TARGET_SUMMARY_KEY: TARGET.to_string(),
            }
        })
    };
    json["current-snapshot-id"] = (ids.end - 1).into();
    json["refs"] = json!({"main": {"snapshot-id": ids.end - 1, "type": "branch"}});
    json["snapshots"] = ids.map(snapshot).collect();
    metadata_from(&json)
}

/// Runs until nothing is left to do; after how many, and whether the first left files aside that more company
/// would have made worth a rewrite.
fn runs_until_settled(mut deletes: Vec<FileOf>, shrink: u64) -> (i64, bool) {
    let mut left_some = false;
    for run in 10.. {
        let state = state(vec![FileOf::data("a", 10)], deletes);
        let metadata = if run == 10 {
            metadata()
        } else {
            metadata_with(10..run)
        };
        let plan = plan(&state, &metadata, &settings("partition"), None);
        if plan.groups.is_empty() || run == 20 {
            return (run - 10, left_some);
        }
        if run == 10 {
            let aside = [SkipReason::TooFewFiles, SkipReason::NoGain];
            left_some = aside.iter().any(|reason| plan.skipped.contains_key(reason));
        }
        deletes = rewritten(&state, &plan, shrink, run);
    }
    unreachable!("the loop ends by itself")
}

proptest! {
    /// However much smaller the new files turn out than hoped, a second run leaves them alone. Only files left
    /// aside by the first can find company among them; that ends too.
    #[test]
    fn a_second_run_has_nothing_to_do(
        sizes in prop::collection::vec((1_u64..30_000_000, any::<bool>()), 0..30),
        shrink in 5_u64..110,
    ) {
        let deletes = |index: usize, (bytes, dangles): (u64, bool)| {
            let path = format!("d{index}");
            if dangles { delete_of(&path, bytes, "gone") } else { delete(&path, bytes) }
        };
        let deletes = sizes.into_iter().enumerate().map(|(index, size)| deletes(index, size)).collect();
        let (runs, left_some) = runs_until_settled(deletes, shrink);
        prop_assert!(runs <= 1 || (left_some && runs <= 4), "{runs}");
    }
}
