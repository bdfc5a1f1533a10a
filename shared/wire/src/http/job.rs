//! The job object (submitting-maintenance.txt; api.md, Jobs).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use snowpack_domain::{ActionResult, Job, Metric, Preview, Progress};

use super::options::write_options;
use crate::time::format_time;

/// A job as the API shows it: the contract's eleven members in its order, then ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobBody {
    /// Its id.
    pub job_id: String,
    /// The table's database.
    pub database: String,
    /// The table.
    pub table_name: String,
    /// What it does, in order of execution.
    pub actions: Vec<String>,
    /// Whether it only previews.
    pub dry_run: bool,
    /// `pending`, `running`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// When it was accepted.
    pub submitted_at: String,
    /// When a worker first claimed it.
    pub started_at: Option<String>,
    /// When it became terminal.
    pub completed_at: Option<String>,
    /// One entry for each action that ran; absent until the job is terminal.
    pub results: Option<Vec<ResultBody>>,
    /// Root cause of a failed job.
    pub error: Option<String>,
    /// The options given, by action.
    pub options: Map<String, Value>,
    /// Workers that took it up so far.
    pub attempt: u32,
    /// How far the running action is.
    pub progress: Option<ProgressBody>,
}

/// The outcome of one action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultBody {
    /// The action.
    pub action: String,
    /// Whether it completed without error.
    pub success: bool,
    /// What happened, for a person; absent on failure.
    pub message: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// Wall-clock seconds, to the millisecond.
    pub elapsed_seconds: f64,
    /// Numbers by name.
    pub metrics: BTreeMap<String, Number>,
    /// What the plan expected before anything was done, in numbers named as those of a dry run and as the metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub predicted: BTreeMap<String, u64>,
    /// What it would do; dry runs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<PreviewBody>,
}

/// What a dry run says an action would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreviewBody {
    /// `live`, `cached` or `none`.
    pub source: String,
    /// What else there is to know, or why there are no numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Numbers by name; null where only a listing could tell.
    #[serde(flatten)]
    pub numbers: BTreeMap<String, Option<u64>>,
}

/// How far the running action is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressBody {
    /// The action.
    pub action: String,
    /// Units finished.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// What is counted.
    pub unit: String,
}

impl From<&Job> for JobBody {
    fn from(job: &Job) -> Self {
        Self {
            job_id: job.id.to_string(),
            database: job.table.database.to_string(),
            table_name: job.table.table.to_string(),
            actions: job.actions.iter().map(ToString::to_string).collect(),
            dry_run: job.dry_run,
            status: job.status.as_str().to_owned(),
            submitted_at: format_time(job.submitted_at),
            started_at: job.started_at.map(format_time),
            completed_at: job.completed_at.map(format_time),
            results: job
                .is_terminal()
                .then(|| job.results.iter().map(ResultBody::from).collect()),
            error: job.error.clone(),
            options: write_options(&job.options),
            attempt: job.attempt,
            progress: job.progress.as_ref().map(ProgressBody::from),
        }
    }
}

impl From<&ActionResult> for ResultBody {
    fn from(result: &ActionResult) -> Self {
        let metrics = result.metrics.iter();
        Self {
            action: result.action.to_string(),
            success: result.outcome.is_ok(),
            message: result.outcome.as_ref().ok().cloned(),
            error: result.outcome.as_ref().err().cloned(),
            elapsed_seconds: (result.elapsed_seconds * 1000.0).round() / 1000.0,
            metrics: metrics
                .filter_map(|(name, metric)| Some((name.clone(), number(*metric)?)))
                .collect(),
            predicted: result.predicted.clone(),
            preview: result.preview.as_ref().map(PreviewBody::from),
        }
    }
}

/// JSON knows no infinities; a metric that is none is left out.
pub(super) fn number(metric: Metric) -> Option<Number> {
    match metric {
        Metric::Count(count) => Some(count.into()),
        Metric::Ratio(ratio) => Number::from_f64(ratio),
    }
}

impl From<&Preview> for PreviewBody {
    fn from(preview: &Preview) -> Self {
        Self {
            source: preview.source.as_str().to_owned(),
            note: preview.note.clone(),
            numbers: preview.numbers.clone(),
        }
    }
}

impl From<&Progress> for ProgressBody {
    fn from(progress: &Progress) -> Self {
        Self {
            action: progress.action.to_string(),
            done: progress.done,
            total: progress.total,
            unit: progress.unit.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
