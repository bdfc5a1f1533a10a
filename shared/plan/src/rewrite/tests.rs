//! Selection and grouping case by case; that a second run has nothing to do.

use std::collections::BTreeMap;

use iceberg::spec::{DataContentType, Literal};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixture::{FileOf, metadata, metadata_from, metadata_json, settings, skipped, state};

const TARGET: u64 = 1_000;

fn files(sizes: &[u64]) -> Vec<FileOf> {
    sizes
        .iter()
        .enumerate()
        .map(|(index, size)| FileOf::data(&format!("s3://b/f{index}"), *size))
        .collect()
}

fn plan_of(sizes: &[u64], settings: &Compaction) -> RewritePlan {
    plan(&state(files(sizes), vec![]), &metadata(), settings, None)
}

fn inputs_and_outputs(plan: &RewritePlan) -> Vec<(usize, usize)> {
    plan.groups
        .iter()
        .map(|group| (group.files.len(), group.output_files))
        .collect()
}

fn position_delete(about: &str, rows: u64) -> FileOf {
    FileOf::deletes(&format!("{about}-delete{rows}"), DataContentType::PositionDeletes)
        .at(50)
        .with(|file| {
            file.referenced_data_file(Some(about.to_owned()))
                .record_count(rows);
        })
}

#[test]
fn five_small_files_are_enough_four_are_not() {
    assert_eq!(
        inputs_and_outputs(&plan_of(&[10; 5], &settings(TARGET))),
        [(5, 1)]
    );
    let too_few = plan_of(&[10; 4], &settings(TARGET));
    assert_eq!(skipped(&too_few), BTreeMap::from([("too_few_files", 4)]));
}

#[test]
fn more_content_than_the_target_is_enough_for_fewer_files() {
    assert_eq!(
        inputs_and_outputs(&plan_of(&[700, 350], &settings(TARGET))),
        [(2, 1)]
    );
}

#[test]
fn files_in_the_band_are_left_alone() {
    let plan = plan_of(&[750, 1_000, 1_800], &settings(TARGET));
    assert_eq!(skipped(&plan), BTreeMap::from([("at_target", 3)]));
    assert_eq!(plan.files_considered, 3);
}

#[test]
fn a_file_far_too_large_is_split() {
    assert_eq!(
        inputs_and_outputs(&plan_of(&[5_000], &settings(TARGET))),
        [(1, 5)]
    );
}

#[test]
fn rewrites_that_gain_nothing_are_skipped() {
    for sizes in [&[600, 600][..], &[2_230], &[740, 740, 740]] {
        let plan = plan_of(sizes, &settings(TARGET));
        assert_eq!(
            skipped(&plan),
            BTreeMap::from([("no_gain", sizes.len() as u64)]),
            "{sizes:?}"
        );
    }
}

#[test]
fn a_lone_file_with_many_deletes_is_rewritten() {
    let lone = |deletes| {
        plan(
            &state(files(&[1_000]), deletes),
            &metadata(),
            &settings(TARGET),
            None,
        )
    };
    assert!(lone(vec![position_delete("s3://b/f0", 9)]).groups.is_empty());
    let share = lone(vec![position_delete("s3://b/f0", 10)]);
    assert_eq!(inputs_and_outputs(&share), [(1, 1)]);
    let count = lone(vec![
        position_delete("s3://b/f0", 1),
        position_delete("s3://b/f0", 2),
    ]);
    assert_eq!(count.groups[0].files[0].delete_count(), 2);
}

#[test]
fn partition_scoped_deletes_count_but_have_no_known_rows() {
    let scoped = |path| FileOf::deletes(path, DataContentType::PositionDeletes).at(50);
    let one = plan(
        &state(files(&[1_000]), vec![scoped("p")]),
        &metadata(),
        &settings(TARGET),
        None,
    );
    assert!(one.groups.is_empty());
    let two = plan(
        &state(files(&[1_000]), vec![scoped("p"), scoped("q")]),
        &metadata(),
        &settings(TARGET),
        None,
    );
    assert_eq!(two.groups.len(), 1);
}

#[test]
fn deletes_older_than_a_rewritten_file_do_not_make_it_a_candidate() {
    let mut rewritten = FileOf::data("s3://b/f0", 1_000).at(50);
    rewritten.added = 51;
    let scoped = |path| FileOf::deletes(path, DataContentType::PositionDeletes).at(50);
    let plan = plan(
        &state(vec![rewritten], vec![scoped("p"), scoped("q")]),
        &metadata(),
        &settings(TARGET),
        None,
    );
    assert_eq!(skipped(&plan), BTreeMap::from([("at_target", 1)]));
}

