//! Records of orchestrator runs: as the API shows them, and as an outside scheduler posts its own (operations.md,
//! Orchestrator).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use snowpack_domain::{Run, RunId, RunStatus, Timestamp};

use super::BodyError;
use super::json::{echo, kind, read_object, unknown_member};
use crate::time::{format_time, parse_time};

/// Longest error of a run in characters: it is for a person.
const MAX_ERROR_CHARS: usize = 2000;
/// Most causes a run counts skipped tables by.
const MAX_SKIP_REASONS: usize = 64;
/// Longest name of such a cause in characters.
const MAX_REASON_CHARS: usize = 100;
/// The members of a posted record.
const MEMBERS: [&str; 13] = [
    "id",
    "started_at",
    "completed_at",
    "status",
    "tables_assessed",
    "tables_skipped",
    "tables_healthy",
    "jobs_submitted",
    "jobs_completed",
    "jobs_failed",
    "dry_run",
    "error",
    "skip_reasons",
];

/// The record of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBody {
    /// Its id.
    pub id: String,
    /// When it started.
    pub started_at: String,
    /// When it ended.
    pub completed_at: Option<String>,
    /// `completed`, `partial` or `failed`.
    pub status: String,
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
    /// What went wrong.
    pub error: Option<String>,
    /// Skipped tables by cause.
    pub skip_reasons: BTreeMap<String, u64>,
}

impl From<&Run> for RunBody {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id.as_str().to_owned(),
            started_at: format_time(run.started_at),
            completed_at: run.completed_at.map(format_time),
            status: run.status.as_str().to_owned(),
            tables_assessed: run.tables_assessed,
            tables_skipped: run.tables_skipped,
            tables_healthy: run.tables_healthy,
            jobs_submitted: run.jobs_submitted,
            jobs_completed: run.jobs_completed,
            jobs_failed: run.jobs_failed,
            dry_run: run.dry_run,
            error: run.error.clone(),
            skip_reasons: run.skip_reasons.clone(),
        }
    }
}

/// Reads the record that an outside scheduler posts. `fresh` is its id unless it has one.
///
/// # Errors
/// [`BodyError`] naming the member that is missing, unknown or wrong.
pub fn read_run(body: &[u8], fresh: RunId) -> Result<Run, BodyError> {
    let members = Members(read_object(body)?);
    if let Some(unknown) = members.0.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(unknown_member(unknown, &MEMBERS.join(", ")));
    }
    let started_at = members
        .time("started_at")?
        .ok_or_else(|| missing("started_at", "a time such as 2026-04-25T14:30:00+00:00"))?;
    let completed_at = members.time("completed_at")?;
    if completed_at.is_some_and(|completed_at| completed_at < started_at) {
        return Err(BodyError::of("completed_at", "completed_at is before started_at"));
    }
    Ok(Run {
        id: members.id()?.unwrap_or(fresh),
        started_at,
        completed_at,
        status: members.status()?,
        tables_assessed: members.count("tables_assessed")?,
        tables_skipped: members.count("tables_skipped")?,
        tables_healthy: members.count("tables_healthy")?,
        jobs_submitted: members.count("jobs_submitted")?,
        jobs_completed: members.count("jobs_completed")?,
        jobs_failed: members.count("jobs_failed")?,
        dry_run: members.flag("dry_run")?,
        error: members.error()?,
        skip_reasons: members.skip_reasons()?,
        open_jobs: Vec::new(),
        left_from: None,
    })
}

fn missing(name: &str, wanted: &str) -> BodyError {
    BodyError::of(name, format!("{name} is missing: give {wanted}"))
}

fn wrong(name: &str, wanted: &str, given: &Value) -> BodyError {
    BodyError::of(name, format!("{name} must be {wanted}, not {}", kind(given)))
}

/// The members of a body; one that is null counts as not given.
struct Members(Map<String, Value>);

impl Members {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str, wanted: &str) -> Result<Option<&str>, BodyError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, wanted, other)),
        }
    }

    fn id(&self) -> Result<Option<RunId>, BodyError> {
        const WANTED: &str = "32 lower-case hex characters";
        let parse = |text| {
            RunId::parse(text)
                .map_err(|_| BodyError::of("id", format!("id {:?} is not {WANTED}", echo(text))))
        };
        self.text("id", WANTED)?.map(parse).transpose()
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, BodyError> {
        let parse = |text| {
            parse_time(text).ok_or_else(|| {
                let text = echo(text);
                BodyError::of(
                    name,
                    format!("{name} {text:?} is not an ISO 8601 time with an offset"),
                )
            })
        };
        self.text(name, "a time")?.map(parse).transpose()
    }

    fn status(&self) -> Result<RunStatus, BodyError> {
        let known = RunStatus::ALL.map(RunStatus::as_str).join(", ");
        let text = self.text("status", "a string")?;
        let text = text.ok_or_else(|| missing("status", &format!("one of {known}")))?;
        RunStatus::parse(text)
            .ok_or_else(|| BodyError::of("status", format!("status {:?} is not one of {known}", echo(text))))
    }

    fn count(&self, name: &str) -> Result<u64, BodyError> {
        self.get(name).map_or(Ok(0), |value| count(name, value))
    }

    fn flag(&self, name: &str) -> Result<bool, BodyError> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong(name, "true or false", other)),
        }
    }

    fn error(&self) -> Result<Option<String>, BodyError> {
        match self.text("error", "a string")? {
            Some(text) if text.chars().count() > MAX_ERROR_CHARS => Err(BodyError::of(
                "error",
                format!("error is longer than {MAX_ERROR_CHARS} characters"),
            )),
            text => Ok(text.map(str::to_owned)),
        }
    }

    fn skip_reasons(&self) -> Result<BTreeMap<String, u64>, BodyError> {
        const NAME: &str = "skip_reasons";
        let reasons = match self.get(NAME) {
            None => return Ok(BTreeMap::new()),
            Some(Value::Object(reasons)) => reasons,
            Some(other) => return Err(wrong(NAME, "an object of counts", other)),
        };
        let long = |name: &String| name.chars().count() > MAX_REASON_CHARS;
        if reasons.len() > MAX_SKIP_REASONS || reasons.keys().any(long) {
            let limits = format!("{MAX_SKIP_REASONS} names of at most {MAX_REASON_CHARS} characters");
            return Err(BodyError::of(NAME, format!("{NAME} has more than {limits}")));
        }
        let counted =
            |(name, value): (&String, &Value)| Ok((name.clone(), count(&format!("{NAME}.{name}"), value)?));
        reasons.iter().map(counted).collect()
    }
}

