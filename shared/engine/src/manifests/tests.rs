//! Manifest rewrites against the naive reader: entries and rows stay, manifests get fewer and sorted, and a
//! second run finds nothing to do.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use iceberg::spec::{FormatVersion, ManifestContentType, ManifestFile, Operation};
use proptest::prelude::*;
use snowpack_domain::{ManifestRewrite, Metric, Timestamp};
use snowpack_manifest::{read_manifest, read_manifest_list};
use snowpack_plan::plan_manifests;
use snowpack_service::ports::ActionStop;

use super::*;
use crate::fake::{BY_PART, FLAT, FakeSupervisor, FakeTable, Fault};

/// More than any table here needs.
const TARGET_BYTES: u64 = 1024 * 1024;
/// A header and a few dozen of the fake table's entries.
const SMALL_BYTES: u64 = 6000;

/// What a live entry says, by path: content, spec, snapshot, data and file sequence number.
type Entries = BTreeMap<String, (bool, i32, i64, i64, Option<i64>)>;

async fn entries(table: &FakeTable) -> Entries {
    let (data, deletes) = table.live_now().await;
    let files = data.into_iter().map(|file| (false, file));
    let files = files.chain(deletes.into_iter().map(|file| (true, file)));
    let told = files.map(|(is_delete, live)| {
        let numbers = (live.sequence_number, live.file_sequence_number);
        let told = (is_delete, live.spec_id, live.snapshot_id, numbers.0, numbers.1);
        (live.file.file_path().to_owned(), told)
    });
    told.collect()
}

async fn manifests(table: &FakeTable) -> Vec<ManifestFile> {
    let table = table.now();
    let head = table.metadata.current_snapshot().unwrap();
    read_manifest_list(&table.io, &table.metadata, head)
        .await
        .unwrap()
}

async fn run(
    table: &FakeTable,
    settings: ManifestRewrite,
    supervisor: &FakeSupervisor,
) -> Result<Report, EngineError> {
    let committer = Committer {
        catalog: table.catalog.as_ref(),
        table: table.catalog.id(),
        supervisor,
    };
    let proposal = ManifestsProposal {
        uuid: table.now().metadata.uuid(),
        settings,
        summary: BTreeMap::from([("snowpack.fence".to_owned(), "7".to_owned())]),
        supervisor,
        now: || Timestamp::from_micros(0),
        work: Default::default(),
    };
    rewrite_manifests(&committer, proposal, &table.now().io).await
}

fn settings(target_bytes: u64) -> ManifestRewrite {
    ManifestRewrite {
        spec_id: None,
        target_bytes,
    }
}

async fn rewrite_to(table: &FakeTable, target_bytes: u64) -> Report {
    run(table, settings(target_bytes), &FakeSupervisor::default())
        .await
        .unwrap()
}

async fn rewrite(table: &FakeTable) -> Report {
    rewrite_to(table, TARGET_BYTES).await
}

/// Files in turn of these partitions, one commit each.
async fn filled(version: FormatVersion, spec: i32, parts: impl IntoIterator<Item = i32>) -> FakeTable {
    let table = FakeTable::new(version);
    for (id, part) in parts.into_iter().enumerate() {
        table.append(spec, part, vec![(id as i64, i64::from(part))]).await;
    }
    table
}

fn summary_of(table: &FakeTable, key: &str) -> String {
    let now = table.now();
    let head = now.metadata.current_snapshot().unwrap();
    head.summary().additional_properties[key].clone()
}

#[tokio::test]
async fn many_manifests_become_one_and_then_there_is_nothing_to_do() {
    for version in [FormatVersion::V1, FormatVersion::V2] {
        for spec in [FLAT, BY_PART] {
            let table = filled(version, spec, (0..12).map(|file| file % 5)).await;
            let (before, rows) = (entries(&table).await, table.read_now().await);
            let report = rewrite(&table).await;
            assert_eq!(report.message, "Rewrote 12 manifests into 1");
            assert_eq!(report.metrics["entries"], Metric::Count(12));
            assert_eq!((entries(&table).await, table.read_now().await), (before, rows));
            let now = table.now();
            let head = now.metadata.current_snapshot().unwrap().clone();
            assert_eq!(head.summary().operation, Operation::Replace);
            let told = [
                "manifests-created",
                "manifests-kept",
                "manifests-replaced",
                "entries-processed",
            ];
            let told = told.map(|key| summary_of(&table, key));
            assert_eq!(told, ["1", "0", "12", "12"]);
            assert_eq!(summary_of(&table, "total-records"), "1000000");
            assert_eq!(summary_of(&table, "snowpack.fence"), "7");
            let again = rewrite(&table).await;
            assert_eq!(again.message, "Nothing to do: 1 manifest in shape");
            assert_eq!(
                table.now().metadata.current_snapshot_id(),
                Some(head.snapshot_id())
            );
        }
    }
}

