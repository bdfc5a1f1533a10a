//! Commits whose answer is lost, wrong or late, on tables that say what happened; fences lost and catalogs down.

use std::sync::atomic::Ordering;

use iceberg::TableUpdate;
use snowpack_service::ports::ActionStop;
use tokio::time::Instant;

use super::*;

/// A proposal that remembers every file it created.
struct Noted<'a, P> {
    proposal: &'a P,
    files: std::sync::Mutex<Vec<String>>,
}

impl<P: Proposal> Proposal for Noted<'_, P> {
    type Outcome = P::Outcome;

    async fn propose(
        &self,
        base: &LoadedTable,
        written: &mut Vec<String>,
    ) -> Result<Proposed<P::Outcome>, EngineError> {
        let proposed = self.proposal.propose(base, written).await;
        self.files.lock().unwrap().extend(written.iter().cloned());
        proposed
    }
}

/// A table, a group of its files rewritten, and what a commit of it came to.
struct Trial {
    table: FakeTable,
    rows: BTreeMap<Row, usize>,
    supervisor: FakeSupervisor,
}

struct End {
    committed: Result<Committed<Replaced>, EngineError>,
    /// Files created for the commit that are still there.
    files: Vec<String>,
    /// How many of them no snapshot reaches.
    strays: usize,
}

impl Trial {
    async fn new() -> Self {
        let table = busy_table(FormatVersion::V2).await;
        Self {
            rows: table.read_now().await,
            table,
            supervisor: FakeSupervisor::default(),
        }
    }

    fn will(&self, fault: Fault) {
        self.table.catalog.will(fault);
    }

    /// Commits the rewrite of a partition.
    async fn commit(&self) -> End {
        let (base, group) = (
            planned(&self.table, BY_PART, true),
            rewrite(&self.table, 0, BY_PART, 1).await,
        );
        let committer = Committer {
            catalog: self.table.catalog.as_ref(),
            table: self.table.catalog.id(),
            supervisor: &self.supervisor,
        };
        let replace = Replace {
            rewrite: &base,
            groups: &[group],
            counted: &HashSet::new(),
            now: || Timestamp::from_micros(0),
        };
        let noted = Noted {
            proposal: &replace,
            files: std::sync::Mutex::default(),
        };
        let committed = committer.commit(&noted).await;
        let mut files = Vec::new();
        for path in noted.files.into_inner().unwrap() {
            if self.table.now().io.exists(&path).await.unwrap() {
                files.push(path);
            }
        }
        let reached = self.reached().await;
        let strays = files.iter().filter(|path| !reached.contains(*path)).count();
        End {
            committed,
            files,
            strays,
        }
    }

    /// Metadata files that snapshots reach.
    async fn reached(&self) -> HashSet<String> {
        let now = self.table.now();
        let mut reached = HashSet::new();
        for snapshot in now.metadata.snapshots() {
            reached.insert(snapshot.manifest_list().to_owned());
            let manifests = read_manifest_list(&now.io, &now.metadata, snapshot).await;
            reached.extend(manifests.unwrap().into_iter().map(|file| file.manifest_path));
        }
        reached
    }

    fn commits(&self) -> u64 {
        self.table.catalog.commits.load(Ordering::SeqCst)
    }

    /// Everything is committed and readable, and nothing else is left.
    async fn check_applied(&self, end: End) -> Committed<Replaced> {
        let committed = end.committed.unwrap();
        assert_eq!(committed.outcome.committed, [0]);
        assert!(committed.base.is_some());
        assert_eq!(self.table.read_now().await, self.rows);
        assert_eq!(end.strays, 0, "{:?}", end.files);
        committed
    }
}