#[test]
fn outputs_are_counted_without_rows_known_to_be_deleted() {
    let deletes = (0..10)
        .map(|index| position_delete(&format!("s3://b/f{index}"), 90))
        .collect();
    let plan = plan(
        &state(files(&[1_000; 10]), deletes),
        &metadata(),
        &settings(TARGET),
        None,
    );
    assert_eq!(inputs_and_outputs(&plan), [(10, 1)]);
    assert_eq!(plan.groups[0].input_bytes, 10_000);
}

#[test]
fn partitions_do_not_mix() {
    let mut all = files(&[10; 5]);
    all.extend(files(&[10; 4]).into_iter().map(|file| file.partition(2)));
    let plan = plan(&state(all, vec![]), &metadata(), &settings(TARGET), None);
    assert_eq!(inputs_and_outputs(&plan), [(5, 1)]);
    assert_eq!(
        plan.groups[0].partition,
        Struct::from_iter([Some(Literal::int(1))])
    );
    assert!(!plan.groups[0].repartition);
}

#[test]
fn files_of_older_specs_are_grouped_to_be_split_by_the_output_spec() {
    let old = files(&[10; 5])
        .into_iter()
        .map(FileOf::unpartitioned)
        .collect::<Vec<_>>();
    let to_partitioned = plan(&state(old.clone(), vec![]), &metadata(), &settings(TARGET), None);
    assert!(to_partitioned.groups[0].repartition);
    assert_eq!(to_partitioned.groups[0].partition, Struct::from_iter([None]));

    let to_unpartitioned = Compaction {
        output_spec_id: Some(0),
        ..settings(TARGET)
    };
    let mut mixed = files(&[10; 3]);
    mixed.extend(old);
    let plan = plan(&state(mixed, vec![]), &metadata(), &to_unpartitioned, None);
    assert_eq!(inputs_and_outputs(&plan), [(8, 1)]);
    assert_eq!((plan.output_spec_id, plan.groups[0].repartition), (0, false));
    assert_eq!(plan.groups[0].partition, Struct::empty());
}

#[test]
fn groups_are_cut_by_bytes_and_ordered_as_asked() {
    let cut = Compaction {
        max_group_bytes: 1_200,
        job_order: RewriteJobOrder::BytesAscending,
        ..settings(TARGET)
    };
    let plan = plan_of(&[300, 300, 300, 300, 100, 100, 100, 100, 100], &cut);
    assert_eq!(inputs_and_outputs(&plan), [(5, 1), (4, 2)]);
    assert_eq!(
        plan.groups.iter().map(|group| group.index).collect::<Vec<_>>(),
        [0, 1]
    );
}

#[test]
fn the_file_limit_cuts_groups_and_skips_what_gains_nothing() {
    let limited = |files| Compaction {
        max_files_to_rewrite: Some(files),
        ..settings(TARGET)
    };
    let six = plan_of(&[10; 10], &limited(6));
    assert_eq!(inputs_and_outputs(&six), [(6, 1)]);
    assert_eq!(skipped(&six), BTreeMap::from([("file_limit", 4)]));
    assert_eq!(
        skipped(&plan_of(&[10; 10], &limited(1))),
        BTreeMap::from([("file_limit", 10)])
    );
}

#[test]
fn rewrite_all_takes_everything() {
    let all = Compaction {
        rewrite_all: true,
        ..settings(TARGET)
    };
    assert_eq!(inputs_and_outputs(&plan_of(&[1_000], &all)), [(1, 1)]);
}

#[test]
fn an_empty_table_has_an_empty_plan() {
    let plan = plan(&TableState::empty(), &metadata(), &settings(TARGET), None);
    assert_eq!(
        (plan.snapshot_id, plan.groups.len(), plan.skipped.len()),
        (crate::NO_SNAPSHOT, 0, 0)
    );
}

/// A table on which a rewrite of ours with this target made snapshot 2.
fn rewritten(target: u64) -> TableMetadata {
    let mut json = metadata_json();
    json["snapshots"] = json!([{
        "snapshot-id": 2, "sequence-number": 2, "timestamp-ms": 1_700_000_000_000_i64, "manifest-list": "s3://b/l",
        "summary": {"operation": "replace", ACTION_SUMMARY_KEY: "rewrite_data_files", TARGET_SUMMARY_KEY: target.to_string()}
    }]);
    metadata_from(&json)
}

#[test]
fn our_own_output_is_judged_again_when_the_target_changes() {
    let mut own = files(&[400; 5]);
    own.iter_mut().for_each(|file| file.snapshot_id = 2);
    let state = state(own, vec![]);
    assert!(
        plan(&state, &rewritten(TARGET), &settings(TARGET), None)
            .groups
            .is_empty()
    );
    assert_eq!(
        plan(&state, &rewritten(400), &settings(TARGET), None)
            .groups
            .len(),
        1
    );
}

