//! Runs an action in a world, with options by chance, and judges how it ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use iceberg::spec::FormatVersion;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use snowpack_domain::{Action, ActionResult, JobOptions, Metric, OptionValue, Timestamp};
use snowpack_engine::MaintenanceEngine;
use snowpack_service::ports::{ActionStop, Engine, Provenance};

use crate::catalog::{Process, table_id};
use crate::world::{CUTOFF, World, lock};

/// Runs after which nothing may be left to do: small groups are packed in several rounds.
const MOST_RUNS: u64 = 10;

use Action::{
    ExpireSnapshots, RemoveOrphanFiles, RewriteDataFiles, RewriteManifests, RewritePositionDeleteFiles,
};

/// An action with its options.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) action: Action,
    pub(crate) options: JobOptions,
}

impl Job {
    /// A job by chance; rewrites more often, which have most to lose.
    pub(crate) fn random(rng: &mut StdRng, version: FormatVersion) -> Self {
        let mut actions = vec![
            RewriteDataFiles,
            RewriteDataFiles,
            RewriteDataFiles,
            RewriteManifests,
            ExpireSnapshots,
            RemoveOrphanFiles,
        ];
        if version != FormatVersion::V1 {
            actions.extend([RewritePositionDeleteFiles; 2]);
        }
        let action = *actions.choose(rng).expect("it has elements");
        Self::of(action, rng)
    }

    pub(crate) fn of(action: Action, rng: &mut StdRng) -> Self {
        let mut job = Self {
            action,
            options: JobOptions::default(),
        };
        match action {
            RewriteDataFiles => job.rewrite(rng),
            RewritePositionDeleteFiles => job.sizes(rng),
            ExpireSnapshots => {
                let far_away = Timestamp::from_micros(i64::MAX / 2);
                job.set("older_than", OptionValue::Time(far_away));
                job.set("retain_last", OptionValue::Int(rng.random_range(1..4)));
                job.set("clean_expired_metadata", OptionValue::Bool(rng.random_bool(0.3)));
            }
            RemoveOrphanFiles => {
                job.set("older_than", OptionValue::Time(CUTOFF));
                job.set("max_orphan_ratio", OptionValue::Float(1.0));
            }
            RewriteManifests => {}
        }
        job
    }

    fn set(&mut self, name: &str, value: OptionValue) {
        self.options.set(self.action, name, value).unwrap();
    }

    /// Whether it finds something to do every time.
    pub(crate) fn rewrites_all(&self) -> bool {
        self.options.get(self.action, "rewrite-all") == Some(&OptionValue::Bool(true))
    }

    fn sizes(&mut self, rng: &mut StdRng) {
        self.set("min-input-files", OptionValue::Int(rng.random_range(1..4)));
        self.set("rewrite-all", OptionValue::Bool(rng.random_bool(0.5)));
        self.set(
            "partial-progress.enabled",
            OptionValue::Bool(rng.random_bool(0.6)),
        );
        self.set(
            "partial-progress.max-commits",
            OptionValue::Int(rng.random_range(1..5)),
        );
        self.set(
            "max-concurrent-file-group-rewrites",
            OptionValue::Int(rng.random_range(1..4)),
        );
        if rng.random_bool(0.2) {
            self.set("verify", OptionValue::Text("content".to_owned()));
        }
        if rng.random_bool(0.4) {
            // A few tiny files make a group: several groups in each partition.
            self.set("max-file-group-size-bytes", OptionValue::Int(3000));
        }
    }

    fn rewrite(&mut self, rng: &mut StdRng) {
        self.sizes(rng);
        self.set("delete-file-threshold", OptionValue::Int(1));
        self.set(
            "use-starting-sequence-number",
            OptionValue::Bool(rng.random_bool(0.75)),
        );
        self.set("remove-dangling-deletes", OptionValue::Bool(rng.random_bool(0.5)));
        if rng.random_bool(0.2) {
            self.set("output-spec-id", OptionValue::Int(rng.random_range(0..2)));
        }
        if rng.random_bool(0.25) {
            self.set("strategy", OptionValue::Text("sort".to_owned()));
            self.set("sort_order", OptionValue::Text("key desc, id".to_owned()));
        }
    }

