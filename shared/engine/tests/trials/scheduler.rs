//! Decides, from a seed or by order, what happens at each await point.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// What other writers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriterKind {
    Append,
    /// Deletes rows of one file, or of several of its partition, by position: as a Parquet file in version 2, as
    /// deletion vectors in version 3.
    DeletePositions,
    /// Deletes rows by the value of a column, in one partition or everywhere.
    DeleteKeys,
    /// Removes a file with all its rows and puts another in its place.
    Overwrite,
    /// Changes some rows of a file: copies it, as copy-on-write updates do.
    Update,
    /// Packs files of a partition, as another compaction does.
    Compact,
    AddColumn,
    ChangeSpec,
    /// Goes back to an earlier snapshot.
    RollBack,
    Tag,
}

use WriterKind::{
    AddColumn, Append, ChangeSpec, Compact, DeleteKeys, DeletePositions, Overwrite, RollBack, Tag, Update,
};

/// All of them.
pub(crate) const WRITERS: [WriterKind; 10] = [
    Append,
    DeletePositions,
    DeleteKeys,
    Overwrite,
    Update,
    Compact,
    AddColumn,
    ChangeSpec,
    RollBack,
    Tag,
];
/// The same, as often as random schedules have them.
const WEIGHTED: [(WriterKind, u32); 10] = [
    (Append, 3),
    (DeletePositions, 6),
    (DeleteKeys, 5),
    (Overwrite, 2),
    (Update, 4),
    (Compact, 3),
    (AddColumn, 1),
    (ChangeSpec, 1),
    (RollBack, 1),
    (Tag, 1),
];

/// What happens at an await point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    GoOn,
    Write(WriterKind),
    Crash,
}

/// How an answer of the catalog to a commit goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Honest,
    /// Applied, and the answer is lost.
    AppliedUnknown,
    /// Not applied, and the answer is lost.
    LostUnknown,
    /// Not applied: the catalog is not available.
    Unavailable,
    /// Applied, and answered by a conflict: a proxy sent the request twice.
    AppliedConflict,
    /// Answered by a conflict, and applied later if it still can be: the first of two requests was the slower one.
    LateConflict,
}

/// The decisions of one schedule.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) rng: StdRng,
    /// Await points met.
    pub(crate) points: u64,
    /// What happened, point by point, file names left out.
    pub(crate) trace: Vec<String>,
    /// Nothing but going on.
    pub(crate) quiet: bool,
    /// This writer at this point, and no other.
    ordered: Option<(u64, WriterKind)>,
    writers_left: u32,
    chance: f64,
    crash_at: Option<u64>,
    most_yields: u32,
    faulty_catalog: bool,
}

impl Default for Scheduler {
    fn default() -> Self {
        let mut random = Self::random(0);
        random.quiet = true;
        random
    }
}

impl Scheduler {
    /// Everything by chance.
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // Some schedules are crowded and some have one writer somewhere in a long run.
        let chance = *[0.5, 0.2, 0.08, 0.03, 0.01]
            .choose(&mut rng)
            .expect("it has elements");
        let crash_at = rng.random_bool(0.15).then(|| rng.random_range(0..120));
        Self {
            points: 0,
            trace: Vec::new(),
            quiet: false,
            ordered: None,
            writers_left: rng.random_range(1..=4),
            chance,
            crash_at,
            most_yields: rng.random_range(0..=3),
            faulty_catalog: rng.random_bool(0.2),
            rng,
        }
    }

    /// One writer at one point; what else is random follows the seed.
    pub(crate) fn ordered(seed: u64, point: u64, kind: WriterKind) -> Self {
        Self {
            ordered: Some((point, kind)),
            crash_at: None,
            faulty_catalog: false,
            ..Self::random(seed)
        }
    }

    /// What happens at the next await point.
    pub(crate) fn decide(&mut self, what: &str, path: &str) -> Decision {
        let point = self.points;
        self.points += 1;
        let decision = self.choose(point);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.trace.push(format!("{point} {what} {folder}: {decision:?}"));
        decision
    }

    fn choose(&mut self, point: u64) -> Decision {
        if self.quiet {
            return Decision::GoOn;
        }
        if let Some((at, kind)) = self.ordered {
            return if at == point {
                Decision::Write(kind)
            } else {
                Decision::GoOn
            };
        }
        if self.crash_at == Some(point) {
            return Decision::Crash;
        }
        if self.writers_left > 0 && self.rng.random_bool(self.chance) {
            self.writers_left -= 1;
            return Decision::Write(self.writer());
        }
        Decision::GoOn
    }

    /// A writer, by weight.
    pub(crate) fn writer(&mut self) -> WriterKind {
        let chosen = WEIGHTED.choose_weighted(&mut self.rng, |(_, weight)| *weight);
        chosen.expect("the weights are positive").0
    }

    /// How the catalog answers the next commit.
    pub(crate) fn answer(&mut self) -> Answer {
        if self.quiet || !self.faulty_catalog {
            return Answer::Honest;
        }
        let answers = [
            Answer::Honest,
            Answer::AppliedUnknown,
            Answer::LostUnknown,
            Answer::Unavailable,
            Answer::AppliedConflict,
            Answer::LateConflict,
        ];
        *answers.choose(&mut self.rng).expect("it has elements")
    }

    /// How often other tasks of the action get their turn here.
    pub(crate) fn yields(&mut self) -> u32 {
        self.rng.random_range(0..=self.most_yields)
    }
}