#[tokio::test]
async fn an_empty_table_has_nothing_to_do() {
    let table = FakeTable::new(FormatVersion::V2);
    assert_eq!(
        rewrite(&table).await.message,
        "Nothing to do: 0 manifests in shape"
    );
}

#[tokio::test]
async fn every_spec_and_content_is_merged_apart_unless_one_is_asked_for() {
    let table = filled(FormatVersion::V2, BY_PART, [1, 2, 1]).await;
    for id in 10..13 {
        table.append(FLAT, 0, vec![(id, 1)]).await;
    }
    let (data, _) = table.live_now().await;
    for file in data.iter().filter(|file| file.spec_id == BY_PART) {
        table.delete_positions(file, &[0], true).await;
    }
    table.delete_keys(FLAT, 0, &[1]).await;
    let (before, rows) = (entries(&table).await, table.read_now().await);
    let only = ManifestRewrite {
        spec_id: Some(FLAT),
        target_bytes: TARGET_BYTES,
    };
    let report = run(&table, only, &FakeSupervisor::default()).await.unwrap();
    assert_eq!(report.message, "Rewrote 3 manifests into 1");
    assert_eq!(rewrite(&table).await.message, "Rewrote 6 manifests into 2");
    assert_eq!((entries(&table).await, table.read_now().await), (before, rows));
    let left = manifests(&table).await;
    let kinds: Vec<_> = left
        .iter()
        .map(|manifest| (manifest.content, manifest.partition_spec_id))
        .collect();
    let (data, deletes) = (ManifestContentType::Data, ManifestContentType::Deletes);
    assert_eq!(
        kinds,
        [(data, BY_PART), (data, FLAT), (deletes, BY_PART), (deletes, FLAT)]
    );
}

/// Smallest and largest partition of every data manifest.
async fn ranges(table: &FakeTable) -> Vec<(i64, i64)> {
    let io = table.now().io;
    let mut ranges = Vec::new();
    for listed in manifests(table).await {
        let manifest = read_manifest(&io, &listed, Ok).await.unwrap();
        let parts: Vec<_> = manifest
            .entries()
            .iter()
            .map(|entry| format!("{:?}", entry.data_file().partition()[0]))
            .map(|text| text.chars().filter(char::is_ascii_digit).collect::<String>())
            .map(|digits| digits.parse().unwrap())
            .collect();
        ranges.push((*parts.iter().min().unwrap(), *parts.iter().max().unwrap()));
    }
    ranges
}

#[tokio::test]
async fn manifests_of_a_large_table_cover_neighbouring_partitions() {
    let table = filled(FormatVersion::V2, BY_PART, (0..300).map(|file| file * 7 % 100)).await;
    let before = entries(&table).await;
    rewrite_to(&table, SMALL_BYTES).await;
    assert_eq!(entries(&table).await, before);
    let ranges = ranges(&table).await;
    assert!(ranges.len() > 2, "{ranges:?}");
    assert!(ranges.is_sorted_by(|a, b| a.1 <= b.0), "{ranges:?}");
    for manifest in manifests(&table).await {
        assert!(manifest.manifest_length as u64 <= SMALL_BYTES * 5 / 4);
    }
    assert!(
        rewrite_to(&table, SMALL_BYTES)
            .await
            .message
            .starts_with("Nothing to do")
    );
}

#[tokio::test]
async fn sorted_manifests_of_good_size_stay() {
    let table = filled(FormatVersion::V2, BY_PART, 100..400).await;
    rewrite_to(&table, SMALL_BYTES).await;
    let sorted = manifests(&table).await;
    for part in 500..505 {
        table.append(BY_PART, part, vec![(1, 1)]).await;
    }
    let before = entries(&table).await;
    let report = rewrite_to(&table, SMALL_BYTES).await;
    assert!(
        matches!(report.metrics["manifests_in"], Metric::Count(..=7)),
        "{report:?}"
    );
    assert_eq!(entries(&table).await, before);
    let now: Vec<_> = manifests(&table).await;
    assert!(now.iter().filter(|manifest| sorted.contains(manifest)).count() + 2 >= sorted.len());
}

