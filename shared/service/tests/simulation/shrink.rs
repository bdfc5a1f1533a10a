//! Makes a failing run smaller: leaves out whatever it fails without.

use crate::config::Config;
use crate::world::run;

/// The smallest run found that fails by the same check.
pub(crate) fn shrink(config: &Config, invariant: &str) -> Config {
    let fails = |config: &Config| {
        let violation = run(config, false).violation;
        violation.is_some_and(|violation| violation.invariant == invariant)
    };
    let mut smallest = config.clone();
    while let Some(smaller) = candidates(&smallest).into_iter().find(fails) {
        smallest = smaller;
    }
    smallest
}

/// Runs with one thing less.
fn candidates(config: &Config) -> Vec<Config> {
    let changed = |change: &dyn Fn(&mut Config)| {
        let mut smaller = config.clone();
        change(&mut smaller);
        smaller
    };
    let mut all: Vec<Config> = (0..config.faults.len())
        .map(|left_out| changed(&|smaller| _ = smaller.faults.remove(left_out)))
        .collect();
    all.extend([
        changed(&|smaller| smaller.skew_seconds = 0),
        changed(&|smaller| smaller.slice_seconds = None),
        changed(&|smaller| smaller.tables = 1),
        changed(&|smaller| smaller.workers = (smaller.workers - 1).max(1)),
        changed(&|smaller| smaller.clients = (smaller.clients - 1).max(1)),
        changed(&|smaller| smaller.sweepers = 1),
        changed(&|smaller| smaller.minutes = (smaller.minutes / 2).max(1)),
    ]);
    all.retain(|smaller| smaller != config);
    all
}
