//! The document keeps its form, keeps everything, and refuses what it does not know.

use std::collections::BTreeMap;

use proptest::prelude::*;
use snowpack_domain::{
    Action, ActionResult, Fence, Job, JobId, JobOptions, JobStatus, Lease, Metric, OptionValue, Preview,
    PreviewSource, Progress, RemoteRun, TableId, Timestamp,
};

use super::*;

const GOLDEN: &str = include_str!("job-format-4.json");
const FORMAT_3: &str = include_str!("job-format-3.json");
const FORMAT_2: &str = include_str!("job-format-2.json");
const FORMAT_1: &str = include_str!("job-format-1.json");

fn full_options() -> JobOptions {
    let mut options = JobOptions::default();
    let time = Timestamp::from_micros(1_777_127_400_000_001);
    for (action, name, value) in [
        (
            Action::RewriteDataFiles,
            "where",
            OptionValue::Text("day = '2026-04-25'".into()),
        ),
        (Action::RewriteDataFiles, "min-input-files", OptionValue::Int(2)),
        (Action::RewriteDataFiles, "rewrite-all", OptionValue::Bool(true)),
        (
            Action::RewriteDataFiles,
            "delete-ratio-threshold",
            OptionValue::Float(0.3),
        ),
        (
            Action::ExpireSnapshots,
            "snapshot_ids",
            OptionValue::Ints(vec![1, i64::MAX]),
        ),
        (Action::ExpireSnapshots, "older_than", OptionValue::Time(time)),
    ] {
        options.set(action, name, value).unwrap();
    }
    options
}

fn full_job() -> Job {
    let preview = Preview {
        source: PreviewSource::Live,
        numbers: BTreeMap::from([("files_in".to_owned(), Some(847)), ("orphans".to_owned(), None)]),
        note: Some("as of snapshot 5".into()),
    };
    let metrics = BTreeMap::from([
        ("bytes_in".to_owned(), Metric::Count(u64::MAX)),
        ("ratio".to_owned(), Metric::Ratio(0.1 + 0.2)),
    ]);
    Job {
        id: JobId::from_u128(0x0196_6d3b),
        table: TableId::new("a.b-c", "offers").unwrap(),
        actions: vec![Action::RewriteDataFiles, Action::ExpireSnapshots],
        options: full_options(),
        dry_run: false,
        status: JobStatus::Running,
        submitted_at: Timestamp::from_micros(1_777_127_400_000_000),
        started_at: Some(Timestamp::from_micros(1_777_127_401_000_000)),
        completed_at: Some(Timestamp::from_micros(1_777_127_402_000_000)),
        results: vec![
            ActionResult {
                action: Action::RewriteDataFiles,
                outcome: Ok("Compacted 847 files into 52 files".into()),
                elapsed_seconds: 124.8,
                metrics,
                predicted: BTreeMap::from([("files_in".to_owned(), 847)]),
                preview: Some(preview),
            },
            ActionResult {
                action: Action::ExpireSnapshots,
                outcome: Err("\"no\"\n".into()),
                elapsed_seconds: 0.0,
                metrics: BTreeMap::new(),
                predicted: BTreeMap::new(),
                preview: None,
            },
        ],
        error: Some("no".into()),
        attempt: 2,
        slice: 3,
        fence: Fence::new(41),
        lease: Some(Lease {
            worker: "w-1".into(),
            expires_at: Timestamp::from_micros(1_777_127_580_000_000),
        }),
        progress: Some(Progress {
            action: Action::ExpireSnapshots,
            done: 3,
            total: 9,
            unit: "file_groups".into(),
        }),
        enqueued_at: Some(Timestamp::from_micros(1_777_127_400_500_000)),
        last_fault: Some("throttled".into()),
        remote_run: Some(RemoteRun {
            action: Action::ExpireSnapshots,
            id: "00f1".into(),
            started_at: Timestamp::from_micros(1_777_127_401_500_000),
            predicted: BTreeMap::from([("snapshots".to_owned(), 9)]),
        }),
    }
}

