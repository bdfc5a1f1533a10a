//! Random histories with other writers committing at the worst moment: no row appears, vanishes or comes back.

use std::collections::HashMap;

use iceberg::spec::FormatVersion;
use proptest::prelude::*;

use super::{commit, planned, rewrite};
use crate::fake::{BY_PART, FLAT, FakeSupervisor, FakeTable, Fault};

/// Something a writer does.
#[derive(Clone, Debug)]
enum Step {
    Append {
        spec: i32,
        part: i32,
        rows: u8,
    },
    DeletePositions {
        file: prop::sample::Index,
        position: prop::sample::Index,
        scoped: bool,
    },
    DeleteKeys {
        spec: i32,
        part: i32,
        key: i64,
    },
    Rewrite {
        spec: i32,
        parts: Vec<i32>,
        keep: bool,
        dangling: bool,
    },
}

fn spec() -> impl Strategy<Value = i32> {
    prop_oneof![3 => Just(BY_PART), 1 => Just(FLAT)]
}

fn writer_step() -> impl Strategy<Value = Step> {
    let part = || 1..3;
    prop_oneof![
        3 => (spec(), part(), 1..5u8).prop_map(|(spec, part, rows)| Step::Append { spec, part, rows }),
        3 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(file, position, scoped)| Step::DeletePositions { file, position, scoped }),
        2 => (spec(), part(), 0..4i64).prop_map(|(spec, part, key)| Step::DeleteKeys { spec, part, key }),
    ]
}

fn rewrite_step() -> impl Strategy<Value = Step> {
    let parts = prop::sample::subsequence(vec![1, 2], 1..=2);
    (spec(), parts, any::<bool>(), any::<bool>()).prop_map(|(spec, parts, keep, dangling)| Step::Rewrite {
        spec,
        parts,
        keep,
        dangling,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![3 => writer_step(), 1 => rewrite_step()]
}

/// Hands out row ids.
#[derive(Default)]
struct Ids(i64);

async fn write(table: &FakeTable, step: &Step, first_id: i64, deletes: bool) {
    match step {
        Step::Append { spec, part, rows } => {
            let part = if *spec == FLAT { 0 } else { *part };
            let rows = (0..i64::from(*rows))
                .map(|i| (first_id + i, (first_id + i) % 4))
                .collect();
            table.append(*spec, part, rows).await;
        }
        Step::DeletePositions {
            file,
            position,
            scoped,
        } if deletes => {
            let (data, _) = table.live_now().await;
            if !data.is_empty() {
                let target = file.get(&data);
                let position = position.index(target.file.record_count() as usize);
                table.delete_positions(target, &[position], *scoped).await;
            }
        }
        Step::DeleteKeys { spec, part, key } if deletes => {
            drop(table.delete_keys(*spec, *part, &[*key]).await)
        }
        _ => {}
    }
}

/// Rewrites while `meanwhile` happens between the check and the compare-and-set.
async fn maintain(table: &FakeTable, step: &Step, meanwhile: &[Step], ids: &mut Ids, deletes: bool) {
    let Step::Rewrite {
        spec,
        parts,
        keep,
        dangling,
    } = step
    else {
        return;
    };
    if table.now().metadata.current_snapshot().is_none() {
        return;
    }
    let mut base = planned(table, *spec, *keep);
    base.remove_dangling = *dangling;
    let mut groups = Vec::new();
    for part in if *spec == FLAT { vec![0] } else { parts.clone() } {
        let group = rewrite(table, groups.len(), *spec, part).await;
        if !group.replaced.is_empty() {
            groups.push(group);
        }
    }
    if groups.is_empty() {
        return;
    }
    for other in meanwhile {
        ids.0 += 10;
        let (writer, other, first_id) = (table.clone(), other.clone(), ids.0);
        table.catalog.will(Fault::Meanwhile(Box::new(move || {
            Box::pin(async move { write(&writer, &other, first_id, deletes).await })
        })));
    }
    let quiet = table.now().metadata.current_snapshot_id();
    let before = table.read_now().await;
    let committed = commit(table, &base, &groups, &FakeSupervisor::default())
        .await
        .unwrap();
    table.catalog.faults.lock().unwrap().clear();
    let expected = match &committed.base {
        // What the table held right under the new snapshot.
        Some(under) => table.read(under.metadata.current_snapshot().unwrap()).await,
        None if table.now().metadata.current_snapshot_id() == quiet => before,
        None => return,
    };
    assert_eq!(table.read_now().await, expected, "{step:?} with {meanwhile:?}");
    check_numbers(table).await;
}

/// Every live data file is listed once, and no manifest without live files stays for ever.
async fn check_numbers(table: &FakeTable) {
    let (data, deletes) = table.live_now().await;
    let mut seen = HashMap::new();
    for file in data.iter().chain(&deletes) {
        *seen.entry(file.file.file_path().to_owned()).or_insert(0) += 1;
        assert!(file.file_sequence_number >= Some(file.sequence_number));
    }
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

async fn play(version: FormatVersion, history: Vec<(Step, Vec<Step>)>) {
    let merge_often = HashMap::from([("commit.manifest.min-count-to-merge".to_owned(), "4".to_owned())]);
    let table = FakeTable::with_properties(version, merge_often);
    let deletes = version != FormatVersion::V1;
    let mut ids = Ids::default();
    let mut seen = HashMap::new();
    for (step, meanwhile) in history {
        ids.0 += 10;
        match step {
            Step::Rewrite { .. } => maintain(&table, &step, &meanwhile, &mut ids, deletes).await,
            _ => write(&table, &step, ids.0, deletes).await,
        }
        if let Some(head) = table.now().metadata.current_snapshot_id() {
            seen.insert(head, table.read_now().await);
        }
    }
    for (snapshot, rows) in seen {
        let now = table.now();
        let kept = now.metadata.snapshot_by_id(snapshot).unwrap();
        assert_eq!(table.read(kept).await, rows, "an older snapshot changed");
    }
}

fn run(version: FormatVersion, history: Vec<(Step, Vec<Step>)>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(play(version, history));
}

fn history() -> impl Strategy<Value = Vec<(Step, Vec<Step>)>> {
    prop::collection::vec((step(), prop::collection::vec(writer_step(), 0..3)), 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_survive_rewrites_among_other_writers(history in history()) {
        run(FormatVersion::V2, history);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_survive_rewrites_of_v1_tables(history in history()) {
        run(FormatVersion::V1, history);
    }
}
