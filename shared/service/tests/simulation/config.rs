//! What one run is made of: everything follows from its seed, and a shrunk run leaves things out.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What can go wrong by itself, at the chance of each occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store refuses a call before it does anything.
    Throttled,
    /// The store does a call and its answer is lost.
    AnswerLost,
    /// The store does not answer a write and applies it later.
    AppliedLate,
    /// The client of the store sends a write again by itself, and so may take its first try for another writer.
    SentTwice,
    /// The store refuses every call of everyone for a while, which may be longer than a lease.
    Outage,
    /// The store takes seconds.
    Slow,
    /// A list is as it was when it was asked for the last time.
    StaleList,
    /// What is stored of a job cannot be read any more, by anybody.
    Unreadable,
    /// The queue does not answer; it may have taken the message all the same.
    SendFails,
    /// The queue takes a message and loses it.
    MessageLost,
    /// The queue delivers a message twice.
    MessageDoubled,
    /// The queue delivers a message much later.
    MessageDelayed,
    /// The queue does not note that a message was handled.
    AckLost,
    /// A process ends at an await point.
    Killed,
    /// A process stands still at an await point, often for longer than a lease.
    Stalled,
    /// A worker is asked to end soon.
    ShutDown,
    /// An action fails, and may succeed the next time.
    ActionFails,
    /// An action fails for good.
    ActionRefused,
    /// The catalog does not answer a commit; it may apply it, even later.
    CommitUnknown,
    /// Other writers append to a table and remove files of it.
    ForeignWrite,
    /// People cancel jobs.
    Cancel,
    /// Drain mode is switched on and off.
    Drain,
    /// A rewrite is handed to another engine.
    HandedOver,
    /// The other engine does not answer.
    RemoteAway,
}

impl Fault {
    pub(crate) const ALL: [Self; 24] = [
        Self::Throttled,
        Self::AnswerLost,
        Self::AppliedLate,
        Self::SentTwice,
        Self::Outage,
        Self::Slow,
        Self::StaleList,
        Self::Unreadable,
        Self::SendFails,
        Self::MessageLost,
        Self::MessageDoubled,
        Self::MessageDelayed,
        Self::AckLost,
        Self::Killed,
        Self::Stalled,
        Self::ShutDown,
        Self::ActionFails,
        Self::ActionRefused,
        Self::CommitUnknown,
        Self::ForeignWrite,
        Self::Cancel,
        Self::Drain,
        Self::HandedOver,
        Self::RemoteAway,
    ];

    /// The chance at each occasion.
    pub(crate) const fn chance(self) -> f64 {
        match self {
            Self::Stalled => 0.001,
            Self::Killed => 0.002,
            Self::AppliedLate | Self::Unreadable => 0.005,
            Self::Throttled | Self::AnswerLost | Self::SentTwice | Self::Slow => 0.01,
            Self::ActionRefused | Self::MessageLost => 0.02,
            Self::SendFails | Self::AckLost | Self::ActionFails => 0.05,
            Self::ShutDown | Self::MessageDoubled | Self::MessageDelayed | Self::CommitUnknown => 0.1,
            Self::StaleList | Self::Cancel | Self::Outage => 0.2,
            Self::ForeignWrite | Self::Drain | Self::HandedOver | Self::RemoteAway => 0.3,
        }
    }
}

/// A port that breaks its contract, to see that a check notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The store applies every write, whatever the versions.
    StoreIgnoresVersions,
    /// The store leaves out the lock of a write.
    StoreDropsTheLock,
    /// The store forgets new jobs that it said it had stored.
    StoreForgetsJobs,
    /// The store starts a table's fence anew whenever its lock is freed.
    StoreResetsFences,
    /// The engine commits without a checkpoint.
    EngineSkipsCheckpoints,
    /// The engine replaces files that are not live any more.
    EngineSkipsValidation,
    /// The engine deletes a file that is still live.
    EngineDeletesLiveFiles,
    /// The engine is told that it may go on, whatever happened to the job.
    SupervisorAlwaysAgrees,
    /// Nobody sweeps.
    SweeperNeverRuns,
    /// The engine takes no notice of its supervisor between checkpoints.
    EngineNeverPolls,
    /// The other engine cannot be told to stop a run.
    RemoteNeverStops,
}

/// What one run is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) seed: u64,
    /// Virtual minutes with faults.
    pub(crate) minutes: u64,
    pub(crate) tables: u32,
    pub(crate) workers: u32,
    pub(crate) clients: u32,
    /// More than one sweep at a time, as when a schedule fires twice.
    pub(crate) sweepers: u32,
    /// How far each clock may be off, to either side.
    pub(crate) skew_seconds: i64,
    /// Seconds a worker lives for one message, as a function does; none for a server.
    pub(crate) slice_seconds: Option<u64>,
    /// Multiplies every chance.
    pub(crate) intensity: f64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Config {
    /// Some runs are crowded with faults and some have a few kinds that then meet undisturbed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut between = |range: Range<u64>| rng.random_range(range);
        let minutes = between(8..22);
        let tables = u32::try_from(between(1..4)).expect("small");
        let workers = u32::try_from(between(1..5)).expect("small");
        let clients = u32::try_from(between(1..4)).expect("small");
        let sweepers = u32::try_from(between(1..3)).expect("small");
        let skew_seconds = [0, 5, 5, 60][usize::try_from(between(0..4)).expect("small")];
        let slice_seconds =
            [None, Some(45), Some(90), Some(240)][usize::try_from(between(0..4)).expect("small")];
        let intensity = [0.3, 1.0, 1.0, 3.0][usize::try_from(between(0..4)).expect("small")];
        let share = [0.3, 0.6, 1.0][usize::try_from(between(0..3)).expect("small")];
        let faults = Fault::ALL
            .into_iter()
            .filter(|_| rng.random_bool(share))
            .collect();
        Self {
            seed,
            minutes,
            tables,
            workers,
            clients,
            sweepers,
            skew_seconds,
            slice_seconds,
            intensity,
            faults,
            sabotage: None,
        }
    }
}
