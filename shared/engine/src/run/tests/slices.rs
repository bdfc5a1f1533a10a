//! One action of a job in several slices and attempts: its result tells of all of them.

use snowpack_domain::JobId;

use super::*;

impl Fixture {
    /// Runs an action for a job, of data files one group after the other.
    async fn run_for(
        &self,
        job: u128,
        action: Action,
        partial_progress: bool,
        supervisor: FakeSupervisor,
    ) -> Result<ActionResult, ActionStop> {
        let mut options = JobOptions::default();
        for (name, value) in [
            ("max-concurrent-file-group-rewrites", OptionValue::Int(1)),
            ("partial-progress.enabled", OptionValue::Bool(partial_progress)),
        ] {
            options.set(Action::RewriteDataFiles, name, value).unwrap();
        }
        let provenance = Provenance {
            job: Some(JobId::from_u128(job)),
            fence: 7,
        };
        let table = self.table.catalog.id();
        self.engine
            .run(table, action, &options, &provenance, Arc::new(supervisor))
            .await
    }

    async fn rewrite_for(&self, job: u128, supervisor: FakeSupervisor) -> Result<ActionResult, ActionStop> {
        self.run_for(job, Action::RewriteDataFiles, true, supervisor)
            .await
    }

    /// Runs slices of one file group each until the action ends. How many it took, and its result.
    async fn in_slices(&self, job: u128) -> (usize, ActionResult) {
        for slices in 1..10 {
            let slice = FakeSupervisor {
                groups_in_time: Some(1),
                ..FakeSupervisor::default()
            };
            match self.rewrite_for(job, slice).await {
                Ok(result) => return (slices, result),
                Err(ActionStop::OutOfTime) => {}
                Err(stop) => panic!("{stop:?}"),
            }
        }
        panic!("the action does not end")
    }
}

/// The counts of a result but those of skipped files, which are what the last plan left alone.
fn counts(result: &ActionResult) -> BTreeMap<&str, Metric> {
    let metrics = result.metrics.iter();
    let counts = metrics.filter(|(name, _)| !name.starts_with("skipped."));
    counts.map(|(name, metric)| (name.as_str(), *metric)).collect()
}

#[tokio::test]
async fn slices_add_up_to_what_one_run_does() {
    for version in [FormatVersion::V1, FormatVersion::V2] {
        let (at_once, sliced) = (Fixture::new(version).await, Fixture::new(version).await);
        let whole = at_once.rewrite_for(1, FakeSupervisor::default()).await.unwrap();
        let (slices, result) = sliced.in_slices(1).await;
        assert_eq!(slices, 3);
        assert_eq!(result.outcome, Ok("Compacted 15 files into 3 files".to_owned()));
        assert_eq!(result.metrics["rows_in"], Metric::Count(150));
        assert_eq!(counts(&result), counts(&whole));
        for result in [&whole, &result] {
            for name in ["files_in", "files_out", "bytes_in", "rows_in", "file_groups"] {
                assert_eq!(
                    result.metrics[name],
                    Metric::Count(result.predicted[name]),
                    "{name}"
                );
            }
        }
    }
}

#[tokio::test]
async fn every_action_that_plans_says_what_it_expected() {
    let fixture = Fixture::new(FormatVersion::V2).await;
    fixture.rewrite_for(1, FakeSupervisor::default()).await.unwrap();
    for (action, name) in [
        (Action::RewriteManifests, "manifests_in"),
        (Action::ExpireSnapshots, "snapshots"),
        (Action::RewritePositionDeleteFiles, "files_in"),
    ] {
        let done = fixture.run_for(1, action, true, FakeSupervisor::default()).await;
        let done = done.unwrap();
        assert_eq!(
            done.metrics[name],
            Metric::Count(done.predicted[name]),
            "{action}"
        );
    }
    let orphans = fixture
        .run_for(1, Action::RemoveOrphanFiles, true, FakeSupervisor::default())
        .await;
    assert!(orphans.unwrap().predicted.is_empty(), "only a listing can tell");
}

#[tokio::test]
async fn what_was_committed_before_a_death_is_told_by_the_next_attempt() {
    for partial_progress in [true, false] {
        let fixture = Fixture::new(FormatVersion::V2).await;
        let rewrite = |supervisor| fixture.run_for(1, Action::RewriteDataFiles, partial_progress, supervisor);
        let dying = FakeSupervisor {
            dies_at: Some(points::AFTER_COMMIT),
            ..FakeSupervisor::default()
        };
        rewrite(dying).await.unwrap_err();
        let result = rewrite(FakeSupervisor::default()).await.unwrap();
        assert_eq!(result.outcome, Ok("Compacted 15 files into 3 files".to_owned()));
        assert_eq!(result.metrics["rows_out"], Metric::Count(150));
        let commits = if partial_progress { 3 } else { 1 };
        assert_eq!(result.metrics["commits"], Metric::Count(commits));
        let again = rewrite(FakeSupervisor::default()).await.unwrap();
        assert_eq!(
            counts(&again),
            counts(&result),
            "whoever asks again hears the same"
        );
    }
}

#[tokio::test]
async fn what_a_rewrite_of_manifests_did_before_a_death_is_told_by_the_next_attempt() {
    let (fixture, whole) = (
        Fixture::new(FormatVersion::V2).await,
        Fixture::new(FormatVersion::V2).await,
    );
    let rewrite = |fixture: Fixture, job, supervisor| async move {
        let result = fixture
            .run_for(job, Action::RewriteManifests, true, supervisor)
            .await;
        (fixture, result)
    };
    let (_, whole) = rewrite(whole, 1, FakeSupervisor::default()).await;
    let whole = whole.unwrap();
    let dying = FakeSupervisor {
        dies_at: Some(points::AFTER_COMMIT),
        ..FakeSupervisor::default()
    };
    let (fixture, died) = rewrite(fixture, 1, dying).await;
    died.unwrap_err();
    let (fixture, told) = rewrite(fixture, 1, FakeSupervisor::default()).await;
    let told = told.unwrap();
    assert_eq!(told.outcome, whole.outcome);
    assert_eq!(
        (counts(&told), &told.predicted),
        (counts(&whole), &whole.predicted)
    );
    let (_, other_job) = rewrite(fixture, 2, FakeSupervisor::default()).await;
    let message = other_job.unwrap().outcome.unwrap();
    assert!(message.starts_with("Nothing to do"), "{message}");
}

#[tokio::test]
async fn other_jobs_and_other_actions_do_not_add_up() {
    let fixture = Fixture::new(FormatVersion::V2).await;
    fixture.rewrite_for(1, FakeSupervisor::default()).await.unwrap();
    let other_job = fixture.rewrite_for(2, FakeSupervisor::default()).await;
    let no_job = fixture.rewrite(FakeSupervisor::default()).await;
    let action = Action::RewritePositionDeleteFiles;
    let other_action = fixture.run_for(1, action, true, FakeSupervisor::default()).await;
    for result in [other_job, no_job, other_action].map(Result::unwrap) {
        assert_eq!(result.metrics["files_in"], Metric::Count(0));
        let message = result.outcome.unwrap();
        assert!(message.starts_with("Nothing to do"), "{message}");
    }
}
