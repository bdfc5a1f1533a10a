//! Another engine: its runs change a table by themselves, whatever becomes of the jobs they were started for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snowpack_domain::{Action, JobId, RemoteRun, TableId};
use snowpack_service::ports::{ActionStop, Clock as _, RemoteError, Supervisor};

use crate::config::{Fault, Sabotage};
use crate::process::Process;
use crate::table::Change;
use crate::world::World;

/// A run rewrites up to this many files.
const MOST_FILES: usize = 6;
const LOOK_AGAIN_SECONDS: u32 = 20;

/// Runs by their token, which stands for their id too.
#[derive(Debug, Default)]
pub(crate) struct Remote(Mutex<BTreeMap<String, State>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Going,
    Done,
    Stopped,
}

impl Remote {
    /// Whether the run is one that goes on from now on; `false` when it was started before.
    fn start(&self, token: &str) -> bool {
        let mut runs = self.0.lock().unwrap();
        let is_new = !runs.contains_key(token);
        runs.entry(token.to_owned()).or_insert(State::Going);
        is_new
    }

    fn state(&self, token: &str) -> State {
        self.0.lock().unwrap()[token]
    }

    /// Ends a run that goes on.
    fn end(&self, token: &str, state: State) -> bool {
        let mut runs = self.0.lock().unwrap();
        let run = runs.get_mut(token).expect("it was started");
        let goes_on = *run == State::Going;
        if goes_on {
            *run = state;
        }
        goes_on
    }
}

fn going_on(run: RemoteRun) -> ActionStop {
    ActionStop::Elsewhere {
        run,
        resume_after_seconds: LOOK_AGAIN_SECONDS,
    }
}

/// Starts the run of a job's action, or finds it.
pub(crate) async fn hand_over(
    process: &Arc<Process>,
    job: &JobId,
    table: &TableId,
    action: Action,
    supervisor: &impl Supervisor,
) -> ActionStop {
    if let Err(stop) = supervisor.checkpoint().await {
        return stop;
    }
    let world = &process.world;
    let token = format!("{job}-{action}");
    let is_new = world.remote.start(&token);
    world
        .trace
        .note(if is_new { "handed over" } else { "found again" }, || {
            token.clone()
        });
    if is_new {
        let time = process.dice.seconds(1..300);
        tokio::spawn(rewrite(Arc::clone(world), table.clone(), token.clone(), time));
    }
    process.point("after a run was started elsewhere").await;
    going_on(RemoteRun {
        action,
        id: token,
        started_at: process.clock.now(),
        predicted: Default::default(),
    })
}

/// Looks how a run is; `Ok` when it did the action.
pub(crate) async fn look(process: &Process, run: RemoteRun) -> Result<(), ActionStop> {
    process
        .pause("while a run is looked at", process.dice.millis(10..500))
        .await;
    let failed = |cause: &str, retry| ActionStop::Failed {
        cause: cause.to_owned(),
        retry,
    };
    if process.dice.happens(Fault::RemoteAway) {
        return Err(failed("the other engine is away", true));
    }
    match process.world.remote.state(&run.id) {
        State::Going => Err(going_on(run)),
        State::Done => Ok(()),
        State::Stopped => Err(failed("the run was stopped", false)),
    }
}

/// Tells a run to stop.
pub(crate) async fn abandon(process: &Process, run: &RemoteRun) -> Result<(), RemoteError> {
    process
        .pause("before a run is stopped", process.dice.millis(10..500))
        .await;
    let world = &process.world;
    if process.dice.happens(Fault::RemoteAway) || world.sabotaged(Sabotage::RemoteNeverStops) {
        return Err(RemoteError::Unavailable("the other engine is away".to_owned()));
    }
    world.remote.end(&run.id, State::Stopped);
    world.trace.note("run stopped", || run.id.clone());
    process.point("after a run was stopped").await;
    Ok(())
}

/// Reads some files, works for a while, and commits if they are all still live, as Iceberg validates it.
async fn rewrite(world: Arc<World>, table: TableId, token: String, time: Duration) {
    let (read, rows) = world.with_table(&table, |table| {
        let files: Vec<_> = table.live.iter().copied().take(MOST_FILES).collect();
        let rows: Vec<_> = files
            .iter()
            .filter_map(|file| table.read(*file))
            .flatten()
            .collect();
        (files, rows)
    });
    tokio::time::sleep(time).await;
    if !world.remote.end(&token, State::Done) {
        return;
    }
    let snapshot = world.next_snapshot();
    let planned = world.with_table(&table, |table| {
        let is_valid = !read.is_empty() && read.iter().all(|file| table.live.contains(file));
        is_valid.then(|| {
            let change = Change {
                snapshot,
                removed: read.iter().copied().collect(),
                added: [table.write(rows)].into(),
                ..Change::default()
            };
            (table.version, change)
        })
    });
    if let Some((base, change)) = planned {
        world.commit(&table, base, &change);
        world.trace.note("committed elsewhere", || token.clone());
    }
}