/// A count: what every store and reader of JSON can hold.
fn count(name: &str, value: &Value) -> Result<u64, BodyError> {
    const MAX: u64 = (1 << 53) - 1;
    match value.as_u64() {
        Some(count) if count <= MAX => Ok(count),
        _ => Err(BodyError::of(
            name,
            format!("{name} must be a whole number from 0 to {MAX}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snowpack_domain::JobId;

    fn fresh() -> RunId {
        RunId::new(JobId::from_u128(7))
    }

    fn read(body: &str) -> Result<Run, BodyError> {
        read_run(body.as_bytes(), fresh())
    }

    const FULL: &str = r#"{"id":"00000000000000000000000000000009","started_at":"2026-04-25T14:30:00+00:00","completed_at":"2026-04-25T14:31:00+00:00","status":"partial","tables_assessed":9,"tables_skipped":3,"tables_healthy":4,"jobs_submitted":5,"jobs_completed":2,"jobs_failed":1,"dry_run":true,"error":"1 table could not be read","skip_reasons":{"cadence":2,"opted_out":1}}"#;

    #[test]
    fn a_record_is_read_as_it_is_shown() {
        let run = read(FULL).unwrap();
        assert_eq!(serde_json::to_string(&RunBody::from(&run)).unwrap(), FULL);
        let least = read(r#"{"started_at": "2026-04-25T16:30:00+02:00", "status": "completed"}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&RunBody::from(&least)).unwrap(),
            r#"{"id":"00000000000000000000000000000007","started_at":"2026-04-25T14:30:00+00:00","completed_at":null,"status":"completed","tables_assessed":0,"tables_skipped":0,"tables_healthy":0,"jobs_submitted":0,"jobs_completed":0,"jobs_failed":0,"dry_run":false,"error":null,"skip_reasons":{}}"#
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |member: &str| {
            let rest = r#""started_at": "2026-04-25T14:30:00+00:00", "status": "failed""#;
            format!("{{{rest}, {member}}}")
        };
        let cases = [
            (r#"{"status": "failed"}"#.to_owned(), Some("started_at")),
            (
                r#"{"started_at": "2026-04-25T14:30:00+00:00"}"#.to_owned(),
                Some("status"),
            ),
            (
                r#"{"started_at": "yesterday", "status": "failed"}"#.to_owned(),
                Some("started_at"),
            ),
            (
                r#"{"started_at": 1, "status": "failed"}"#.to_owned(),
                Some("started_at"),
            ),
            (
                r#"{"started_at": "2026-04-25T14:30:00+00:00", "status": "running"}"#.to_owned(),
                Some("status"),
            ),
            (with(r#""id": "run-1""#), Some("id")),
            (
                with(r#""completed_at": "2026-04-25T14:29:59+00:00""#),
                Some("completed_at"),
            ),
            (with(r#""tables_assessed": -1"#), Some("tables_assessed")),
            (with(r#""jobs_failed": 1.5"#), Some("jobs_failed")),
            (
                with(r#""jobs_submitted": 9007199254740992"#),
                Some("jobs_submitted"),
            ),
            (with(r#""dry_run": "no""#), Some("dry_run")),
            (with(r#""error": {}"#), Some("error")),
            (
                with(&format!(r#""error": "{}""#, "x".repeat(2001))),
                Some("error"),
            ),
            (with(r#""skip_reasons": ["cadence"]"#), Some("skip_reasons")),
            (
                with(r#""skip_reasons": {"cadence": "2"}"#),
                Some("skip_reasons.cadence"),
            ),
            (
                with(&format!(r#""skip_reasons": {{"{}": 2}}"#, "x".repeat(101))),
                Some("skip_reasons"),
            ),
            (with(r#""open_jobs": []"#), Some("open_jobs")),
            ("[]".to_owned(), None),
        ];
        for (body, field) in cases {
            assert_eq!(read(&body).unwrap_err().field.as_deref(), field, "{body}");
        }
    }
}
