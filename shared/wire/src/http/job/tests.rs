//! Golden job objects: pending, running, completed, failed, cancelled, dry run.

use std::collections::BTreeMap;

use snowpack_domain::{
    Action, ActionResult, Fence, Job, JobId, JobOptions, JobStatus, Metric, OptionValue, Preview,
    PreviewSource, Progress, TableId, Timestamp,
};

use super::JobBody;

const SUBMITTED: i64 = 1_777_127_400_000_000;

fn job(status: JobStatus) -> Job {
    let ended = status
        .is_terminal()
        .then(|| Timestamp::from_micros(SUBMITTED + 128_000_500));
    Job {
        id: JobId::from_u128(0x0196_6d3c_0000_7000_8000_0000_0000_0001),
        table: TableId::new("offer_service", "offers").unwrap(),
        actions: vec![Action::RewriteDataFiles, Action::ExpireSnapshots],
        options: JobOptions::default(),
        dry_run: false,
        status,
        submitted_at: Timestamp::from_micros(SUBMITTED),
        started_at: None,
        completed_at: ended,
        results: Vec::new(),
        error: None,
        attempt: 0,
        slice: 0,
        fence: Fence::default(),
        lease: None,
        progress: None,
        enqueued_at: None,
        last_fault: None,
        remote_run: None,
        note: None,
    }
}

fn result(action: Action, outcome: Result<&str, &str>, elapsed_seconds: f64) -> ActionResult {
    ActionResult {
        action,
        outcome: outcome.map(str::to_owned).map_err(str::to_owned),
        elapsed_seconds,
        metrics: BTreeMap::new(),
        predicted: BTreeMap::new(),
        preview: None,
    }
}

fn check(job: &Job, golden: &str) {
    let body = JobBody::from(job);
    let compact: String = golden.lines().map(str::trim).collect();
    assert_eq!(serde_json::to_string(&body).unwrap(), compact);
    assert_eq!(serde_json::from_str::<JobBody>(&compact).unwrap(), body);
}

#[test]
fn pending() {
    check(
        &job(JobStatus::Pending),
        r#"{"job_id":"01966d3c000070008000000000000001","database":"offer_service","table_name":"offers",
        "actions":["rewrite_data_files","expire_snapshots"],"dry_run":false,"status":"pending",
        "submitted_at":"2026-04-25T14:30:00+00:00","started_at":null,"completed_at":null,"results":null,
        "error":null,"options":{},"attempt":0,"progress":null}"#,
    );
}

#[test]
fn running_shows_progress_and_no_results() {
    let mut job = job(JobStatus::Running);
    job.started_at = Some(Timestamp::from_micros(SUBMITTED + 1));
    job.attempt = 1;
    job.options
        .set(Action::ExpireSnapshots, "retain_last", OptionValue::Int(2))
        .unwrap();
    job.results = vec![result(
        Action::RewriteDataFiles,
        Ok("Compacted 847 files into 52 files"),
        124.8,
    )];
    job.progress = Some(Progress {
        action: Action::ExpireSnapshots,
        done: 1,
        total: 4,
        unit: "files".to_owned(),
    });
    check(
        &job,
        r#"{"job_id":"01966d3c000070008000000000000001","database":"offer_service","table_name":"offers",
        "actions":["rewrite_data_files","expire_snapshots"],"dry_run":false,"status":"running",
        "submitted_at":"2026-04-25T14:30:00+00:00","started_at":"2026-04-25T14:30:00.000001+00:00",
        "completed_at":null,"results":null,"error":null,"options":{"expire_snapshots":{"retain_last":2}},
        "attempt":1,"progress":{"action":"expire_snapshots","done":1,"total":4,"unit":"files"}}"#,
    );
}

