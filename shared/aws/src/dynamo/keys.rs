//! Keys of items and of index entries (protocol.md, Store).

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use snowpack_domain::{JobId, Run, RunId, TableId, Timestamp};
use snowpack_service::ports::StoreError;

/// An item, or the key of one.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The one partition of the index `due`. Hot only while messages cannot be sent: each job stays in it, or
/// moves in it, at most once a heartbeat.
pub(super) const DUE_PARTITION: &str = "DUE";
/// Cache entries in the index `by-name`; names change rarely.
pub(super) const CACHE_PARTITION: &str = "CACHE";
/// Held locks in the index `by-name`: each job enters it and leaves it once.
pub(super) const HELD_PARTITION: &str = "HELD";

/// All runs: a dozen a day.
pub(super) const RUNS_PARTITION: &str = "RUNS";

const JOB_PREFIX: &str = "JOB#";
/// Starts the sort keys of a table's reports, and nothing else.
pub(super) const HEALTH_PREFIX: &str = "HEALTH#";
const MICROS_PER_DAY: i64 = 86_400_000_000;

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl Copy + ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn key(pk: impl Into<String>, sk: &str) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

pub(super) fn job(id: &JobId) -> Item {
    key(format!("{JOB_PREFIX}{id}"), "JOB")
}

pub(super) fn lock(table: &TableId) -> Item {
    key(table_partition(table), "LOCK")
}

pub(super) fn cache_entry(table: &TableId) -> Item {
    key(table_partition(table), "CACHE")
}

/// The newest health report of a table.
pub(super) fn latest_health(table: &TableId) -> Item {
    latest_health_in(table_partition(table))
}

/// The same, by the table's partition.
pub(super) fn latest_health_in(partition: String) -> Item {
    key(partition, "HEALTH")
}

/// A report in a table's history.
pub(super) fn health(table: &TableId, collected_at: Timestamp) -> Item {
    key(table_partition(table), &health_sort_key(collected_at))
}

/// Sorts like time within a table, and behind the newest report's key.
pub(super) fn health_sort_key(collected_at: Timestamp) -> String {
    format!("{HEALTH_PREFIX}{}", time_prefix(collected_at))
}

/// The reports of a day in the index `by-completion`, which lists what ends by day.
pub(super) fn health_partition(day: Day) -> String {
    format!("{HEALTH_PREFIX}{day}")
}

/// A run in the list of runs.
pub(super) fn listed_run(run: &Run) -> Item {
    key(RUNS_PARTITION, &run_sort_key(run.started_at, &run.id))
}

/// A run's place in the list: sorts like its start, then like its id.
pub(super) fn run_sort_key(started_at: Timestamp, id: &RunId) -> String {
    format!("{}#{}", time_prefix(started_at), id.as_str())
}

/// A run by its id.
pub(super) fn run(id: &RunId) -> Item {
    key(format!("RUN#{}", id.as_str()), "RUN")
}

pub(super) fn drain() -> Item {
    key("SETTINGS", "DRAIN")
}

pub(super) fn cache_state() -> Item {
    key("SETTINGS", "CACHE")
}

/// How far the sync of health came.
pub(super) fn health_sync() -> Item {
    key("SETTINGS", "HEALTH")
}

/// The register of days that have jobs. A partition of its own: workers write it, and must not be able to
/// write the settings, which permissions tell apart by partition.
pub(super) fn days() -> Item {
    key("DAYS", "DAYS")
}

pub(super) fn idempotency(caller_key: &str) -> Item {
    key(format!("IDEM#{caller_key}"), "IDEM")
}

pub(super) fn table_partition(table: &TableId) -> String {
    format!("TABLE#{}", table_key(table))
}

/// A table as the hash key of an index; names have no slash.
pub(super) fn table_key(table: &TableId) -> String {
    format!("{}/{}", table.database, table.table)
}

