//! What the orchestrator submits in one run, and the record of a run (operations.md, Orchestrator).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Action, Duration, Evidence, JobId, JobIdError, Metric, Recommendation, SkipCause, TableId, Timestamp,
    Upkeep,
};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// Every table was assessed and everything due submitted, as far as the limits allow.
    Completed,
    /// Some tables could not be assessed or submitted, time ran out, or the run broke off after it did something.
    Partial,
    /// Nothing could be done.
    Failed,
}

impl RunStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Partial, Self::Failed];

    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// A run's id: of the same form as a job's, so that ids sort by time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(JobId);

impl RunId {
    /// From 16 bytes made like those of a job id.
    pub fn new(id: JobId) -> Self {
        Self(id)
    }

    /// Checks the form of an id.
    ///
    /// # Errors
    /// [`JobIdError`] when it is not 32 lower-case hex characters.
    pub fn parse(text: &str) -> Result<Self, JobIdError> {
        JobId::parse(text).map(Self)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The record of one run, of ours or of an outside scheduler.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// How it ended.
    pub status: RunStatus,
    /// Tables whose health was looked at.
    pub tables_assessed: u64,
    /// Tables left alone without a look.
    pub tables_skipped: u64,
    /// Assessed tables on which nothing is due.
    pub tables_healthy: u64,
    /// Jobs submitted; under a dry run, jobs that would have been.
    pub jobs_submitted: u64,
    /// Of those, jobs known to have completed.
    pub jobs_completed: u64,
    /// Of those, jobs known to have failed or been cancelled.
    pub jobs_failed: u64,
    /// Whether nothing was really submitted.
    pub dry_run: bool,
    /// What went wrong, for a person.
    pub error: Option<String>,
    /// Skipped tables by cause.
    pub skip_reasons: BTreeMap<String, u64>,
    /// The jobs submitted that are not known to have ended.
    pub open_jobs: Vec<JobId>,
    /// The first table for which a run over all tables had no time: the next one starts with it.
    pub left_from: Option<TableId>,
}

/// A table on which something is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The table.
    pub table: TableId,
    /// What is due, in order of execution.
    pub actions: Vec<Action>,
    /// How much there is to gain; see [`benefit`].
    pub benefit: f64,
    /// When it last had its turn; absent: never.
    pub last_turn: Option<Timestamp>,
}

/// Weight of one delete file that is applied, against one data file fewer: every reader of a data file reads its
/// deletes too, and merges them.
const DELETE_FILE_WEIGHT: f64 = 2.0;
/// Weight of one manifest fewer: planning reads all of them, once for a query.
const MANIFEST_WEIGHT: f64 = 0.5;
/// Weight of one snapshot that expires: it frees storage, and readers do not notice.
const SNAPSHOT_WEIGHT: f64 = 0.2;
/// Weight of a search for orphans: storage only, and not known before.
const ORPHAN_SCAN_WEIGHT: f64 = 1.0;
/// How far a wait raises the benefit, in cadences waited. A table that never had its turn counts as one that waited so
/// long.
const MOST_OVERDUE: f64 = 28.0;

/// How much a table gains, in data files fewer for its readers or what is as good as that, times how long it waited
/// beyond its cadence. A turn that failed ends the wait too: else a table whose jobs always fail would come first in
/// every run.
pub fn benefit(
    recommendations: &[Recommendation],
    upkeep: &Upkeep,
    cadence: Duration,
    now: Timestamp,
) -> f64 {
    let due = recommendations.iter().filter(|entry| entry.recommended);
    let gain: f64 = due.map(gain).sum();
    let cadence = cadence.as_micros().max(1) as f64;
    let waited = upkeep
        .last_turn()
        .map(|last| (now - last).as_micros() as f64 / cadence);
    gain * waited.unwrap_or(MOST_OVERDUE).clamp(1.0, MOST_OVERDUE)
}

