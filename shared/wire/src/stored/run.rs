//! The document of an orchestrator run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use snowpack_domain::{JobId, Run, RunId, RunStatus, TableId, Timestamp};

use super::document::Head;
use super::{RUN_FORMAT, StoredError};

/// A run; times are microseconds since the epoch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunDocument {
    format: u32,
    id: String,
    started_at: i64,
    completed_at: Option<i64>,
    status: String,
    tables_assessed: u64,
    tables_skipped: u64,
    tables_healthy: u64,
    jobs_submitted: u64,
    jobs_completed: u64,
    jobs_failed: u64,
    dry_run: bool,
    error: Option<String>,
    skip_reasons: BTreeMap<String, u64>,
    open_jobs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_from: Option<String>,
}

/// The document of a run.
pub fn encode_run(run: &Run) -> String {
    let document = RunDocument {
        format: RUN_FORMAT,
        id: run.id.as_str().to_owned(),
        started_at: run.started_at.as_micros(),
        completed_at: run.completed_at.map(Timestamp::as_micros),
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
        open_jobs: run.open_jobs.iter().map(|job| job.to_string()).collect(),
        left_from: run.left_from.as_ref().map(TableId::to_string),
    };
    serde_json::to_string(&document).expect("maps with text keys, text and numbers are always JSON")
}

/// The run of a document.
///
/// # Errors
/// [`StoredError`] when the document is of another format or holds what no run can hold.
pub fn decode_run(text: &str) -> Result<Run, StoredError> {
    let head: Head = serde_json::from_str(text)?;
    if head.format != RUN_FORMAT {
        return Err(StoredError::UnknownFormat(head.format));
    }
    serde_json::from_str::<RunDocument>(text)?.into_run()
}

impl RunDocument {
    fn into_run(self) -> Result<Run, StoredError> {
        let job = |id: &String| JobId::parse(id).map_err(|_| StoredError::bad("open job", id));
        let table = |name: &String| TableId::parse(name).map_err(|_| StoredError::bad("table", name));
        Ok(Run {
            id: RunId::parse(&self.id).map_err(|_| StoredError::bad("id", &self.id))?,
            started_at: Timestamp::from_micros(self.started_at),
            completed_at: self.completed_at.map(Timestamp::from_micros),
            status: RunStatus::parse(&self.status).ok_or_else(|| StoredError::bad("status", &self.status))?,
            tables_assessed: self.tables_assessed,
            tables_skipped: self.tables_skipped,
            tables_healthy: self.tables_healthy,
            jobs_submitted: self.jobs_submitted,
            jobs_completed: self.jobs_completed,
            jobs_failed: self.jobs_failed,
            dry_run: self.dry_run,
            error: self.error,
            skip_reasons: self.skip_reasons,
            open_jobs: self.open_jobs.iter().map(job).collect::<Result<_, _>>()?,
            left_from: self.left_from.as_ref().map(table).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = r#"{"format":1,"id":"00000000000000000000000000000007","started_at":1,"completed_at":2,"status":"partial","tables_assessed":3,"tables_skipped":4,"tables_healthy":5,"jobs_submitted":6,"jobs_completed":7,"jobs_failed":8,"dry_run":true,"error":"why","skip_reasons":{"cadence":4},"open_jobs":["00000000000000000000000000000009"]}"#;

    #[test]
    fn golden_document() {
        let run = Run {
            id: RunId::new(JobId::from_u128(7)),
            started_at: Timestamp::from_micros(1),
            completed_at: Some(Timestamp::from_micros(2)),
            status: RunStatus::Partial,
            tables_assessed: 3,
            tables_skipped: 4,
            tables_healthy: 5,
            jobs_submitted: 6,
            jobs_completed: 7,
            jobs_failed: 8,
            dry_run: true,
            error: Some("why".to_owned()),
            skip_reasons: BTreeMap::from([("cadence".to_owned(), 4)]),
            open_jobs: vec![JobId::from_u128(9)],
            left_from: None,
        };
        assert_eq!(encode_run(&run), GOLDEN);
        assert_eq!(decode_run(GOLDEN).unwrap(), run);
        let cut = Run {
            left_from: Some(TableId::new("a.b", "t").unwrap()),
            ..run
        };
        let document = GOLDEN.replace("]}", r#"],"left_from":"a.b.t"}"#);
        assert_eq!(encode_run(&cut), document);
        assert_eq!(decode_run(&document).unwrap(), cut);
    }

    #[test]
    fn what_is_no_run_is_refused() {
        assert!(decode_run(&GOLDEN.replace(r#""format":1"#, r#""format":3"#)).is_err());
        assert!(decode_run(&GOLDEN.replace("partial", "sideways")).is_err());
        assert!(decode_run(&GOLDEN.replace("00000000000000000000000000000009", "9")).is_err());
    }
}
