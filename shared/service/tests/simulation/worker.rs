//! Workers: take a message, handle it, acknowledge it; and start again as a new process after each end.

use std::sync::Arc;
use std::time::Duration;

use snowpack_service::{Limits, Worker, abandon_leases};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::Fault;
use crate::engine::SimulatedEngine;
use crate::faulty_store::FaultyStore;
use crate::process::Process;
use crate::queue::FaultyQueue;
use crate::time::SkewedClock;
use crate::world::World;

/// The part of a slice kept for the last commit.
const RESERVE: Duration = Duration::from_secs(15);
/// How long a server's message stays hidden; a function's stays a little longer than its slice.
const SERVER_VISIBILITY: Duration = Duration::from_secs(300);

type SimulatedWorker = Worker<FaultyStore, FaultyQueue, SimulatedEngine, SkewedClock>;

pub(crate) async fn work(world: Arc<World>, number: u32) {
    let dice = world.dice.fork();
    for life in 0.. {
        let process = Process::start(&world, format!("worker-{number}.{life}"), &dice);
        // Where there is one process for all work, nobody else can hold a lease.
        let alone = world.config.workers == 1 && world.config.slice_seconds.is_none();
        let store = FaultyStore::of(&process);
        if alone && life > 0 {
            let abandon = async { abandon_leases(&store, &process.clock).await };
            if process
                .run(abandon, None)
                .await
                .is_some_and(|abandoned| abandoned.is_ok())
            {
                world.trace.note("leases abandoned", || process.name.clone());
            }
        }
        live(&world, &process).await;
        sleep(dice.seconds(1..40)).await;
    }
}

/// Handles messages until the process ends.
async fn live(world: &Arc<World>, process: &Arc<Process>) {
    let limits = Limits {
        reserve: RESERVE,
        ..Limits::default()
    };
    let worker: SimulatedWorker = Worker::new(
        Arc::new(FaultyStore::of(process)),
        Arc::new(FaultyQueue(Arc::clone(process))),
        SimulatedEngine(Arc::clone(process)),
        process.clock.clone(),
        process.name.clone(),
        limits,
    );
    let slice = world.config.slice_seconds.map(Duration::from_secs);
    let visibility = slice.map_or(SERVER_VISIBILITY, |slice| slice + Duration::from_secs(60));
    loop {
        let Some((job, receipt)) = world.queue.receive(visibility, &process.dice) else {
            sleep(process.dice.seconds(2..8)).await;
            continue;
        };
        let started = Instant::now();
        let work = worker.handle(&job, slice, shutdown(process));
        let handled = process.run(work, slice).await;
        world.checks.worker_stopped(process, &job, started);
        world
            .trace
            .note(outcome(&handled), || format!("{job} by {}", process.name));
        match handled {
            None => return,
            Some(Ok(_)) if process.dice.happens(Fault::AckLost) => {}
            Some(Ok(_)) => world.queue.ack(&receipt),
            Some(Err(_)) if process.dice.chance(0.5) => world.queue.give_back(&receipt),
            Some(Err(_)) => {}
        }
    }
}

fn outcome(handled: &Option<Result<snowpack_service::Handled, snowpack_service::Failure>>) -> &'static str {
    use snowpack_service::Handled::{Finished, Ignored, Revoked, Yielded};
    match handled {
        None => "worker died",
        Some(Ok(Finished)) => "finished",
        Some(Ok(Yielded)) => "yielded",
        Some(Ok(Revoked)) => "revoked",
        Some(Ok(Ignored)) => "ignored",
        Some(Err(_)) => "could not be handled",
    }
}

/// A token that by chance ends the work in a while.
fn shutdown(process: &Process) -> CancellationToken {
    let token = CancellationToken::new();
    if process.dice.happens(Fault::ShutDown) {
        let (token, time) = (token.clone(), process.dice.seconds(1..60));
        tokio::spawn(async move {
            sleep(time).await;
            token.cancel();
        });
    }
    token
}
