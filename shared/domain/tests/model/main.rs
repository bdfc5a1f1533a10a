//! The job protocol under every order of events: the real decisions of `snowpack_domain`, explored exhaustively.
//!
//! Submits, deliveries, duplicates, losses, crashes between any two steps, sleeping workers, skewed clocks, cancels,
//! drain mode, sweeps, yields and commits whose answer is lost all happen whenever they can. Every write is checked
//! against the invariants, and from every state on, a run without further faults must end every job.

mod broken;
mod event;
mod fair;
mod iceberg;
mod invariants;
mod landmarks;
mod properties;
mod protocol;
mod rules;
mod state;
mod store;
mod values;
mod worker;

use std::time::Instant;

use stateright::{Checker, Model};

use crate::protocol::{Protocol, World};
use crate::rules::Rules;
use crate::values::{LONG_TICK_SECONDS, MOST_SKEW_SECONDS, SHORT_TICK_SECONDS};

/// Threads of one search; two of them run side by side.
const THREADS: usize = 2;

#[test]
fn one_table_with_any_number_of_faults() {
    explore(World {
        tables: 1,
        workers: 3,
        slots: 2,
        clocks: &[-MOST_SKEW_SECONDS, MOST_SKEW_SECONDS],
        ticks_seconds: &[SHORT_TICK_SECONDS, LONG_TICK_SECONDS],
        most_faults: None,
    });
}

/// Tables share workers, queue, drain switch and time, and nothing else; so few faults, but of every kind.
#[test]
fn two_tables_with_three_faults() {
    explore(World {
        tables: 2,
        workers: 3,
        slots: 1,
        clocks: &[0],
        ticks_seconds: &[LONG_TICK_SECONDS],
        most_faults: Some(3),
    });
}

/// Visits every state there is: no limit of depth, number or time is set, and the checker says when it was not done.
fn explore(world: World) {
    let started = Instant::now();
    let checker = Protocol::new(world, Rules::REAL)
        .checker()
        .threads(THREADS)
        .spawn_bfs()
        .join();
    eprintln!(
        "{world:?}: {} states, {} steps between them, the farthest {} steps away; without faults all ends within \
         {} steps; {:.1?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        checker.model().fair_runs.most_steps(),
        started.elapsed()
    );
    assert!(checker.is_done(), "the search was cut off");
    checker.assert_properties();
}