#[test]
fn the_document_keeps_its_form() {
    assert_eq!(encode_job(&full_job()), GOLDEN.trim_end());
    assert_eq!(decode_job(GOLDEN).unwrap(), full_job());
}

#[test]
fn older_formats_are_read() {
    let mut older = full_job();
    older.results[0].predicted.clear();
    older.remote_run.as_mut().unwrap().predicted.clear();
    assert_eq!(decode_job(FORMAT_3).unwrap(), older);
    older.remote_run = None;
    assert_eq!(decode_job(FORMAT_2).unwrap(), older);
    older.last_fault = None;
    assert_eq!(decode_job(FORMAT_1).unwrap(), older);
}

#[test]
fn other_formats_and_unknown_members_are_refused() {
    for format in [0, JOB_FORMAT + 1] {
        let other = GOLDEN.replacen("\"format\":4", &format!("\"format\":{format}"), 1);
        assert!(matches!(decode_job(&other), Err(StoredError::UnknownFormat(named)) if named == format));
    }
    let unknown = GOLDEN.replacen("\"attempt\"", "\"priority\":1,\"attempt\"", 1);
    assert!(matches!(decode_job(&unknown), Err(StoredError::Malformed(_))));
    for text in ["", "null", "{}", "[1]", &GOLDEN[..GOLDEN.len() / 2]] {
        assert!(
            matches!(decode_job(text), Err(StoredError::Malformed(_))),
            "{text}"
        );
    }
}

#[test]
fn values_no_job_can_have_are_refused_by_name() {
    for (from, to, member) in [
        ("\"running\"", "\"paused\"", "status"),
        ("\"offers\"", "\"of/fers\"", "table"),
        ("\"rewrite_data_files\",\"exp", "\"compact\",\"exp", "action"),
        ("\"live\"", "\"dead\"", "preview source"),
        ("\"min-input-files\"", "\"min-input\"", "option"),
        ("\"id\":\"0", "\"id\":\"X", "id"),
    ] {
        let changed = GOLDEN.replacen(from, to, 1);
        assert_ne!(changed, GOLDEN, "{from}");
        let refused = decode_job(&changed).unwrap_err();
        assert!(
            matches!(&refused, StoredError::BadValue { member: named, .. } if *named == member),
            "{refused}"
        );
    }
}

#[test]
fn fractions_that_json_lacks_survive() {
    let mut job = full_job();
    job.results[0].elapsed_seconds = f64::INFINITY;
    assert_eq!(decode_job(&encode_job(&job)).unwrap(), job);
}

#[test]
fn cursors_of_other_lists_and_garbage_are_refused() {
    let id = JobId::from_u128(7);
    let time = Timestamp::from_micros(-5);
    let submitted = Cursor::Submitted(time, id.clone()).encode();
    assert_eq!(Cursor::decode_job_position(&submitted, false), Some((time, id)));
    assert_eq!(Cursor::decode_job_position(&submitted, true), None);
    assert_eq!(Cursor::decode_table(&submitted), None);
    let table = TableId::new("a.b", "c").unwrap();
    assert_eq!(
        Cursor::decode_table(&Cursor::Table(table.clone()).encode()),
        Some(table)
    );
    for garbage in [
        "",
        ".",
        "s",
        "s.",
        "s.1",
        "s.1.x",
        "x.1.2",
        "t.plain",
        "s.01.00000000000000000000000000000007",
    ] {
        assert_eq!(Cursor::decode(garbage), None, "{garbage}");
    }
}

proptest! {
    #[test]
    fn any_text_and_number_survives(
        text in any::<String>(),
        ratio in any::<f64>().prop_filter("NaN is unequal to itself", |ratio| !ratio.is_nan()),
        micros in any::<i64>(),
        count in any::<u64>(),
    ) {
        let mut job = full_job();
        job.error = Some(text.clone());
        job.submitted_at = Timestamp::from_micros(micros);
        job.results[0].metrics.insert(text, Metric::Ratio(ratio));
        job.results[0].metrics.insert("count".into(), Metric::Count(count));
        prop_assert_eq!(decode_job(&encode_job(&job)).unwrap(), job);
    }
}
