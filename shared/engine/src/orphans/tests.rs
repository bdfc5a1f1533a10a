//! Orphans on real disks: what is referenced, young, hidden or somebody else's stays, the rest goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration as StdDuration, SystemTime};

use iceberg::TableUpdate;
use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::spec::{
    FormatVersion, PartitionStatisticsFile, StatisticsFile, Transform, UnboundPartitionSpec,
};
use snowpack_catalog::DispatchFactory;
use snowpack_domain::{Metric, PrefixMismatch, TableId, Timestamp};
use snowpack_service::ports::ActionStop;

use super::*;
use crate::fake::{BY_PART, FakeSupervisor, FakeTable};

mod guards;
mod model;

/// Every file of a test counts as older than this unless it is made young.
pub(super) const CUTOFF: u64 = 4_000_000_000;

/// A table in `<folder>/t`.
pub(super) struct Lake {
    folder: tempfile::TempDir,
    table: FakeTable,
    settings: OrphanRemoval,
}

pub(super) fn disk() -> FileIO {
    FileIOBuilder::new(Arc::new(DispatchFactory::default())).build()
}

impl Lake {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A table with these properties, in which `{}` stands for the folder.
    async fn with(properties: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spelled = folder.path().display().to_string();
        let owned = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.replace("{}", &spelled)));
        let location = format!("file:{spelled}/t");
        let table = FakeTable::at(&location, disk(), FormatVersion::V2, owned.collect());
        for id in 0..4 {
            table.append(BY_PART, 1, vec![(id, id)]).await;
        }
        let settings = OrphanRemoval {
            older_than: Timestamp::from_micros(CUTOFF as i64 * 1_000_000),
            location: None,
            prefix_mismatch: PrefixMismatch::Error,
            equal_schemes: BTreeMap::new(),
            equal_authorities: BTreeMap::new(),
            max_orphan_ratio: 1.0,
            dry_run: false,
        };
        Self {
            folder,
            table,
            settings,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a file of ten bytes.
    fn write(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "0123456789").unwrap();
        path
    }

    fn make_young(&self, name: &str) {
        let file = fs::File::options().append(true).open(self.path(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + StdDuration::from_secs(CUTOFF))
            .unwrap();
    }

    async fn run(&self) -> Result<Report, EngineError> {
        self.run_under(&FakeSupervisor::default()).await
    }

    async fn run_under(&self, supervisor: &FakeSupervisor) -> Result<Report, EngineError> {
        let removal = OrphanFiles {
            catalog: self.table.catalog.as_ref(),
            supervisor,
            settings: self.settings.clone(),
        };
        removal.run(&self.table.now()).await
    }

    async fn message(&self) -> String {
        self.run().await.unwrap().message
    }

    async fn refusal(&self) -> String {
        let before = self.files();
        let refused = self.run().await.unwrap_err();
        assert_eq!(self.files(), before, "nothing is deleted on an error");
        refused.to_string()
    }

    /// Every file below the folder.
    fn files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(files.insert(relative(&path, self.folder.path()))),
                }
            }
        }
        files
    }
}

fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap().display().to_string()
}

fn counts(report: &Report) -> [u64; 3] {
    ["listed", "orphans", "bytes"].map(|name| match report.metrics[name] {
        Metric::Count(count) => count,
        Metric::Ratio(_) => panic!("{name} is a count"),
    })
}

#[tokio::test]
async fn what_nothing_references_goes_and_the_table_stays() {
    let lake = Lake::new().await;
    let before = lake.files();
    let rows = lake.table.read_now().await;
    for name in ["t/data/part=1/a.parquet", "t/metadata/failed.avro", "t/stray"] {
        lake.write(name);
    }
    let report = lake.run().await.unwrap();
    assert_eq!(report.message, "Removed 3 orphan files (30 B)");
    assert_eq!(counts(&report), [before.len() as u64 + 3, 3, 30]);
    assert_eq!(lake.files(), before);
    assert_eq!(lake.table.read_now().await, rows);
    let again = lake.run().await.unwrap();
    assert!(again.message.starts_with("Nothing to do"), "{}", again.message);
    assert_eq!(counts(&again), [before.len() as u64, 0, 0]);
}

#[tokio::test]
async fn a_dry_run_says_what_a_run_then_does() {
    let mut lake = Lake::new().await;
    lake.settings.dry_run = true;
    lake.write("t/data/a");
    let before = lake.files();
    let said = lake.run().await.unwrap();
    assert!(
        said.message
            .starts_with("Would remove 1 orphan file (10 B), a list with SHA-256 "),
        "{}",
        said.message
    );
    assert_eq!(counts(&said)[1..], [1, 10]);
    assert_eq!(
        lake.run().await.unwrap().message,
        said.message,
        "the same files, the same digest"
    );
    assert_eq!(lake.files(), before);
    lake.settings.dry_run = false;
    assert_eq!(lake.message().await, "Removed 1 orphan file (10 B)");
}