/// A run too large to sort at once is cut into ranges of partitions, one of them a single heavy partition.
#[tokio::test]
async fn a_run_beyond_the_memory_limit_is_sorted_range_by_range() {
    let parts = (0..240).map(|file| if file % 3 == 0 { 50 } else { file * 7 % 100 });
    let table = filled(FormatVersion::V2, BY_PART, parts).await;
    let base = table.now();
    let listed = manifests(&table).await;
    let supervisor = FakeSupervisor::default();
    for run_weight in [1, 2000, 10_000] {
        let mut plan = plan_manifests(&base.metadata, &listed, &settings(SMALL_BYTES));
        let shelf = plan.pop().unwrap();
        let mut writer = shelf::ShelfWriter::new(&base, &supervisor, SMALL_BYTES);
        writer.run_weight = run_weight;
        let mut written = Vec::new();
        let mut workshop = crate::commit::Workshop::new(&base, &mut written);
        let finished = writer.write(shelf, &mut workshop).await.unwrap();
        assert_eq!(finished.entries, 240);
        let again = plan_manifests(&base.metadata, &finished.created, &settings(SMALL_BYTES));
        assert!(again.is_empty(), "{again:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn manifests_added_meanwhile_stay_and_finished_work_is_kept() {
    let table = filled(FormatVersion::V2, BY_PART, [1, 2, 3, 4]).await;
    let other = table.clone();
    table.catalog.will(Fault::Meanwhile(Box::new(move || {
        Box::pin(async move {
            other.append(BY_PART, 9, vec![(100, 9)]).await;
        })
    })));
    let report = rewrite(&table).await;
    assert_eq!(report.message, "Rewrote 4 manifests into 1");
    assert_eq!(table.read_now().await.len(), 5);
    assert_eq!(manifests(&table).await.len(), 2);
    let head = table.now().metadata.current_snapshot_id().unwrap();
    for manifest in &manifests(&table).await[..1] {
        assert_eq!(manifest.added_snapshot_id, head);
    }
}

#[tokio::test(start_paused = true)]
async fn manifests_replaced_meanwhile_are_planned_anew() {
    let table = filled(FormatVersion::V2, BY_PART, [1, 2, 3, 4]).await;
    table.append(FLAT, 0, vec![(70, 7)]).await;
    table.append(FLAT, 0, vec![(71, 7)]).await;
    let other = table.clone();
    table.catalog.will(Fault::Meanwhile(Box::new(move || {
        Box::pin(async move {
            let only = ManifestRewrite {
                spec_id: Some(BY_PART),
                target_bytes: TARGET_BYTES,
            };
            other.append(BY_PART, 5, vec![(80, 8)]).await;
            run(&other, only, &FakeSupervisor::default()).await.unwrap();
        })
    })));
    let rows = table.read_now().await.len();
    let report = rewrite(&table).await;
    assert_eq!(
        report.message, "Rewrote 2 manifests into 1",
        "the other shelf is in shape now"
    );
    assert_eq!(table.read_now().await.len(), rows + 1);
    assert_eq!(manifests(&table).await.len(), 2);
    assert_eq!(leftovers(&table).await, Vec::<String>::new());
}

/// Files of the metadata folder that no snapshot reaches.
async fn leftovers(table: &FakeTable) -> Vec<String> {
    let now = table.now();
    let mut reached = std::collections::HashSet::new();
    for snapshot in now.metadata.snapshots() {
        reached.insert(snapshot.manifest_list().to_owned());
        let listed = read_manifest_list(&now.io, &now.metadata, snapshot)
            .await
            .unwrap();
        reached.extend(listed.into_iter().map(|manifest| manifest.manifest_path));
    }
    let folder = now.metadata.location().to_owned();
    let Ok(files) = std::fs::read_dir(format!("{folder}/metadata")) else {
        return Vec::new();
    };
    let files = files.map(|entry| entry.unwrap().path().display().to_string());
    files.filter(|path| !reached.contains(path)).collect()
}

async fn on_disk(folder: &tempfile::TempDir) -> FakeTable {
    let location = folder.path().display().to_string();
    let io = iceberg::io::FileIO::new_with_fs();
    let table = FakeTable::at(&location, io, FormatVersion::V2, Default::default());
    for part in [3, 1, 2] {
        table.append(BY_PART, part, vec![(i64::from(part), 1)]).await;
    }
    table
}

#[tokio::test(start_paused = true)]
async fn lost_attempts_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let table = on_disk(&folder).await;
    table.catalog.will(Fault::Outage(Duration::from_secs(250)));
    let busy = run(&table, settings(TARGET_BYTES), &FakeSupervisor::default()).await;
    assert!(matches!(busy, Err(EngineError::Catalog(_))), "{busy:?}");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(leftovers(&table).await, Vec::<String>::new());
    let revoked = FakeSupervisor {
        revoke_at: Some(0),
        ..FakeSupervisor::default()
    };
    let stopped = run(&table, settings(TARGET_BYTES), &revoked).await;
    assert!(matches!(stopped, Err(EngineError::Stopped(ActionStop::Revoked))));
    assert_eq!(leftovers(&table).await, Vec::<String>::new());
    table.catalog.will(Fault::Unavailable);
    assert_eq!(rewrite(&table).await.message, "Rewrote 3 manifests into 1");
    assert_eq!(leftovers(&table).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_unclear_answer_never_costs_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let table = on_disk(&folder).await;
    table.catalog.will(Fault::LostUnknown);
    let unclear = run(&table, settings(TARGET_BYTES), &FakeSupervisor::default()).await;
    assert!(matches!(unclear, Err(EngineError::Unknown { .. })), "{unclear:?}");
    assert_eq!(
        leftovers(&table).await.len(),
        2,
        "the manifest and the list may be in use"
    );
    let before = table.catalog.commits.load(Ordering::SeqCst);
    table.catalog.will(Fault::AppliedUnknown);
    assert_eq!(rewrite(&table).await.message, "Rewrote 3 manifests into 1");
    assert_eq!(table.catalog.commits.load(Ordering::SeqCst), before + 1);
    assert_eq!(table.read_now().await.len(), 3);
}

#[tokio::test]
async fn a_manifest_that_is_gone_fails_the_action() {
    let folder = tempfile::tempdir().unwrap();
    let table = on_disk(&folder).await;
    let victim = manifests(&table).await[1].manifest_path.clone();
    std::fs::remove_file(&victim).unwrap();
    let failed = run(&table, settings(TARGET_BYTES), &FakeSupervisor::default()).await;
    let failed = failed.unwrap_err();
    assert!(
        failed.to_string().contains(&victim) && !failed.is_transient(),
        "{failed}"
    );
    assert_eq!(leftovers(&table).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_table_created_anew_is_not_touched() {
    let table = filled(FormatVersion::V2, BY_PART, [1, 2]).await;
    let supervisor = FakeSupervisor::default();
    let proposal = ManifestsProposal {
        uuid: uuid::Uuid::new_v4(),
        settings: settings(TARGET_BYTES),
        summary: BTreeMap::new(),
        supervisor: &supervisor,
        now: || Timestamp::from_micros(0),
        work: Default::default(),
    };
    let committer = Committer {
        catalog: table.catalog.as_ref(),
        table: table.catalog.id(),
        supervisor: &supervisor,
    };
    let refused = rewrite_manifests(&committer, proposal, &table.now().io).await;
    assert!(matches!(refused, Err(EngineError::TableReplaced(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever was written and rewritten before, entries stay as they are and a second run does nothing.
    #[test]
    fn any_history_converges_in_one_run(
        is_v1: bool,
        target_bytes in 3500_u64..9000,
        batches in prop::collection::vec((0..3_i32, 1..60_i32, 1..40_usize), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let version = if is_v1 { FormatVersion::V1 } else { FormatVersion::V2 };
            let table = FakeTable::new(version);
            for (kind, parts, files) in batches {
                let spec = if kind == 0 { FLAT } else { BY_PART };
                for file in 0..files as i32 {
                    table.append(spec, file * 31 % parts, vec![(1, 1)]).await;
                }
                let (data, _) = table.live_now().await;
                if kind == 2 && !is_v1 {
                    for file in data.iter().step_by(5) {
                        table.delete_positions(file, &[0], true).await;
                    }
                }
                let before = (entries(&table).await, table.read_now().await);
                let listed = manifests(&table).await.len();
                let report = rewrite_to(&table, target_bytes).await;
                assert_eq!((entries(&table).await, table.read_now().await), before);
                let left = manifests(&table).await.len();
                assert!(left <= listed, "{listed} manifests became {left}: {}", report.message);
                let again = rewrite_to(&table, target_bytes).await;
                assert!(again.message.starts_with("Nothing to do"), "{} then {}", report.message, again.message);
            }
        });
    }
}
