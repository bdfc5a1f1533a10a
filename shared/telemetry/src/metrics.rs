//! Every metric Snowpack reports: its name, unit, dimensions, and the event it is taken from.
//!
//! A metric is one number of one kind of event. Nothing else measures, so logs and metrics cannot disagree.

use crate::events::{self, Event};

/// The CloudWatch namespace of all metrics.
pub const NAMESPACE: &str = "Snowpack";

/// The dimension that every metric has: which deployment it is of.
pub const DEPLOYMENT: &str = "deployment";

/// What a value counts, by CloudWatch's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// CloudWatch's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Seconds => "Seconds",
            Self::Bytes => "Bytes",
        }
    }
}

/// Where an event has the metric's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// The event itself counts as one.
    One,
    /// In this member; an event without it says nothing of the metric.
    Field(&'static str),
}

/// Whether a metric's name and dimensions may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// Alarms and dashboards may rely on it.
    Stable,
    /// It may still change from one release to the next.
    Evolving,
}

impl Stability {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Evolving => "evolving",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its CloudWatch name.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// The sets of members it is broken down by, each beside [`DEPLOYMENT`]. The empty set is the whole deployment.
    pub dimensions: &'static [&'static [&'static str]],
    /// The events it is taken from.
    pub events: &'static [Event],
    /// Its value in such an event.
    pub value: Value,
    /// Whether it may change.
    pub stability: Stability,
    /// What it says, in one sentence.
    pub meaning: &'static str,
}

impl Metric {
    /// Whether it has a series for each table, and so is only reported when asked for.
    pub fn is_per_table(&self) -> bool {
        self.dimensions.iter().any(|set| set.contains(&"table"))
    }
}

const WHOLE: &[&[&str]] = &[&[]];
const BY_ACTION: &[&[&str]] = &[&[], &["action"]];
const BY_ACTION_AND_STATUS: &[&[&str]] = &[&["action", "status"]];
const BY_STATUS: &[&[&str]] = &[&["status"]];
const BY_TABLE: &[&[&str]] = &[&["table"]];

macro_rules! metrics {
    ($($constant:ident = $name:literal, $unit:ident, $dimensions:ident, [$($event:ident),+], $value:expr, $stability:ident,
       $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $constant: Metric = Metric {
                name: $name,
                unit: Unit::$unit,
                dimensions: $dimensions,
                events: &[$(events::$event),+],
                value: $value,
                stability: Stability::$stability,
                meaning: $meaning,
            };
        )*
        /// Every metric, in the order of the documentation.
        pub static METRICS: &[Metric] = &[$($constant),*];
    };
}

use Value::{Field, One};

metrics! {
    JOBS_SUBMITTED = "JobsSubmitted", Count, WHOLE, [JOB_SUBMITTED], One, Stable,
        "Jobs accepted, dry runs not counted.";
    JOBS_COMPLETED = "JobsCompleted", Count, WHOLE, [JOB_COMPLETED], One, Stable,
        "Jobs of which every action is done.";
    JOBS_FAILED = "JobsFailed", Count, WHOLE, [JOB_FAILED], One, Stable,
        "Jobs that failed, whoever noticed.";
    JOBS_CANCELLED = "JobsCancelled", Count, WHOLE, [JOB_CANCELLED], One, Stable,
        "Jobs cancelled.";
    JOBS_YIELDED = "JobsYielded", Count, WHOLE, [JOB_YIELDED], One, Stable,
        "Slices that ended with work left, or with a fault that may pass.";
    JOB_DURATION = "JobDuration", Seconds, BY_STATUS, [JOB_COMPLETED, JOB_FAILED, JOB_CANCELLED],
        Field("elapsed_seconds"), Stable,
        "Time from a job's first start to its end; its sample count is that of such jobs.";
    QUEUE_AGE = "QueueAge", Seconds, WHOLE, [JOB_STARTED], Field("queue_seconds"), Stable,
        "Time a job waited for a worker: from its submission to its first start, and before each further slice.";
    ACTIONS = "Actions", Count, BY_ACTION_AND_STATUS, [ACTION_COMPLETED], One, Stable,
        "Actions that ended.";
    ACTION_DURATION = "ActionDuration", Seconds, BY_ACTION_AND_STATUS, [ACTION_COMPLETED], Field("elapsed_seconds"), Stable,
        "Time an action took, in the slice that ended it.";
    FILES_IN = "FilesIn", Count, BY_ACTION, [ACTION_COMPLETED], Field("files_in"), Stable,
        "Files replaced by rewrites.";
    FILES_OUT = "FilesOut", Count, BY_ACTION, [ACTION_COMPLETED], Field("files_out"), Stable,
        "Files that rewrites put in their place.";
    BYTES_IN = "BytesIn", Bytes, BY_ACTION, [ACTION_COMPLETED], Field("bytes_in"), Stable,
        "Size of the files replaced by rewrites.";
    BYTES_OUT = "BytesOut", Bytes, BY_ACTION, [ACTION_COMPLETED], Field("bytes_out"), Stable,
        "Size of the files that rewrites put in their place.";
    BYTES_RECLAIMED = "BytesReclaimed", Bytes, BY_ACTION, [ACTION_COMPLETED], Field("bytes_reclaimed"), Stable,
        "Size of the files that were deleted.";
    COMMITS = "Commits", Count, BY_ACTION, [TABLE_COMMITTED], One, Stable,
        "Commits to tables.";
    COMMIT_CONFLICTS = "CommitConflicts", Count, BY_ACTION, [COMMIT_CONFLICT], One, Stable,
        "Commits tried again and file groups given up because another writer came first.";
    FENCES_REVOKED = "FencesRevoked", Count, WHOLE, [FENCE_LOST], One, Stable,
        "Workers that found their job cancelled or taken over.";
    TABLE_CACHE_SYNCS = "TableCacheSyncs", Count, WHOLE, [TABLE_CACHE_SYNCED], One, Stable,
        "Syncs of the table cache.";
    TABLES_CACHED = "TablesCached", Count, WHOLE, [TABLE_CACHE_SYNCED], Field("tables"), Stable,
        "Tables in the table cache.";
    TABLES_UNREADABLE = "TablesUnreadable", Count, WHOLE, [TABLE_CACHE_SYNCED], Field("unreadable"), Stable,
        "Tables whose metadata the sync could not read.";
    TABLE_CACHE_AGE = "TableCacheAge", Seconds, WHOLE, [SWEEP_COMPLETED, SWEEP_FAILED],
        Field("table_cache_age_seconds"), Stable,
        "Time since the last sync of the table cache, told by the sweeper every minute once there was one.";
    HEALTH_SYNCS = "HealthSyncs", Count, WHOLE, [HEALTH_SYNC_COMPLETED], One, Evolving,
        "Syncs of the health of tables.";
    TABLES_NEEDING_MAINTENANCE = "TablesNeedingMaintenance", Count, WHOLE, [HEALTH_SYNC_COMPLETED],
        Field("needing_maintenance"), Evolving,
        "Tables for which maintenance is recommended, as far as a sync came.";
    HEALTH_FAILURES = "HealthFailures", Count, WHOLE, [HEALTH_SYNC_COMPLETED], Field("failed"), Evolving,
        "Tables whose health could not be collected.";
    ORCHESTRATOR_RUNS = "OrchestratorRuns", Count, BY_STATUS, [ORCHESTRATOR_RUN_COMPLETED], One, Evolving,
        "Runs of the orchestrator.";
    ORCHESTRATOR_TABLES_ASSESSED = "OrchestratorTablesAssessed", Count, WHOLE, [ORCHESTRATOR_RUN_COMPLETED],
        Field("tables_assessed"), Evolving,
        "Tables the orchestrator looked at in a run.";
    ORCHESTRATOR_JOBS_SUBMITTED = "OrchestratorJobsSubmitted", Count, WHOLE, [ORCHESTRATOR_RUN_COMPLETED],
        Field("jobs_submitted"), Evolving,
        "Jobs the orchestrator submitted in a run.";
    SWEEPS_COMPLETED = "SweepsCompleted", Count, WHOLE, [SWEEP_COMPLETED], One, Stable,
        "Sweeps that did all they had to: one a minute.";
    SWEEP_MESSAGES_SENT = "SweepMessagesSent", Count, WHOLE, [SWEEP_COMPLETED, SWEEP_FAILED], Field("sent"), Stable,
        "Messages the sweeper sent for jobs that nothing else would have woken.";
    SWEEP_JOBS_GIVEN_UP = "SweepJobsGivenUp", Count, WHOLE, [SWEEP_COMPLETED, SWEEP_FAILED], Field("given_up"), Stable,
        "Jobs the sweeper failed because their attempts were spent.";
    SWEEP_DEAD_LETTERS = "SweepDeadLetters", Count, WHOLE, [SWEEP_COMPLETED, SWEEP_FAILED], Field("dead_letters"), Stable,
        "Jobs the sweeper failed because their message could not be handled.";
    SWEEP_LOCKS_FREED = "SweepLocksFreed", Count, WHOLE, [SWEEP_COMPLETED, SWEEP_FAILED], Field("freed"), Stable,
        "Locks the sweeper freed because their job had ended or was gone.";
    TABLE_DATA_FILES = "TableDataFiles", Count, BY_TABLE, [TABLE_HEALTH], Field("data_files"), Evolving,
        "Data files of a table.";
    TABLE_SMALL_FILES = "TableSmallFiles", Count, BY_TABLE, [TABLE_HEALTH], Field("small_files"), Evolving,
        "Small data files of a table.";
    TABLE_DELETE_FILES = "TableDeleteFiles", Count, BY_TABLE, [TABLE_HEALTH], Field("delete_files"), Evolving,
        "Delete files of a table.";
    TABLE_SNAPSHOTS = "TableSnapshots", Count, BY_TABLE, [TABLE_HEALTH], Field("snapshots"), Evolving,
        "Snapshots of a table.";
    TABLE_MANIFESTS = "TableManifests", Count, BY_TABLE, [TABLE_HEALTH], Field("manifests"), Evolving,
        "Manifests of a table's current snapshot.";
    TABLE_BYTES = "TableBytes", Bytes, BY_TABLE, [TABLE_HEALTH], Field("bytes"), Evolving,
        "Size of a table's live data files.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_taken_from_members_its_events_have() {
        for metric in METRICS {
            for event in metric.events {
                let has = |name: &str| {
                    event
                        .fields
                        .iter()
                        .any(|field| field.trim_end_matches('?') == name)
                };
                if let Field(field) = metric.value {
                    assert!(has(field), "{}: {} has no {field}", metric.name, event.name);
                }
                for member in metric.dimensions.concat() {
                    assert!(has(member), "{}: {} has no {member}", metric.name, event.name);
                }
            }
        }
    }

    #[test]
    fn names_are_unique_and_series_bounded() {
        let bounded = ["action", "status"];
        for (position, metric) in METRICS.iter().enumerate() {
            assert!(
                METRICS[..position]
                    .iter()
                    .all(|earlier| earlier.name != metric.name),
                "{}",
                metric.name
            );
            let few = metric
                .dimensions
                .concat()
                .iter()
                .all(|member| bounded.contains(member));
            assert!(
                few || (metric.is_per_table() && metric.name.starts_with("Table")),
                "{}",
                metric.name
            );
        }
    }
}