#[tokio::test]
async fn young_and_hidden_files_and_links_stay() {
    let lake = Lake::new().await;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("f"), "x").unwrap();
    for name in [
        "t/data/young",
        "t/data/.x.parquet.crc",
        "t/data/_SUCCESS",
        "t/_tmp/a/b",
        "t/.git/c",
    ] {
        lake.write(name);
    }
    lake.make_young("t/data/young");
    std::os::unix::fs::symlink(outside.path(), lake.path("t/data/link")).unwrap();
    let before = lake.files();
    assert!(lake.message().await.starts_with("Nothing to do"));
    assert_eq!(lake.files(), before);
    assert!(outside.path().join("f").exists());
}

#[tokio::test]
async fn every_kind_of_reference_counts() {
    let lake = Lake::new().await;
    let head = lake.table.now().metadata.current_snapshot_id().unwrap();
    let location = format!("file://{}/t/metadata", lake.folder.path().display());
    for name in ["s.stats", "p.stats", "version-hint.text"] {
        lake.write(&format!("t/metadata/{name}"));
    }
    lake.table.update(vec![
        TableUpdate::SetStatistics {
            statistics: StatisticsFile {
                snapshot_id: head,
                statistics_path: format!("{location}/s.stats"),
                file_size_in_bytes: 1,
                file_footer_size_in_bytes: 1,
                key_metadata: None,
                blob_metadata: Vec::new(),
            },
        },
        TableUpdate::SetPartitionStatistics {
            partition_statistics: PartitionStatisticsFile {
                snapshot_id: head,
                statistics_path: format!("{location}/p.stats"),
                file_size_in_bytes: 1,
            },
        },
    ]);
    lake.table.delete_keys(BY_PART, 1, &[1]).await;
    lake.table.tag("old", head);
    lake.table.roll_back(head);
    let before = lake.files();
    assert!(lake.message().await.starts_with("Nothing to do"));
    assert_eq!(lake.files(), before);
}

#[tokio::test]
async fn a_reference_that_cannot_be_read_stops_everything() {
    let lake = Lake::new().await;
    lake.write("t/data/a");
    let head = lake.table.now().metadata.current_snapshot().unwrap().clone();
    let list = head.manifest_list().strip_prefix("file:").unwrap();
    fs::remove_file(list).unwrap();
    assert!(lake.refusal().await.contains(list));
}

#[tokio::test]
async fn what_is_committed_during_the_run_stays() {
    // The loads are: after the listing, and before the only batch of deletes.
    for loads_before in 0..2 {
        let lake = Lake::new().await;
        lake.write("t/data/a");
        let unborn = lake.table.data_file(BY_PART, 1, vec![(9, 9)]);
        lake.write(&unborn.file_path()[unborn.file_path().find("t/data").unwrap()..]);
        let path = unborn.file_path().to_owned();
        for _ in 0..loads_before {
            lake.table.catalog.before_load(async {});
        }
        let table = lake.table.clone();
        lake.table
            .catalog
            .before_load(async move { table.append_file(BY_PART, unborn).await });
        assert_eq!(
            lake.message().await,
            "Removed 1 orphan file (10 B)",
            "{loads_before}"
        );
        assert!(disk().exists(&path).await.unwrap());
        assert_eq!(lake.table.read_now().await.len(), 5);
    }
}

#[tokio::test]
async fn deletes_forbidden_or_revoked_meanwhile_stop() {
    let lake = Lake::new().await;
    for index in 0..BATCH + 5 {
        lake.write(&format!("t/data/{index:05}"));
    }
    let revoked = FakeSupervisor {
        revoke_at: Some(1),
        ..FakeSupervisor::default()
    };
    let ended = lake.run_under(&revoked).await;
    assert!(matches!(ended, Err(EngineError::Stopped(ActionStop::Revoked))));
    assert!(!lake.path("t/data/00999").exists() && lake.path("t/data/01000").exists());
    let table = lake.table.clone();
    lake.table.catalog.before_load(async move {
        let updates = HashMap::from([("gc.enabled".to_owned(), "false".to_owned())]);
        table.update(vec![TableUpdate::SetProperties { updates }]);
    });
    let message = lake.message().await;
    assert!(message.contains("gc.enabled was set to false"), "{message}");
    assert!(lake.path("t/data/01000").exists());
    assert!(
        lake.message()
            .await
            .starts_with("Nothing to do: gc.enabled is false")
    );
}

