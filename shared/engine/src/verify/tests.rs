//! A storage that changes what it was given is found out, and nothing of it is committed.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::FormatVersion;
use snowpack_domain::{Action, ActionResult, JobOptions, OptionValue, Progress};
use snowpack_service::SystemClock;
use snowpack_service::ports::{ActionStop, Engine, Provenance, Supervisor};

use super::{CHECKSUM_SUMMARY_KEY, VERIFY_SUMMARY_KEY};
use crate::MaintenanceEngine;
use crate::fake::parquet::ids;
use crate::fake::{FakeCatalog, FakeSupervisor, FakeTable};
use crate::points;

/// The id that becomes another one.
const VICTIM: i64 = 5_005;

/// Changes one value in every file that was not there at first.
struct Corrupting {
    folder: PathBuf,
    at_first: BTreeSet<PathBuf>,
}

impl Supervisor for Corrupting {
    async fn checkpoint(&self) -> Result<(), ActionStop> {
        Ok(())
    }

    fn poll(&self) -> Result<(), ActionStop> {
        Ok(())
    }

    fn progress(&self, _: Progress) {}

    fn seconds_left(&self) -> Option<f64> {
        None
    }

    fn reached(&self, point: &'static str) {
        if point != points::BEFORE_VERIFY {
            return;
        }
        for path in files(&self.folder).difference(&self.at_first) {
            let mut bytes = std::fs::read(path).unwrap();
            let victim = VICTIM.to_le_bytes();
            let at = bytes.windows(8).position(|window| window == victim).unwrap();
            bytes[at..at + 8].copy_from_slice(&(VICTIM + 1_000).to_le_bytes());
            std::fs::write(path, bytes).unwrap();
        }
    }
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path);
        }
    }
    found
}

async fn table(folder: &Path) -> FakeTable {
    let plain = (
        "write.parquet.compression-codec".to_owned(),
        "uncompressed".to_owned(),
    );
    let location = folder.display().to_string();
    let properties = HashMap::from([plain]);
    let table = FakeTable::at(&location, FileIO::new_with_fs(), FormatVersion::V2, properties);
    for file in 0..5 {
        table
            .append_parquet(1, 5_000 + file * 10..5_010 + file * 10)
            .await;
    }
    table
}

async fn rewrite<S: Supervisor>(
    catalog: &Arc<FakeCatalog>,
    verify: &str,
    supervisor: S,
) -> Result<ActionResult, ActionStop> {
    let mut options = JobOptions::default();
    let verify = OptionValue::Text(verify.to_owned());
    options.set(Action::RewriteDataFiles, "verify", verify).unwrap();
    let engine = MaintenanceEngine::new(Arc::clone(catalog), SystemClock, HashMap::new());
    let provenance = Provenance { job: None, fence: 1 };
    let (id, action) = (catalog.id(), Action::RewriteDataFiles);
    engine
        .run(id, action, &options, &provenance, Arc::new(supervisor))
        .await
}

#[tokio::test]
async fn a_changed_value_is_caught_and_nothing_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path()).await;
    let (head, before) = (table.now().metadata.current_snapshot_id(), ids(&table).await);
    let at_first = files(folder.path());
    let corrupting = Corrupting {
        folder: folder.path().to_owned(),
        at_first: at_first.clone(),
    };
    match rewrite(&table.catalog, "content", corrupting).await {
        Err(ActionStop::Failed { cause, retry: false }) => assert!(cause.contains("checksum"), "{cause}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(table.now().metadata.current_snapshot_id(), head);
    assert_eq!(files(folder.path()), at_first);
    assert_eq!(ids(&table).await, before);
}

#[tokio::test]
async fn the_summary_tells_how_rows_were_verified() {
    let mut sums = BTreeSet::new();
    for verify in ["off", "counts", "content", "content"] {
        let folder = tempfile::tempdir().unwrap();
        let table = table(folder.path()).await;
        rewrite(&table.catalog, verify, FakeSupervisor::default())
            .await
            .unwrap();
        let now = table.now();
        let summary = &now
            .metadata
            .current_snapshot()
            .unwrap()
            .summary()
            .additional_properties;
        assert_eq!(summary[VERIFY_SUMMARY_KEY], verify);
        assert_eq!(summary.contains_key(CHECKSUM_SUMMARY_KEY), verify == "content");
        sums.extend(summary.get(CHECKSUM_SUMMARY_KEY).cloned());
    }
    assert_eq!(sums.len(), 1, "the same rows have the same sum");
}