    /// Runs the job in a process of its own. `None` when that process died on the way.
    ///
    /// # Panics
    /// It failed for a reason that other writers and a moody catalog do not explain, or its result is wrong.
    pub(crate) async fn run(&self, world: &Arc<World>, fence: u64) -> Option<ActionResult> {
        let process = Process::start(world);
        let ended = tokio::select! {
            biased;
            () = world.crashed.notified() => return None,
            ended = self.run_as(&process, fence) => ended,
        };
        self.judge(&process, ended)
    }

    /// Runs the job whatever the table is like.
    ///
    /// # Errors
    /// What the action said.
    pub(crate) async fn try_run(&self, world: &Arc<World>) -> Result<(), String> {
        match self.run_as(&Process::start(world), 1).await {
            Ok(_) => Ok(()),
            Err(ActionStop::Failed { cause, .. }) => Err(cause),
            Err(other) => panic!("nobody stopped the action: {other:?}"),
        }
    }

    async fn run_as(&self, process: &Process, fence: u64) -> Result<ActionResult, ActionStop> {
        let (catalog, clock) = (Arc::new(process.clone()), process.clone());
        let engine = MaintenanceEngine::new(catalog, clock, HashMap::new());
        let (table, provenance) = (table_id(), Provenance { job: None, fence });
        let supervisor = Arc::new(process.clone());
        let ended = engine
            .run(&table, self.action, &self.options, &provenance, supervisor)
            .await;
        process.arrive();
        ended
    }

    fn judge(&self, process: &Process, ended: Result<ActionResult, ActionStop>) -> Option<ActionResult> {
        let result = match ended {
            Ok(result) => result,
            Err(ActionStop::Failed { cause, retry: true }) => {
                let explained = ["gave up after", "it is unknown whether", "not available"];
                assert!(explained.iter().any(|part| cause.contains(part)), "{cause}");
                return None;
            }
            Err(other) => panic!("{:?} ended with {other:?}", self.action),
        };
        let count = |name: &str| match result.metrics.get(name) {
            Some(Metric::Count(count)) => *count,
            _ => 0,
        };
        if [RewriteDataFiles, RewritePositionDeleteFiles].contains(&self.action) {
            let applied = process.applied.load(SeqCst);
            assert_eq!(count("commits"), applied, "commits reported: {result:?}");
            let message = result.outcome.clone().unwrap();
            let says_so = message.contains("that other writers changed meanwhile");
            let lost = count("skipped.conflict") > 0;
            assert_eq!(says_so, lost, "losers reported: {result:?}");
            assert!(lost || count("file_groups_failed") == 0, "{result:?}");
        }
        Some(result)
    }
}

/// Runs a job under a schedule to its end, in quiet when the schedule ended it, and checks everything.
pub(crate) async fn play(world: &Arc<World>, job: &Job) {
    let ended = job.run(world, 1).await;
    lock(&world.scheduler).quiet = true;
    if ended.is_none() {
        job.run(world, 2).await.expect("nothing disturbs the second run");
    }
    world.check_kept();
}

/// Runs a job until it finds nothing to do.
///
/// # Panics
/// It goes on and on.
pub(crate) async fn converge(world: &Arc<World>, job: &Job) {
    let mut fence = 10;
    loop {
        let result = job.run(world, fence).await.expect("nothing disturbs it");
        let message = result.outcome.expect("it succeeded");
        if message.starts_with("Nothing to do") {
            return world.check_kept();
        }
        fence += 1;
        assert!(fence < 10 + MOST_RUNS, "it goes on for ever: {message}");
    }
}
