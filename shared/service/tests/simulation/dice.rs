//! Every decision of a run that is left to chance. The same seed and the same questions give the same answers.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::config::{Config, Fault};

/// Dice of one actor. Each has its own, so that what one actor asks changes nothing for the others.
#[derive(Debug)]
pub(crate) struct Dice {
    rng: Mutex<StdRng>,
    odds: Arc<Odds>,
}

#[derive(Debug)]
struct Odds {
    faults: Vec<Fault>,
    intensity: f64,
    quiet: AtomicBool,
}

impl Dice {
    pub(crate) fn new(config: &Config) -> Self {
        let odds = Odds {
            faults: config.faults.clone(),
            intensity: config.intensity,
            quiet: AtomicBool::new(false),
        };
        Self {
            rng: Mutex::new(StdRng::seed_from_u64(config.seed ^ 0x5eed)),
            odds: Arc::new(odds),
        }
    }

    /// Dice for another actor of the same run.
    pub(crate) fn fork(&self) -> Self {
        let seed = self.rng.lock().unwrap().random();
        Self {
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            odds: Arc::clone(&self.odds),
        }
    }

    /// From now on nothing goes wrong, for all dice of the run.
    pub(crate) fn calm_down(&self) {
        self.odds.quiet.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.odds.quiet.load(Ordering::SeqCst)
    }

    /// Whether the fault happens at this occasion.
    pub(crate) fn happens(&self, fault: Fault) -> bool {
        let possible = !self.is_calm() && self.odds.faults.contains(&fault);
        possible && self.chance((fault.chance() * self.odds.intensity).min(0.5))
    }

    pub(crate) fn chance(&self, chance: f64) -> bool {
        self.rng.lock().unwrap().random_bool(chance)
    }

    pub(crate) fn below(&self, end: usize) -> usize {
        self.rng.lock().unwrap().random_range(0..end)
    }

    pub(crate) fn between(&self, range: Range<i64>) -> i64 {
        self.rng.lock().unwrap().random_range(range)
    }

    pub(crate) fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.rng.lock().unwrap().random_range(range))
    }

    pub(crate) fn seconds(&self, range: Range<u64>) -> Duration {
        self.millis(range.start * 1000..range.end * 1000)
    }
}