fn gain(entry: &Recommendation) -> f64 {
    let number = |name| number(&entry.evidence, name);
    let fewer = |before, after| (number(before) - number(after)).max(0.0);
    match entry.action {
        Action::RewriteDataFiles => {
            fewer("files_in", "files_out") + DELETE_FILE_WEIGHT * number("delete_files_applied")
        }
        Action::RewritePositionDeleteFiles => number("files_in"),
        Action::ExpireSnapshots => {
            SNAPSHOT_WEIGHT * (number("expirable_snapshots") + number("expirable_refs"))
        }
        Action::RewriteManifests => MANIFEST_WEIGHT * fewer("manifests_in", "manifests_out"),
        Action::RemoveOrphanFiles => ORPHAN_SCAN_WEIGHT,
    }
}

fn number(evidence: &Evidence, name: &str) -> f64 {
    match evidence.get(name) {
        Some(Metric::Count(count)) => *count as f64,
        Some(Metric::Ratio(ratio)) => *ratio,
        None => 0.0,
    }
}

/// The candidates worth submitting, in bounded memory: the one that waited longest, so that no table is overtaken for
/// ever by tables with more to gain, and the best ones offered, at most `limit`.
#[derive(Debug)]
pub struct Shortlist {
    limit: usize,
    longest_waiting: Option<Ranked>,
    best: BTreeSet<Ranked>,
}

/// Ordered from the least worth to the most; of equal benefit, the name that comes first is worth more.
#[derive(Clone, Debug)]
struct Ranked(Candidate);

impl Ranked {
    /// What to compare by to find the one that waited longest; of those that waited alike, the one worth most.
    fn by_wait(&self) -> (Reverse<Option<Timestamp>>, &Self) {
        (Reverse(self.0.last_turn), self)
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_benefit = self.0.benefit.total_cmp(&other.0.benefit);
        by_benefit.then_with(|| other.0.table.cmp(&self.0.table))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

impl Shortlist {
    /// A list of at most `limit` candidates.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            longest_waiting: None,
            best: BTreeSet::new(),
        }
    }

    /// Takes a candidate in if it waited longest or is among the best so far.
    pub fn offer(&mut self, candidate: Candidate) {
        let candidate = Ranked(candidate);
        let longest = self.longest_waiting.as_ref();
        if longest.is_none_or(|longest| candidate.by_wait() > longest.by_wait()) {
            self.longest_waiting = Some(candidate.clone());
        }
        self.best.insert(candidate);
        if self.best.len() > self.limit {
            self.best.pop_first();
        }
    }

    /// The candidates in the order in which they get their turn: the one that waited longest, then those with the most to
    /// gain.
    pub fn into_order(self) -> Vec<Candidate> {
        let longest = self.longest_waiting.filter(|_| self.limit > 0);
        let best = self.best.into_iter().rev();
        let others: Vec<_> = best.filter(|ranked| Some(ranked) != longest.as_ref()).collect();
        let order = longest.into_iter().chain(others).take(self.limit);
        order.map(|Ranked(candidate)| candidate).collect()
    }
}

/// Counts skipped tables by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkipCounts(BTreeMap<SkipCause, u64>);

impl SkipCounts {
    /// Counts one table.
    pub fn add(&mut self, cause: SkipCause) {
        *self.0.entry(cause).or_default() += 1;
    }

    /// All tables counted.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The counts by the causes' names.
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        let named = self
            .0
            .iter()
            .map(|(cause, count)| (cause.as_str().to_owned(), *count));
        named.collect()
    }
}

