//! Jobs whose action another engine does: followed, found again, stopped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snowpack_domain::{
    Action, ActionResult, Job, JobId, JobOptions, JobStatus, LEASE_SECONDS, Pair, RemoteRun, TableId,
    check_pair,
};
use snowpack_service::ports::{ActionStop, Engine, JobStore, Provenance, RemoteError, Supervisor};
use snowpack_service::{Failure, Handled, Limits, Worker, cancel};
use snowpack_telemetry::Capture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::support::{TestClock, TestQueue, World, world};

const ONE: [Action; 1] = [Action::RewriteDataFiles];
const LOOK_AGAIN_SECONDS: u32 = 40;
/// Above the time after which a sweep takes a message for lost.
const LOST_SECONDS: i64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Going,
    Done,
    Failed,
}

/// The other engine: runs by their token, which stands for their id too.
#[derive(Debug, Default)]
struct Remote {
    runs: BTreeMap<String, State>,
    stopped: Vec<String>,
    is_unreachable: bool,
    /// Workers stand still between the start of a run and noting it until told to go on.
    holds_starters: bool,
}

/// Hands everything over.
#[derive(Clone, Debug, Default)]
struct RemoteEngine {
    remote: Arc<Mutex<Remote>>,
    go_on: Arc<Notify>,
}

impl RemoteEngine {
    fn set(&self, state: State) {
        for run in self.remote.lock().unwrap().runs.values_mut() {
            *run = state;
        }
    }

    fn runs(&self) -> usize {
        self.remote.lock().unwrap().runs.len()
    }

    fn stopped(&self) -> Vec<String> {
        self.remote.lock().unwrap().stopped.clone()
    }

    fn reach(&self) -> Result<std::sync::MutexGuard<'_, Remote>, RemoteError> {
        let remote = self.remote.lock().unwrap();
        if remote.is_unreachable {
            return Err(RemoteError::Unavailable("throttled".into()));
        }
        Ok(remote)
    }
}

fn elsewhere(run: RemoteRun) -> ActionStop {
    ActionStop::Elsewhere {
        run,
        resume_after_seconds: LOOK_AGAIN_SECONDS,
    }
}

fn failed(cause: &str, retry: bool) -> ActionStop {
    let cause = cause.to_owned();
    ActionStop::Failed { cause, retry }
}

impl Engine for RemoteEngine {
    async fn preflight(&self, _: &TableId, _: &[Action], _: &JobOptions) -> Result<(), ActionStop> {
        Ok(())
    }

    async fn run<S: Supervisor>(
        &self,
        _: &TableId,
        action: Action,
        _: &JobOptions,
        provenance: &Provenance,
        supervisor: Arc<S>,
    ) -> Result<ActionResult, ActionStop> {
        if let Some(run) = supervisor.remote_run(action) {
            let state = self
                .reach()
                .map_err(|error| failed(&error.to_string(), true))?
                .runs[&run.id];
            return match state {
                State::Going => Err(elsewhere(run)),
                State::Failed => Err(failed("the run failed", false)),
                State::Done => Ok(snowpack_domain::dry_run_result(action, None)),
            };
        }
        supervisor.checkpoint().await?;
        let id = format!("{}-{action}", provenance.job.as_ref().unwrap());
        let holds = {
            let mut remote = self.remote.lock().unwrap();
            remote.runs.entry(id.clone()).or_insert(State::Going);
            remote.holds_starters
        };
        if holds {
            self.go_on.notified().await;
        }
        Err(elsewhere(RemoteRun {
            action,
            id,
            started_at: snowpack_domain::Timestamp::from_micros(5),
            predicted: Default::default(),
        }))
    }

    async fn abandon(&self, run: &RemoteRun) -> Result<(), RemoteError> {
        self.reach()?.stopped.push(run.id.clone());
        Ok(())
    }
}

struct Scene {
    capture: Capture,
    world: World,
    engine: RemoteEngine,
    worker: Worker<snowpack_embedded::SqliteStore, TestQueue, RemoteEngine, TestClock>,
}

fn scene() -> Scene {
    let world = world();
    let engine = RemoteEngine::default();
    let limits = Limits {
        heartbeat: Duration::from_millis(20),
        reserve: Duration::ZERO,
    };
    let worker = Worker::new(
        Arc::clone(&world.store),
        Arc::clone(&world.queue),
        engine.clone(),
        world.clock.clone(),
        "w1".into(),
        limits,
    );
    Scene {
        capture: Capture::start(),
        world,
        engine,
        worker,
    }
}