/// Applies the plan: every group becomes `output_files` files of equal shares, each off by its own factor.
fn rewrite(plan: &RewritePlan, before: &[FileOf], factors: &mut impl Iterator<Item = u64>) -> Vec<FileOf> {
    let gone: HashSet<_> = plan
        .groups
        .iter()
        .flat_map(|group| &group.files)
        .map(|file| file.data.file.file_path())
        .collect();
    let is_kept = |file: &&FileOf| !gone.contains(file.builder.build().unwrap().file_path());
    let mut after: Vec<_> = before.iter().filter(is_kept).cloned().collect();
    for group in &plan.groups {
        let live: u64 = group.files.iter().map(ScanFile::live_bytes).sum();
        let share = live / group.output_files as u64;
        let Some(Some(Literal::Primitive(iceberg::spec::PrimitiveLiteral::Int(partition)))) =
            group.partition.iter().next().map(|v| v.cloned())
        else {
            panic!("single-spec table")
        };
        for output in 0..group.output_files {
            let percent = factors.next().unwrap();
            let path = format!("s3://b/new{}-{output}", group.index);
            let mut file = FileOf::data(&path, share * percent / 100)
                .partition(partition)
                .at(100);
            (file.snapshot_id, file.added) = (2, 101);
            after.push(file);
        }
    }
    after
}

/// (files outside the band, files), the measure that every rewrite for size has to lower.
fn measure(files: &[FileOf], settings: &Compaction) -> (usize, usize) {
    let band = Band::wanted(settings.sizes());
    let sizes = files
        .iter()
        .map(|file| file.builder.build().unwrap().file_size_in_bytes());
    (sizes.filter(|size| !band.contains(*size)).count(), files.len())
}

fn any_files() -> impl Strategy<Value = Vec<FileOf>> {
    let size = prop_oneof![1_u64..400, 300_u64..2_000, 1_000_u64..9_000];
    prop::collection::vec((size, 0..3_i32), 0..40).prop_map(|files| {
        let all = files.into_iter().enumerate();
        all.map(|(index, (size, part))| FileOf::data(&format!("s3://b/f{index}"), size).partition(part))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_second_run_plans_nothing(
        files in any_files(),
        deletes in prop::collection::vec((0_usize..40, 1_u64..100), 0..10),
        factors in prop::collection::vec(70_u64..=130, 400),
        min_input_files in 1_usize..8,
        min_percent in 0_u64..100,
        max_percent in 101_u64..300,
        group_targets in prop::option::of(20_u64..60),
    ) {
        let settings = Compaction {
            min_input_files,
            min_file_bytes: TARGET * min_percent / 100,
            max_file_bytes: TARGET * max_percent / 100,
            max_group_bytes: group_targets.map_or(u64::MAX, |targets| targets * TARGET),
            ..settings(TARGET)
        };
        let deletes: Vec<_> = deletes.iter().map(|(about, rows)| position_delete(&format!("s3://b/f{about}"), *rows)).collect();
        let first = plan(&state(files.clone(), deletes.clone()), &metadata(), &settings, None);
        let after = rewrite(&first, &files, &mut factors.into_iter());
        let second = plan(&state(after, deletes), &rewritten(TARGET), &settings, None);
        prop_assert!(second.groups.is_empty(), "{:?} then {:?}", inputs_and_outputs(&first), inputs_and_outputs(&second));
    }

    #[test]
    fn rewrites_for_size_lower_the_measure(files in any_files()) {
        let settings = settings(TARGET);
        let plan = plan(&state(files.clone(), vec![]), &metadata(), &settings, None);
        let after = rewrite(&plan, &files, &mut std::iter::repeat(100));
        prop_assert_eq!(plan.groups.is_empty(), measure(&after, &settings) >= measure(&files, &settings));
        let seen = plan.skipped.values().sum::<u64>() + plan.groups.iter().map(|group| group.files.len() as u64).sum::<u64>();
        prop_assert_eq!(seen, plan.files_considered);
    }
}

#[test]
fn a_filter_leaves_files_out_before_anything_else_is_decided() {
    let wanted = Compaction {
        rewrite_all: true,
        filter: Some("part = 2".to_owned()),
        ..settings(TARGET)
    };
    let mut data = files(&[10, 10]);
    data.push(FileOf::data("other", 10).partition(2));
    let plan = plan(&state(data, vec![]), &metadata(), &wanted, None);
    assert_eq!(inputs_and_outputs(&plan), [(1, 1)]);
    assert_eq!(skipped(&plan), BTreeMap::from([("filtered_out", 2)]));
    assert_eq!(plan.files_considered, 3);
}