/// How much one run of the orchestrator may put in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Most jobs that one run submits.
    pub max_submissions: usize,
    /// Most jobs, pending or running, up to which a run submits more.
    pub max_active_jobs: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, benefit: f64) -> Candidate {
        Candidate {
            table: TableId::new("db", name).unwrap(),
            actions: vec![Action::RewriteDataFiles],
            benefit,
            last_turn: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(0) + Duration::from_seconds(seconds)
    }

    fn names(list: Shortlist) -> Vec<String> {
        let order = list.into_order();
        order.iter().map(|entry| entry.table.table.to_string()).collect()
    }

    #[test]
    fn the_shortlist_keeps_the_best_in_order() {
        let mut list = Shortlist::new(3);
        for (name, benefit) in [("a", 1.0), ("b", 5.0), ("c", 3.0), ("d", 5.0), ("e", 0.5)] {
            list.offer(candidate(name, benefit));
        }
        assert_eq!(names(list), ["b", "d", "c"]);
        let mut none = Shortlist::new(0);
        none.offer(candidate("a", 1.0));
        assert!(names(none).is_empty());
    }

    #[test]
    fn the_one_that_waited_longest_comes_first() {
        let mut list = Shortlist::new(3);
        for (name, benefit, last_turn) in [
            ("a", 9.0, Some(at(50))),
            ("b", 0.1, Some(at(10))),
            ("c", 8.0, Some(at(40))),
            ("d", 0.2, Some(at(20))),
            ("e", 7.0, Some(at(30))),
        ] {
            list.offer(Candidate {
                last_turn,
                ..candidate(name, benefit)
            });
        }
        assert_eq!(names(list), ["b", "a", "c"]);
    }

    /// Even if others gain ten times as much and every job fails, each table gets its turn within as many runs as there
    /// are tables.
    #[test]
    fn no_table_is_overtaken_for_ever() {
        const TABLES: usize = 12;
        let cadence = Duration::from_seconds(6 * 3600);
        let mut upkeep = [Upkeep::default(); TABLES];
        for run in 0..TABLES as i64 {
            let now = at(run * 7200);
            let mut list = Shortlist::new(3);
            for (number, upkeep) in upkeep.iter().enumerate() {
                let files = Evidence::from([("files_in", Metric::Count(10_u64.pow(number as u32)))]);
                let due = [due(Action::RewriteDataFiles, files)];
                list.offer(Candidate {
                    benefit: benefit(&due, upkeep, cadence, now),
                    last_turn: upkeep.last_turn(),
                    ..candidate(&format!("{number}"), 0.0)
                });
            }
            // All of their jobs fail.
            for table in names(list) {
                upkeep[table.parse::<usize>().unwrap()].ended_at = Some(now);
            }
        }
        assert!(
            upkeep.iter().all(|upkeep| upkeep.ended_at.is_some()),
            "{upkeep:?}"
        );
    }

    fn due(action: Action, evidence: Evidence) -> Recommendation {
        Recommendation {
            action,
            recommended: true,
            reason: String::new(),
            evidence,
        }
    }

    #[test]
    fn a_table_gains_from_what_is_due_and_from_waiting() {
        let files = Evidence::from([("files_in", Metric::Count(30)), ("files_out", Metric::Count(10))]);
        let due = [
            due(Action::RewriteDataFiles, files),
            Recommendation {
                recommended: false,
                ..due(Action::RemoveOrphanFiles, Evidence::new())
            },
        ];
        let (cadence, now) = (Duration::from_seconds(3600), Timestamp::from_micros(0));
        let after = |seconds| Upkeep {
            completed_at: Some(now - Duration::from_seconds(seconds)),
            ..Upkeep::default()
        };
        assert_eq!(benefit(&due, &after(3600), cadence, now), 20.0);
        assert_eq!(benefit(&due, &after(7200), cadence, now), 40.0);
        assert_eq!(benefit(&due, &after(0), cadence, now), 20.0);
        assert_eq!(
            benefit(&due, &Upkeep::default(), cadence, now),
            20.0 * MOST_OVERDUE
        );
        let failed_since = Upkeep {
            ended_at: Some(now - Duration::from_seconds(7200)),
            ..after(10 * 3600)
        };
        assert_eq!(
            benefit(&due, &failed_since, cadence, now),
            40.0,
            "a turn that failed was one"
        );
    }

    #[test]
    fn skips_are_counted_by_cause() {
        let mut counts = SkipCounts::default();
        for cause in [SkipCause::Cadence, SkipCause::ActiveJob, SkipCause::Cadence] {
            counts.add(cause);
        }
        assert_eq!(counts.total(), 3);
        let named = BTreeMap::from([("active_job".to_owned(), 1), ("cadence".to_owned(), 2)]);
        assert_eq!(counts.by_name(), named);
    }
}