#[tokio::test]
async fn slices_remove_batch_after_batch_and_the_result_tells_of_all() {
    let lake = Lake::new().await;
    for index in 0..2 * BATCH + 5 {
        lake.write(&format!("t/data/{index:05}"));
    }
    let note = Arc::default();
    let slice = |batches_in_time| FakeSupervisor {
        batches_in_time,
        note: Arc::clone(&note),
        ..FakeSupervisor::default()
    };
    for left in [BATCH + 5, 5] {
        let ended = lake.run_under(&slice(Some(1))).await;
        assert!(matches!(ended, Err(EngineError::Stopped(ActionStop::OutOfTime))));
        let orphans = lake
            .files()
            .into_iter()
            .filter(|file| file.starts_with("t/data/0"));
        assert_eq!(
            orphans.filter(|file| file.len() == "t/data/00000".len()).count(),
            left
        );
    }
    let report = lake.run_under(&slice(None)).await.unwrap();
    assert_eq!(report.message, "Removed 2005 orphan files (19.6 KiB)");
    assert_eq!(counts(&report)[1..], [2005, 20_050]);
    let nothing_left = lake.run_under(&slice(None)).await.unwrap();
    assert_eq!(
        nothing_left.message, report.message,
        "the same job is told the same"
    );
}

#[tokio::test]
async fn a_table_created_anew_meanwhile_is_left_alone() {
    let lake = Lake::new().await;
    lake.write("t/data/a");
    let stranger = FakeTable::at("file:/elsewhere", disk(), FormatVersion::V2, HashMap::new());
    let id = lake.table.catalog.id().clone();
    let before = lake.table.now();
    let neighbours = &lake.table.catalog.neighbours;
    neighbours.lock().unwrap().insert(id, Some(stranger.now()));
    let removal = OrphanFiles {
        catalog: lake.table.catalog.as_ref(),
        supervisor: &FakeSupervisor::default(),
        settings: lake.settings.clone(),
    };
    let refused = removal.run(&before).await.unwrap_err();
    assert!(matches!(refused, EngineError::TableReplaced(_)), "{refused}");
    assert!(lake.path("t/data/a").exists());
}

#[tokio::test]
async fn older_metadata_files_protect_what_they_still_reach() {
    let lake = Lake::new().await;
    let before = lake.table.now();
    let oldest = before
        .metadata
        .snapshots()
        .min_by_key(|snapshot| snapshot.sequence_number())
        .unwrap();
    let lists: Vec<_> = before
        .metadata
        .snapshots()
        .map(|snapshot| snapshot.manifest_list())
        .collect();
    let older = format!(
        "file://{}/t/metadata/00001-older.metadata.json",
        lake.folder.path().display()
    );
    let text = serde_json::to_string(before.metadata.as_ref()).unwrap();
    disk()
        .new_output(&older)
        .unwrap()
        .write(text.into())
        .await
        .unwrap();
    let gone = older.replace("00001", "00000");
    let expired = TableUpdate::RemoveSnapshots {
        snapshot_ids: vec![oldest.snapshot_id()],
    };
    lake.table.update(vec![expired]);
    let now = lake.table.now();
    let mut json = serde_json::to_value(now.metadata.as_ref()).unwrap();
    let log = |entries: &[&String]| -> Vec<_> {
        let entry = |file| serde_json::json!({"metadata-file": file, "timestamp-ms": 1});
        entries.iter().map(entry).collect()
    };
    for (entries, protects) in [(vec![&gone, &older], true), (vec![&gone], false)] {
        json["metadata-log"] = log(&entries).into();
        let metadata = Arc::new(serde_json::from_value(json.clone()).unwrap());
        let table = LoadedTable::new(now.id.clone(), metadata, "file:/now.json".to_owned(), disk());
        let mut reach = Reachability::new(Names::of(&lake.settings));
        reach.add(&table).await.unwrap();
        let judge = |path: &str| reach.judge(&reach.names().place(path));
        assert_eq!(
            judge(&gone),
            reached::Verdict::Referenced,
            "the log names it, so it may come back"
        );
        for list in &lists {
            let is_needed = protects || *list != oldest.manifest_list();
            assert_eq!(judge(list) == reached::Verdict::Referenced, is_needed, "{list}");
        }
    }
    json["metadata-log"] = log(&[&older]).into();
    fs::remove_file(oldest.manifest_list().strip_prefix("file:").unwrap()).unwrap();
    let metadata = Arc::new(serde_json::from_value(json).unwrap());
    let table = LoadedTable::new(now.id.clone(), metadata, "file:/now.json".to_owned(), disk());
    let mut reach = Reachability::new(Names::of(&lake.settings));
    reach.add(&table).await.unwrap();
    fs::write(older.strip_prefix("file://").unwrap(), "{").unwrap();
    let mut reach = Reachability::new(Names::of(&lake.settings));
    let refused = reach.add(&table).await.unwrap_err().to_string();
    assert!(refused.contains("00001-older"), "{refused}");
}
