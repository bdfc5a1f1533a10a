//! The whole system under faults, in virtual time: real use cases over a store, a queue, an engine and clocks
//! that misbehave as a seed says.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod checks;
mod config;
mod dice;
mod engine;
mod faulty_store;
mod memory_store;
mod people;
mod process;
mod queue;
mod supervisor;
mod sweeper;
mod table;
mod time;
mod trace;
mod worker;
mod world;

use config::Config;

#[tokio::test]
async fn the_naive_store_keeps_the_contract() {
    snowpack_testkit::job_store_contract(async || memory_store::MemoryStore::default()).await;
}

#[test]
fn first() {
    let start = std::time::Instant::now();
    let from: u64 = std::env::var("FROM").map_or(0, |t| t.parse().unwrap());
    let count: u64 = std::env::var("COUNT").map_or(300, |t| t.parse().unwrap());
    let mut counts = std::collections::BTreeMap::new();
    for seed in from..from+count {
        let outcome = world::run(&Config::of(seed), count == 1);
        if outcome.violation.is_some() {
            println!("{seed} {:.500}", format!("{:?}", outcome.violation));
        }
        for (e, n) in outcome.counts { *counts.entry(e).or_insert(0) += n; }
        if count == 1 { println!("{:?}", Config::of(seed)); for l in outcome.trace { println!("{l}"); } }
    }
    println!("{:?} {counts:?}", start.elapsed());
}