#[tokio::test(start_paused = true)]
async fn an_unclear_answer_is_settled_by_reading_back() {
    let trial = Trial::new().await;
    trial.will(Fault::AppliedUnknown);
    let end = trial.commit().await;
    trial.check_applied(end).await;
    assert_eq!(trial.commits(), 1, "never tried again");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stays_unclear_fails_and_deletes_nothing() {
    let trial = Trial::new().await;
    trial.will(Fault::LostUnknown);
    let end = trial.commit().await;
    let failed = end.committed.unwrap_err();
    assert!(
        matches!(failed, EngineError::Unknown { .. }) && failed.is_transient(),
        "{failed}"
    );
    assert!(end.strays > 0 && end.strays == end.files.len());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_the_answer_to_a_request_sent_twice() {
    let trial = Trial::new().await;
    trial.will(Fault::AppliedConflict);
    let end = trial.commit().await;
    trial.check_applied(end).await;
    assert_eq!(trial.commits(), 1, "never tried again");
}

#[tokio::test(start_paused = true)]
async fn what_others_built_upon_and_expired_was_applied() {
    let trial = Trial::new().await;
    trial.will(Fault::AppliedConflict);
    // The load that proposes, and the one that follows the conflict.
    let table = trial.table.clone();
    table.catalog.before_load(std::future::ready(()));
    trial.table.catalog.before_load(async move {
        let ours = table.now().metadata.current_snapshot_id().unwrap();
        table.append(BY_PART, 1, vec![(999, 2)]).await;
        let snapshot_ids = vec![ours];
        table.update(vec![TableUpdate::RemoveSnapshots { snapshot_ids }]);
    });
    let end = trial.commit().await;
    assert_eq!(end.committed.unwrap().outcome.committed, [0]);
    let list = end.files.iter().any(|path| path.contains("snap-"));
    assert!(list, "nothing is deleted: {:?}", end.files);
    assert_eq!(trial.commits(), 1);
    assert_eq!(trial.table.read_now().await[&(999, 2)], 1);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_nobody_caused_is_tried_again() {
    let trial = Trial::new().await;
    trial.will(Fault::BareConflict);
    let end = trial.commit().await;
    let committed = trial.check_applied(end).await;
    assert_eq!((committed.conflicts, trial.commits()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_request_may_be_applied_long_after_its_conflict() {
    let trial = Trial::new().await;
    trial.will(Fault::LateConflict);
    let end = trial.commit().await;
    trial.check_applied(end).await;
}

#[tokio::test(start_paused = true)]
async fn conflicts_that_the_table_does_not_show_cost_no_file() {
    let trial = Trial::new().await;
    for _ in 0..5 {
        trial.will(Fault::BareConflict);
    }
    let end = trial.commit().await;
    let failed = end.committed.unwrap_err();
    assert!(matches!(failed, EngineError::Unknown { .. }), "{failed}");
    assert!(failed.is_transient() && end.strays == end.files.len() && end.strays > 0);
}

#[tokio::test(start_paused = true)]
async fn races_lost_to_the_end_are_contended_and_leave_nothing_behind() {
    let trial = Trial::new().await;
    for id in 0..5 {
        let other = trial.table.clone();
        trial.will(Fault::Meanwhile(Box::new(move || {
            Box::pin(async move {
                other.append(BY_PART, 2, vec![(900 + id, 0)]).await;
            })
        })));
    }
    let end = trial.commit().await;
    let failed = end.committed.unwrap_err();
    assert!(
        matches!(failed, EngineError::Contended { attempts: 5, .. }),
        "{failed}"
    );
    assert_eq!(end.files, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_lost_fence_leaves_nothing_behind() {
    let mut trial = Trial::new().await;
    trial.supervisor.revoke_at = Some(0);
    let end = trial.commit().await;
    assert!(matches!(
        end.committed,
        Err(EngineError::Stopped(ActionStop::Revoked))
    ));
    assert_eq!((trial.commits(), end.files.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_worker_still_looks_what_became_of_its_commit() {
    for (fault, is_applied) in [(Fault::AppliedConflict, true), (Fault::LostUnknown, false)] {
        let mut trial = Trial::new().await;
        trial.will(fault);
        trial.supervisor.cancelled_at = Some(Instant::now());
        let started = Instant::now();
        let end = trial.commit().await;
        assert!(started.elapsed() < Duration::from_secs(1), "it does not wait");
        match end.committed {
            Ok(committed) => assert!(is_applied && committed.outcome.committed == [0]),
            Err(error) => assert!(
                !is_applied && matches!(error, EngineError::Unknown { .. }),
                "{error}"
            ),
        }
        assert!(!end.files.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_outwaited_and_counts_as_no_lost_race() {
    for outage in [2, 30, 120] {
        let trial = Trial::new().await;
        trial.will(Fault::Outage(Duration::from_secs(outage)));
        let end = trial.commit().await;
        let committed = trial.check_applied(end).await;
        assert_eq!((committed.conflicts, trial.commits()), (0, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_does_not_pass_fails_for_now_and_leaves_nothing_behind() {
    let trial = Trial::new().await;
    trial.will(Fault::Outage(Duration::from_secs(3600)));
    let end = trial.commit().await;
    let failed = end.committed.unwrap_err();
    assert!(
        matches!(failed, EngineError::Catalog(_)) && failed.is_transient(),
        "{failed}"
    );
    assert_eq!(end.files, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_waited_for_beyond_the_deadline() {
    let mut trial = Trial::new().await;
    trial.will(Fault::Outage(Duration::from_secs(3600)));
    trial.supervisor = FakeSupervisor::with_time(Duration::from_secs(20));
    let started = Instant::now();
    let end = trial.commit().await;
    assert!(matches!(end.committed, Err(EngineError::Catalog(_))));
    assert!(started.elapsed() < Duration::from_secs(40));
}
