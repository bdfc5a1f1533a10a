//! Runs that failed once, shrunk, by what they showed. They run first, always.
//!
//! A change of the simulation changes what its dice are asked, and so what a seed does: then take the fix back, and
//! find the run again.

use crate::config::{Config, Fault};

pub(crate) fn cases() -> Vec<(&'static str, Config)> {
    vec![
        (
            // Between a write and its second sending a heartbeat moved the job on: the result was added again and
            // stood for that of the next action, which never ran.
            "a result kept again after a heartbeat stays one result",
            Config {
                minutes: 12,
                clients: 1,
                sweepers: 1,
                faults: vec![Fault::SentTwice],
                ..quiet(51)
            },
        ),
        (
            // Between a write and its second sending the sweeper noted that it had sent the message.
            "a submit does not take its own job for another one",
            Config {
                minutes: 2,
                workers: 1,
                clients: 1,
                sweepers: 1,
                faults: vec![Fault::AppliedLate, Fault::SentTwice, Fault::Slow, Fault::Cancel],
                ..quiet(411)
            },
        ),
        (
            // The sweeper stopped at the first job that it could not read, every minute anew.
            "a job that cannot be read keeps no other job asleep",
            Config {
                minutes: 14,
                tables: 3,
                workers: 3,
                clients: 3,
                skew_seconds: 60,
                slice_seconds: Some(90),
                intensity: 3.0,
                faults: vec![
                    Fault::AppliedLate,
                    Fault::Unreadable,
                    Fault::MessageDoubled,
                    Fault::ShutDown,
                    Fault::Drain,
                ],
                ..quiet(212)
            },
        ),
    ]
}

/// A run without faults.
pub(crate) fn quiet(seed: u64) -> Config {
    Config {
        seed,
        minutes: 10,
        tables: 2,
        workers: 4,
        clients: 2,
        sweepers: 1,
        skew_seconds: 0,
        slice_seconds: None,
        intensity: 1.0,
        faults: Vec::new(),
        sabotage: None,
    }
}