impl Scene {
    async fn try_handle(&self, id: &JobId) -> Result<Handled, Failure> {
        self.worker.handle(id, None, CancellationToken::new()).await
    }

    async fn handle(&self, id: &JobId) -> Handled {
        self.try_handle(id).await.unwrap()
    }

    /// A job whose run goes on.
    async fn handed_over(&self, actions: &[Action]) -> Job {
        let job = self.world.submit(actions).await.unwrap();
        assert_eq!(self.handle(&job.id).await, Handled::Yielded);
        self.world.job(&job.id).await
    }

    async fn checked(&self, id: &JobId) -> Job {
        let job = self.world.job(id).await;
        let lock = self.world.store.lock(&job.table).await.unwrap().value;
        check_pair(&Pair {
            job: job.clone(),
            lock,
        })
        .unwrap();
        self.capture.check().unwrap();
        job
    }

    fn last_delay(&self) -> u32 {
        self.world.queue.sent.lock().unwrap().last().unwrap().1
    }

    /// Waits until a worker has started a run and not noted it.
    async fn started(&self) {
        while self.engine.runs() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn a_run_is_looked_at_until_it_ends_and_costs_one_attempt() {
    let scene = scene();
    let both = [Action::RewriteDataFiles, Action::ExpireSnapshots];
    let job = scene.handed_over(&both).await;
    assert_eq!(job.remote_run.as_ref().unwrap().action, both[0]);
    assert_eq!((job.status, job.lease.as_ref()), (JobStatus::Running, None));
    assert_eq!(scene.last_delay(), LOOK_AGAIN_SECONDS);
    for _ in 0..5 {
        assert_eq!(scene.handle(&job.id).await, Handled::Yielded);
    }
    assert_eq!(scene.engine.runs(), 1);
    scene.engine.set(State::Done);
    assert_eq!(
        scene.handle(&job.id).await,
        Handled::Yielded,
        "the next action has a run of its own"
    );
    let next = scene.checked(&job.id).await;
    assert_eq!(
        (next.results.len(), next.remote_run.unwrap().action),
        (1, both[1])
    );
    scene.engine.set(State::Done);
    assert_eq!(scene.handle(&job.id).await, Handled::Finished);
    let done = scene.checked(&job.id).await;
    assert_eq!(
        (done.status, done.results.len(), done.attempt),
        (JobStatus::Completed, 2, 1)
    );
    assert_eq!((done.remote_run, scene.engine.stopped().len()), (None, 0));
}

#[tokio::test]
async fn a_worker_that_dies_before_it_notes_its_run_leaves_it_to_the_next() {
    let scene = scene();
    let job = scene.world.submit(&ONE).await.unwrap();
    scene.engine.remote.lock().unwrap().holds_starters = true;
    tokio::select! {
        ended = scene.handle(&job.id) => panic!("the job ended: {ended:?}"),
        () = scene.started() => {}
    }
    assert_eq!(scene.world.job(&job.id).await.remote_run, None);
    scene.engine.remote.lock().unwrap().holds_starters = false;
    scene.world.clock.advance(LEASE_SECONDS + 1);
    assert_eq!(scene.world.sweep().await.sent, 1);
    assert_eq!(scene.handle(&job.id).await, Handled::Yielded);
    assert_eq!(scene.engine.runs(), 1, "found, not started again");
    scene.engine.set(State::Done);
    assert_eq!(scene.handle(&job.id).await, Handled::Finished);
    assert_eq!(scene.checked(&job.id).await.status, JobStatus::Completed);
}

#[tokio::test]
async fn a_cancel_frees_the_table_at_once_and_the_next_message_stops_the_run() {
    let scene = scene();
    let job = scene.handed_over(&ONE).await;
    let run = job.remote_run.unwrap().id;
    cancel(&*scene.world.store, &scene.world.clock, &job.id)
        .await
        .unwrap()
        .unwrap();
    scene.world.submit(&ONE).await.expect("the table is free at once");
    assert!(scene.engine.stopped().is_empty());
    assert_eq!(scene.handle(&job.id).await, Handled::Ignored);
    assert_eq!(scene.engine.stopped(), [run]);
    let ended = scene.world.job(&job.id).await;
    assert_eq!((ended.status, ended.remote_run), (JobStatus::Cancelled, None));
    assert_eq!(scene.handle(&job.id).await, Handled::Ignored);
    assert_eq!(scene.engine.stopped().len(), 1, "told once");
}

#[tokio::test]
async fn a_run_is_stopped_though_the_message_is_lost_and_the_engine_away() {
    let scene = scene();
    let job = scene.handed_over(&ONE).await;
    cancel(&*scene.world.store, &scene.world.clock, &job.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(scene.world.sweep().await.sent, 0, "its message is under way");
    for _ in 0..2 {
        scene.world.clock.advance(LOST_SECONDS);
        assert_eq!(scene.world.sweep().await.sent, 1);
        scene.engine.remote.lock().unwrap().is_unreachable = true;
        scene.try_handle(&job.id).await.unwrap_err();
        assert!(scene.world.job(&job.id).await.remote_run.is_some());
    }
    scene.engine.remote.lock().unwrap().is_unreachable = false;
    assert_eq!(scene.handle(&job.id).await, Handled::Ignored);
    assert_eq!(scene.engine.stopped().len(), 1);
    scene.world.clock.advance(LOST_SECONDS);
    assert_eq!(scene.world.sweep().await.sent, 0, "nothing is left to see to");
}

#[tokio::test]
async fn a_job_cancelled_while_its_run_starts_stops_it_before_anyone_noted_it() {
    let scene = scene();
    let job = scene.world.submit(&ONE).await.unwrap();
    scene.engine.remote.lock().unwrap().holds_starters = true;
    let cancelling = async {
        scene.started().await;
        cancel(&*scene.world.store, &scene.world.clock, &job.id)
            .await
            .unwrap()
            .unwrap();
        scene.engine.go_on.notify_one();
    };
    let (handled, ()) = tokio::join!(scene.handle(&job.id), cancelling);
    assert_eq!((handled, scene.engine.stopped().len()), (Handled::Revoked, 1));
    assert_eq!(scene.world.job(&job.id).await.remote_run, None);
}

#[tokio::test]
async fn a_worker_overtaken_while_its_run_starts_leaves_it_to_the_other() {
    let scene = scene();
    let job = scene.world.submit(&ONE).await.unwrap();
    scene.engine.remote.lock().unwrap().holds_starters = true;
    let overtaking = async {
        scene.started().await;
        scene.engine.remote.lock().unwrap().holds_starters = false;
        scene.world.clock.advance(LEASE_SECONDS + 1);
        // The first worker's heartbeat may come first; then the lease is valid again.
        let other = scene.handle(&job.id).await;
        scene.engine.go_on.notify_one();
        other
    };
    let (handled, other) = tokio::join!(scene.handle(&job.id), overtaking);
    assert!(
        matches!(
            (handled, other),
            (Handled::Revoked, Handled::Yielded) | (Handled::Yielded, Handled::Ignored)
        ),
        "{handled:?} {other:?}"
    );
    assert_eq!((scene.engine.runs(), scene.engine.stopped().len()), (1, 0));
    assert!(scene.checked(&job.id).await.remote_run.is_some());
}

#[tokio::test]
async fn a_failed_run_fails_the_job_and_is_forgotten() {
    let scene = scene();
    let job = scene.handed_over(&ONE).await;
    scene.engine.set(State::Failed);
    assert_eq!(scene.handle(&job.id).await, Handled::Finished);
    let failed = scene.checked(&job.id).await;
    assert_eq!(
        (failed.status, failed.error.as_deref()),
        (JobStatus::Failed, Some("the run failed"))
    );
    assert_eq!(failed.remote_run, None);
}

#[tokio::test]
async fn looks_in_vain_cost_attempts_and_the_last_one_stops_the_run() {
    let scene = scene();
    let job = scene.handed_over(&ONE).await;
    scene.engine.remote.lock().unwrap().is_unreachable = true;
    assert_eq!(scene.handle(&job.id).await, Handled::Yielded);
    assert_eq!(scene.handle(&job.id).await, Handled::Yielded);
    assert!(scene.world.job(&job.id).await.remote_run.is_some());
    scene.try_handle(&job.id).await.unwrap_err();
    let failed = scene.checked(&job.id).await;
    assert_eq!(failed.status, JobStatus::Failed);
    assert!(failed.error.unwrap().contains("throttled"));
    scene.engine.remote.lock().unwrap().is_unreachable = false;
    assert_eq!(
        scene.handle(&job.id).await,
        Handled::Ignored,
        "the message comes again"
    );
    assert_eq!(scene.engine.stopped().len(), 1);
}
