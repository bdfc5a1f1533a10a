//! The sweeper: once a minute, as a process that can end like any other.

use std::sync::Arc;
use std::time::Duration;

use snowpack_service::sweep;
use tokio::time::sleep;

use crate::faulty_store::FaultyStore;
use crate::process::Process;
use crate::queue::FaultyQueue;
use crate::world::World;

const PERIOD: Duration = Duration::from_secs(60);

pub(crate) async fn sweep_often(world: Arc<World>, number: u32) {
    let dice = world.dice.fork();
    sleep(dice.seconds(0..2)).await;
    for life in 0.. {
        let process = Process::start(&world, format!("sweeper-{number}.{life}"), &dice);
        let store = FaultyStore::of(&process);
        let queue = FaultyQueue(Arc::clone(&process));
        loop {
            sleep(PERIOD).await;
            let sweeping = sweep(&store, &queue, &queue, &process.clock);
            match process.run(sweeping, None).await {
                None => break,
                Some(Err(error)) => world.trace.note("sweep failed", || error.to_string()),
                Some(Ok(report)) => {
                    let count =
                        |event, times: u64| (0..times).for_each(|_| world.trace.note(event, String::new));
                    count("woken", report.sent);
                    count("given up", report.given_up);
                    count("dead letter", report.dead_letters);
                    count("lock freed", report.freed);
                }
            }
        }
    }
}
