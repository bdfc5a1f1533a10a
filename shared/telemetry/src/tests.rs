//! Lines as they come out of the whole: logs, their context, metrics.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing_subscriber::util::SubscriberInitExt;

use super::*;
use crate::events::{ACTION_COMPLETED, EVENTS, Event, JOB_STARTED, JOB_SUBMITTED, TABLE_HEALTH};
use crate::metrics::{METRICS, Metric, NAMESPACE};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `emit` leads to.
fn lines_of(filter: &str, metrics: Option<Emf>, emit: impl FnOnce()) -> Vec<Value> {
    let lines = Lines::default();
    let writer = lines.clone();
    let guard = json(LogFilter::parse(filter).unwrap().to_env(), metrics, move || {
        writer.clone()
    })
    .set_default();
    emit();
    drop(guard);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn emf(per_table: bool) -> Option<Emf> {
    let deployment = "lake".to_owned();
    Some(Emf {
        deployment,
        per_table,
    })
}

#[test]
fn lines_are_json_objects_and_the_filter_counts() {
    let lines = lines_of("info,noisy=off", None, || {
        tracing::info!(
            event = JOB_SUBMITTED.name,
            job_id = "a\nb",
            ratio = f64::NAN,
            "and a text"
        );
        tracing::debug!("too fine");
        tracing::info!(target: "noisy", "too loud");
    });
    let [line] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (&line["event"], &line["job_id"]),
        (&json!("job_submitted"), &json!("a\nb"))
    );
    assert_eq!(
        (&line["ratio"], &line["message"]),
        (&Value::Null, &json!("and a text"))
    );
    assert_eq!(
        (&line["level"], &line["target"]),
        (&json!("INFO"), &json!("snowpack_telemetry::tests"))
    );
    chrono::DateTime::parse_from_rfc3339(line["timestamp"].as_str().unwrap()).unwrap();
}

#[test]
fn lines_carry_the_fields_of_their_spans_whatever_the_filter() {
    let lines = lines_of("warn", None, || {
        let _request = request_span("r1").entered();
        let _foreign = tracing::error_span!(target: "hyper", "connection", header = "secret").entered();
        let _job = tracing::error_span!("job", job_id = "j1", attempt = 1).entered();
        tracing::warn!(attempt = 2, "inner values count");
        tracing::info!("too fine");
    });
    let [line] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    let members: BTreeSet<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "attempt",
        "job_id",
        "level",
        "message",
        "request_id",
        "target",
        "timestamp",
    ];
    assert_eq!(members, BTreeSet::from(expected));
    assert_eq!((&line["request_id"], &line["attempt"]), (&json!("r1"), &json!(2)));
}

#[test]
fn metrics_are_taken_from_events_whatever_the_filter() {
    let lines = lines_of("off", emf(false), || {
        let _action = tracing::error_span!("action", action = "expire_snapshots", table = "db.t").entered();
        tracing::info!(
            event = ACTION_COMPLETED.name,
            status = "completed",
            elapsed_seconds = 1.5,
            bytes_reclaimed = 7_u64
        );
        tracing::info!(event = "of no metric");
        tracing::info!("no event");
    });
    let [line] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    let about = line["_aws"].clone();
    assert!(about["Timestamp"].as_i64().unwrap() > 1_600_000_000_000);
    let directive = |dimensions: Value, name: &str, unit: &str| json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": [{"Name": name, "Unit": unit}]});
    let both = json!([["deployment", "action", "status"]]);
    let by_action = json!([["deployment"], ["deployment", "action"]]);
    assert_eq!(
        about["CloudWatchMetrics"],
        json!([
            directive(both.clone(), "Actions", "Count"),
            directive(both, "ActionDuration", "Seconds"),
            directive(by_action, "BytesReclaimed", "Bytes"),
        ])
    );
    let mut members = line.clone();
    members.as_object_mut().unwrap().remove("_aws");
    let expected = json!({
        "deployment": "lake", "action": "expire_snapshots", "status": "completed",
        "Actions": 1, "ActionDuration": 1.5, "BytesReclaimed": 7,
    });
    assert_eq!(
        members, expected,
        "neither the table nor the job is among the members"
    );
}

#[test]
fn tables_are_told_apart_only_when_asked_for() {
    let emit = || {
        tracing::debug!(
            event = TABLE_HEALTH.name,
            table = "db.t",
            data_files = 4_u64,
            snapshots = 2_u64
        )
    };
    assert_eq!(lines_of("info", emf(false), emit), [] as [Value; 0]);
    let lines = lines_of("info", emf(true), emit);
    let [line] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (&line["table"], &line["TableDataFiles"]),
        (&json!("db.t"), &json!(4))
    );
    assert_eq!(
        line["_aws"]["CloudWatchMetrics"][0]["Dimensions"],
        json!([["deployment", "table"]])
    );
}

#[test]
fn a_metric_without_its_value_or_a_dimension_is_left_out() {
    let lines = lines_of("off", emf(false), || {
        tracing::info!(event = JOB_STARTED.name, queue_seconds = "long");
        tracing::info!(event = ACTION_COMPLETED.name, elapsed_seconds = 1.0);
    });
    assert_eq!(lines, [] as [Value; 0]);
}

/// The fullest event that this metric is taken from: its value, a number no other has, and every dimension.
fn record_of(metric: &Metric, event: &Event, value: usize) -> Record {
    let member = match metric.value {
        metrics::Value::One => None,
        metrics::Value::Field(name) => Some((name, json!(value))),
    };
    let dimensions = metric.dimensions.concat();
    let dimensions = dimensions
        .into_iter()
        .map(|name| (name, json!(format!("a {name}"))));
    Record::with(
        [("event", json!(event.name))]
            .into_iter()
            .chain(dimensions)
            .chain(member),
    )
}

#[test]
fn every_metric_is_reported_of_each_of_its_events() {
    let emf = emf(true).unwrap();
    for (value, metric) in METRICS.iter().enumerate() {
        let sets = metric.dimensions.iter();
        let sets: Vec<_> = sets.map(|set| [&["deployment"], *set].concat()).collect();
        for event in metric.events {
            let record = record_of(metric, event, value);
            let line = emf.line(&record, Utc::now()).expect(metric.name);
            let line: Value = serde_json::from_str(&line).unwrap();
            let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
            let expected = json!({
                "Namespace": NAMESPACE, "Dimensions": sets,
                "Metrics": [{"Name": metric.name, "Unit": metric.unit.as_str()}],
            });
            assert!(
                directives.contains(&expected),
                "{} of {}: {line}",
                metric.name,
                event.name
            );
            let reported = match metric.value {
                metrics::Value::One => 1,
                metrics::Value::Field(_) => value,
            };
            assert_eq!(line[metric.name], json!(reported), "{}", event.name);
            assert_eq!(line["deployment"], "lake");
            for dimension in metric.dimensions.concat() {
                assert_eq!(line[dimension], format!("a {dimension}"), "{}", metric.name);
            }
        }
    }
}

/// The limits of the format: 100 metrics and 30 dimensions in a directive, 1 MB in a line.
#[test]
fn the_fullest_event_is_within_the_limits_of_the_format() {
    for event in EVENTS {
        let metrics = METRICS.iter().filter(|metric| metric.events.contains(event));
        assert!(metrics.count() < 100, "{}", event.name);
    }
    assert!(
        METRICS
            .iter()
            .flat_map(|metric| metric.dimensions)
            .all(|set| set.len() < 30)
    );
}
