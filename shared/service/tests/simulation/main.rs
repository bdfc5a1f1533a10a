//! The whole system under faults, in virtual time: real use cases over a store, a queue, an engine and clocks
//! that misbehave as a seed says. A failure prints its seed, a shrunk run and that run's trace.
//!
//! `SNOWPACK_SIMULATION_SEEDS` runs that many seeds, `SNOWPACK_SIMULATION_SEED` exactly one.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod cases;
mod checks;
mod config;
mod dice;
mod engine;
mod faulty_store;
mod memory_store;
mod no_health;
mod people;
mod process;
mod queue;
mod remote;
mod shrink;
mod supervisor;
mod sweeper;
mod table;
mod time;
mod trace;
mod worker;
mod world;

use std::collections::BTreeMap;
use std::env;
use std::ops::Range;
use std::thread;

use config::{Config, Sabotage};
use world::{Outcome, run};

/// Seeds of an ordinary run: what two cores do in about a minute without optimisation.
const SEEDS: u64 = 2400;
const THREADS: u64 = 2;
/// Seeds that are run twice to see that they do the same.
const REPEATED: Range<u64> = 0..20;
/// A sabotaged port is noticed within this many seeds.
const SABOTAGED: u64 = 200;

/// What all seeds together must have met at least once, so that passing means something.
const MET: [&str; 41] = [
    "accepted",
    "answer lost",
    "applied late",
    "cancel",
    "commit unknown",
    "committed after the fence was lost",
    "could not be handled",
    "dead letter",
    "deleted after the fence was lost",
    "drain",
    "ended by its platform",
    "finished",
    "foreign write",
    "given up",
    "ignored",
    "killed",
    "leases abandoned",
    "message lost",
    "message sent",
    "outage",
    "queue fails",
    "refused",
    "revoked",
    "sent twice",
    "settled",
    "slow",
    "stalled",
    "submit died",
    "submit failed",
    "sweep failed",
    "throttled",
    "unreadable",
    "woken",
    "worker died",
    "yielded",
    "action",
    "action stopped",
    "handed over",
    "found again",
    "committed elsewhere",
    "run stopped",
];

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().expect("it is a number"))
}

/// Runs a world that has to keep every promise.
fn must_pass(name: &str, config: &Config) -> Outcome {
    let outcome = run(config, false);
    if let Some(violation) = &outcome.violation {
        let smallest = shrink::shrink(config, violation.invariant);
        let again = run(&smallest, true);
        panic!(
            "{name} breaks {}: {}\nrun again with SNOWPACK_SIMULATION_SEED={}\nshrunk to {smallest:?}\n\
             where {:?}\n{}",
            violation.invariant,
            violation.seen,
            config.seed,
            again.violation,
            again.trace.join("\n")
        );
    }
    outcome
}

#[test]
fn every_promise_is_kept_under_faults() {
    for (name, config) in cases::cases() {
        must_pass(name, &config);
    }
    if let Some(seed) = number("SNOWPACK_SIMULATION_SEED") {
        must_pass("the seed", &Config::of(seed));
        return;
    }
    let seeds = number("SNOWPACK_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let share = |thread: u64| {
        let mut met = BTreeMap::<&str, u64>::new();
        for seed in (thread..seeds).step_by(usize::try_from(THREADS).unwrap()) {
            for (event, times) in must_pass(&format!("seed {seed}"), &Config::of(seed)).counts {
                *met.entry(event).or_default() += times;
            }
        }
        met
    };
    let met: Vec<BTreeMap<&str, u64>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || share(thread)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let missed: Vec<_> = MET
        .iter()
        .filter(|event| !met.iter().any(|met| met.contains_key(*event)))
        .collect();
    assert!(
        missed.is_empty() || seeds < SEEDS,
        "never met in {seeds} seeds: {missed:?}"
    );
}

#[test]
fn a_seed_always_does_the_same() {
    for seed in REPEATED {
        let config = Config::of(seed);
        let here = run(&config, true);
        let elsewhere = thread::spawn(move || run(&config, true)).join().unwrap();
        let first_difference = here.trace.iter().zip(&elsewhere.trace).find(|(a, b)| a != b);
        assert_eq!(first_difference, None, "seed {seed}");
        assert_eq!(here.trace.len(), elsewhere.trace.len(), "seed {seed}");
        assert!(here.trace.len() > 50, "seed {seed} does something");
    }
}

/// Whether the check notices the sabotage in any of the first seeds.
fn notices(check: &str, sabotage: Sabotage) -> bool {
    (0..SABOTAGED).any(|seed| {
        let config = Config {
            sabotage: Some(sabotage),
            ..Config::of(seed)
        };
        let violation = run(&config, false).violation;
        violation.is_some_and(|violation| violation.invariant == check)
    })
}

#[test]
fn every_sabotaged_port_is_noticed() {
    for (sabotage, check) in [
        (Sabotage::StoreIgnoresVersions, "FN-2"),
        (Sabotage::StoreDropsTheLock, "LK-1"),
        (Sabotage::StoreForgetsJobs, "LK-2"),
        (Sabotage::StoreResetsFences, "FN-2"),
        (Sabotage::EngineSkipsCheckpoints, "TB-2"),
        (Sabotage::EngineSkipsValidation, "TB-4"),
        (Sabotage::EngineDeletesLiveFiles, "TB-1"),
        (Sabotage::SupervisorAlwaysAgrees, "TB-2"),
        (Sabotage::EngineNeverPolls, "CN-1"),
        (Sabotage::SweeperNeverRuns, "PR-1"),
        (Sabotage::RemoteNeverStops, "RN-2"),
    ] {
        assert!(notices(check, sabotage), "{check} does not notice {sabotage:?}");
    }
}

#[test]
fn without_faults_nobody_has_to_recover_a_job() {
    for seed in REPEATED {
        let met = must_pass("a quiet run", &cases::quiet(seed)).counts;
        assert!(met["finished"] >= 5, "seed {seed}: {met:?}");
        // Not "woken": a sweep may come between a submit and its note that the message was sent.
        for event in ["given up", "dead letter", "lock freed", "could not be handled"] {
            assert!(!met.contains_key(event), "{event} in seed {seed}: {met:?}");
        }
    }
}

#[tokio::test]
async fn the_naive_store_keeps_the_contract() {
    snowpack_testkit::job_store_contract(async || memory_store::MemoryStore::default()).await;
}
