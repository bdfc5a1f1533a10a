//! Cursors: where a page of a list ended, as text that callers hand back unread.

use snowpack_domain::{CacheEntry, Job, JobId, RunId, TableId, Timestamp};

/// The last item of a page; the next page starts right after it. Text of another list never decodes as one
/// of this list, because the first letter names the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// In a list by time of submission, newest first.
    Submitted(Timestamp, JobId),
    /// In a list by time of completion, newest first.
    Completed(Timestamp, JobId),
    /// In a list of tables by name.
    Table(TableId),
    /// In a table's health reports, newest first.
    Health(Timestamp),
    /// In a list of orchestrator runs by start, newest first.
    Run(Timestamp, RunId),
}

impl Cursor {
    /// The cursor after `job` in a list of finished jobs by completion, or of jobs by submission.
    pub fn after_job(job: &Job, finished_only: bool) -> Self {
        match job.completed_at {
            Some(completed_at) if finished_only => Self::Completed(completed_at, job.id.clone()),
            _ => Self::Submitted(job.submitted_at, job.id.clone()),
        }
    }

    /// The cursor after `entry` in the list of tables.
    pub fn after_entry(entry: &CacheEntry) -> Self {
        Self::Table(entry.table.clone())
    }

    /// The text handed out.
    pub fn encode(&self) -> String {
        match self {
            Self::Submitted(time, id) => format!("s.{}.{id}", time.as_micros()),
            Self::Completed(time, id) => format!("c.{}.{id}", time.as_micros()),
            Self::Table(table) => format!("t.{table}"),
            Self::Health(time) => format!("h.{}", time.as_micros()),
            Self::Run(time, id) => format!("r.{}.{}", time.as_micros(), id.as_str()),
        }
    }

    /// Reads a cursor back; `None` when it was never handed out.
    pub fn decode(text: &str) -> Option<Self> {
        let (order, rest) = text.split_once('.')?;
        let instant = || {
            let (micros, id) = rest.split_once('.')?;
            let time = Timestamp::from_micros(micros.parse().ok()?);
            Some((time, JobId::parse(id).ok()?))
        };
        let cursor = match order {
            "s" => instant().map(|(time, id)| Self::Submitted(time, id)),
            "c" => instant().map(|(time, id)| Self::Completed(time, id)),
            "t" => TableId::parse(rest).ok().map(Self::Table),
            "h" => rest
                .parse()
                .ok()
                .map(|micros| Self::Health(Timestamp::from_micros(micros))),
            "r" => instant().map(|(time, id)| Self::Run(time, RunId::new(id))),
            _ => None,
        }?;
        (cursor.encode() == text).then_some(cursor)
    }

    /// Reads a cursor of a list of jobs: where it stands in the order that `finished_only` asks for.
    pub fn decode_job_position(text: &str, finished_only: bool) -> Option<(Timestamp, JobId)> {
        match (Self::decode(text)?, finished_only) {
            (Self::Completed(time, id), true) | (Self::Submitted(time, id), false) => Some((time, id)),
            _ => None,
        }
    }

    /// Reads a cursor of a table's health reports.
    pub fn decode_health(text: &str) -> Option<Timestamp> {
        match Self::decode(text)? {
            Self::Health(time) => Some(time),
            _ => None,
        }
    }

    /// Reads a cursor of the list of runs.
    pub fn decode_run(text: &str) -> Option<(Timestamp, RunId)> {
        match Self::decode(text)? {
            Self::Run(time, id) => Some((time, id)),
            _ => None,
        }
    }

    /// Reads a cursor of the list of tables.
    pub fn decode_table(text: &str) -> Option<TableId> {
        match Self::decode(text)? {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }
}