/// A table in the index `by-name`, which sorts like names: `#` sorts before every character a name may have.
pub(super) fn name_key(table: &TableId) -> String {
    format!("{}#{}", table.database, table.table)
}

/// The table of a [`name_key`].
pub(super) fn parse_name_key(text: &str) -> Result<TableId, StoreError> {
    text.split_once('#')
        .and_then(|(database, table)| TableId::new(database, table).ok())
        .ok_or_else(|| StoreError::Corrupt(format!("the cache key {text:?} names no table")))
}

/// A job's place in an order by time: of equal width, so that text sorts like time, then by id.
pub(super) fn time_key(time: Timestamp, id: &JobId) -> String {
    format!("{}#{id}", time_prefix(time))
}

/// Sorts before every [`time_key`] of this instant and after every earlier one.
pub(super) fn time_prefix(time: Timestamp) -> String {
    format!("{:020}", time.as_micros().max(0))
}

/// The instant and job of a [`time_key`].
pub(super) fn parse_time_key(text: &str) -> Result<(Timestamp, JobId), StoreError> {
    let parse = || {
        let (micros, id) = text.split_once('#')?;
        Some((
            Timestamp::from_micros(micros.parse().ok()?),
            JobId::parse(id).ok()?,
        ))
    };
    parse().ok_or_else(|| StoreError::Corrupt(format!("the index key {text:?} names no job")))
}

/// The id in a job's partition key.
pub(super) fn parse_job_partition(pk: &str) -> Result<JobId, StoreError> {
    pk.strip_prefix(JOB_PREFIX)
        .and_then(|id| JobId::parse(id).ok())
        .ok_or_else(|| StoreError::Corrupt(format!("the key {pk:?} names no job")))
}

/// A day in UTC, as days since the epoch; as text (`yyyy-mm-dd`) the hash key of the indexes by day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(i64);

impl Day {
    pub(super) fn of(time: Timestamp) -> Self {
        Self(time.as_micros().max(0).div_euclid(MICROS_PER_DAY))
    }

    pub(super) fn start(self) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_mul(MICROS_PER_DAY))
    }

    pub(super) fn end(self) -> Timestamp {
        Self(self.0.saturating_add(1)).start()
    }

    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let date: Result<chrono::NaiveDate, _> = text.parse();
        let epoch = chrono::NaiveDate::default();
        date.map(|date| Self((date - epoch).num_days()))
            .map_err(|_| StoreError::Corrupt(format!("{text:?} where a day belongs")))
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let epoch = chrono::NaiveDate::default();
        let date = chrono::TimeDelta::try_days(self.0).and_then(|days| epoch.checked_add_signed(days));
        date.unwrap_or(chrono::NaiveDate::MAX).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_calendar_days_in_utc() {
        let day = Day::of(Timestamp::from_micros(1_777_127_400_000_000));
        assert_eq!(day.to_string(), "2026-04-25");
        assert_eq!(Day::parse("2026-04-25").unwrap(), day);
        assert!(Day::of(day.end()) > day && Day::of(day.start()) == day);
        assert_eq!(Day::of(Timestamp::from_micros(-1)).to_string(), "1970-01-01");
        assert!(Day::parse("yesterday").is_err());
    }

    #[test]
    fn keys_sort_like_what_they_stand_for() {
        let id = JobId::from_u128(9);
        let early = Timestamp::from_micros(999);
        let late = Timestamp::from_micros(1_000);
        assert!(time_key(early, &id) < time_prefix(late) && time_prefix(late) < time_key(late, &id));
        assert_eq!(parse_time_key(&time_key(late, &id)).unwrap(), (late, id));
        let tables = ["a.t", "a.t-1", "a-b.t", "a.b.t"].map(|name| TableId::parse(name).unwrap());
        for a in &tables {
            for b in &tables {
                assert_eq!(a.cmp(b), name_key(a).cmp(&name_key(b)), "{a} {b}");
            }
            assert_eq!(parse_name_key(&name_key(a)).unwrap(), *a);
        }
    }
}