#[test]
fn completed() {
    let mut job = job(JobStatus::Completed);
    let mut rewrite = result(
        Action::RewriteDataFiles,
        Ok("Compacted 847 files into 52 files"),
        124.800_04,
    );
    rewrite.metrics.insert("files_in".to_owned(), Metric::Count(847));
    rewrite.metrics.insert("ratio".to_owned(), Metric::Ratio(0.5));
    rewrite
        .metrics
        .insert("undefined".to_owned(), Metric::Ratio(f64::NAN));
    job.results = vec![
        rewrite,
        result(Action::ExpireSnapshots, Ok("Expired 138 snapshots"), 3.2),
    ];
    check(
        &job,
        r#"{"job_id":"01966d3c000070008000000000000001","database":"offer_service","table_name":"offers",
        "actions":["rewrite_data_files","expire_snapshots"],"dry_run":false,"status":"completed",
        "submitted_at":"2026-04-25T14:30:00+00:00","started_at":null,
        "completed_at":"2026-04-25T14:32:08.000500+00:00","results":[
        {"action":"rewrite_data_files","success":true,"message":"Compacted 847 files into 52 files","error":null,
        "elapsed_seconds":124.8,"metrics":{"files_in":847,"ratio":0.5}},
        {"action":"expire_snapshots","success":true,"message":"Expired 138 snapshots","error":null,
        "elapsed_seconds":3.2,"metrics":{}}],"error":null,"options":{},"attempt":0,"progress":null}"#,
    );
}

#[test]
fn failed_keeps_what_ran() {
    let mut job = job(JobStatus::Failed);
    job.results = vec![result(
        Action::RewriteDataFiles,
        Err("file s3://b/x.parquet is missing"),
        0.25,
    )];
    job.error = Some("file s3://b/x.parquet is missing".to_owned());
    check(
        &job,
        r#"{"job_id":"01966d3c000070008000000000000001","database":"offer_service","table_name":"offers",
        "actions":["rewrite_data_files","expire_snapshots"],"dry_run":false,"status":"failed",
        "submitted_at":"2026-04-25T14:30:00+00:00","started_at":null,
        "completed_at":"2026-04-25T14:32:08.000500+00:00","results":[
        {"action":"rewrite_data_files","success":false,"message":null,"error":"file s3://b/x.parquet is missing",
        "elapsed_seconds":0.25,"metrics":{}}],"error":"file s3://b/x.parquet is missing","options":{},"attempt":0,
        "progress":null}"#,
    );
}

#[test]
fn cancelled_before_anything_ran_has_an_empty_list() {
    check(
        &job(JobStatus::Cancelled),
        r#"{"job_id":"01966d3c000070008000000000000001","database":"offer_service","table_name":"offers",
        "actions":["rewrite_data_files","expire_snapshots"],"dry_run":false,"status":"cancelled",
        "submitted_at":"2026-04-25T14:30:00+00:00","started_at":null,
        "completed_at":"2026-04-25T14:32:08.000500+00:00","results":[],"error":null,"options":{},"attempt":0,
        "progress":null}"#,
    );
}

#[test]
fn dry_run_has_previews() {
    let mut job = job(JobStatus::Completed);
    job.dry_run = true;
    job.actions = vec![Action::RemoveOrphanFiles];
    let mut previewed = result(Action::RemoveOrphanFiles, Ok("dry run"), 0.0);
    previewed.preview = Some(Preview {
        source: PreviewSource::Live,
        numbers: BTreeMap::from([("orphans".to_owned(), None), ("files_in".to_owned(), Some(3))]),
        note: Some("only a listing can tell".to_owned()),
    });
    job.results = vec![previewed];
    check(
        &job,
        r#"{"job_id":"01966d3c000070008000000000000001","database":"offer_service","table_name":"offers",
        "actions":["remove_orphan_files"],"dry_run":true,"status":"completed",
        "submitted_at":"2026-04-25T14:30:00+00:00","started_at":null,
        "completed_at":"2026-04-25T14:32:08.000500+00:00","results":[
        {"action":"remove_orphan_files","success":true,"message":"dry run","error":null,"elapsed_seconds":0.0,
        "metrics":{},"preview":{"source":"live","note":"only a listing can tell","files_in":3,"orphans":null}}],
        "error":null,"options":{},"attempt":0,"progress":null}"#,
    );
}
