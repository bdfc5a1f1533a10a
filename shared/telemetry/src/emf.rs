//! Metrics as lines in CloudWatch's embedded metric format: CloudWatch reads the values out of the log, so that
//! nothing has to be called, collected or flushed.
//!
//! Follows the specification "Embedded metric format" of the CloudWatch user guide.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::metrics::{self, DEPLOYMENT, METRICS, Metric, NAMESPACE};
use crate::record::Record;

/// What is reported, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emf {
    /// The value of the dimension [`DEPLOYMENT`].
    pub deployment: String,
    /// Whether metrics with a series for each table are reported too.
    pub per_table: bool,
}

impl Emf {
    /// The line with every metric taken from this event, ended; `None` when there is none.
    pub(crate) fn line(&self, record: &Record, now: DateTime<Utc>) -> Option<String> {
        let event = record.event()?;
        let mut members = Map::new();
        let mut directives = Vec::new();
        for metric in METRICS {
            let wanted = self.per_table || !metric.is_per_table();
            if wanted
                && metric.events.iter().any(|known| known.name == event)
                && let Some(value) = value_of(metric, record)
                && let Some(dimensions) = dimensions_of(metric, record, &mut members)
            {
                directives.push(json!({
                    "Namespace": NAMESPACE,
                    "Dimensions": dimensions,
                    "Metrics": [{"Name": metric.name, "Unit": metric.unit.as_str()}],
                }));
                members.insert(metric.name.to_owned(), value);
            }
        }
        if directives.is_empty() {
            return None;
        }
        members.insert(DEPLOYMENT.to_owned(), Value::from(self.deployment.as_str()));
        let about = json!({"Timestamp": now.timestamp_millis(), "CloudWatchMetrics": directives});
        members.insert("_aws".to_owned(), about);
        Some(format!("{}\n", Value::Object(members)))
    }
}

fn value_of(metric: &Metric, record: &Record) -> Option<Value> {
    match metric.value {
        metrics::Value::One => Some(Value::from(1)),
        metrics::Value::Field(name) => record.get(name).filter(|value| value.is_number()).cloned(),
    }
}

/// The metric's sets of dimensions, whose values become members of the line. A set of which the event lacks a
/// member is left out; `None` when all of them are.
fn dimensions_of(metric: &Metric, record: &Record, members: &mut Map<String, Value>) -> Option<Vec<Value>> {
    let mut sets = Vec::new();
    for set in metric.dimensions {
        let values: Option<Vec<_>> = set
            .iter()
            .map(|name| {
                record
                    .get(name)
                    .filter(|value| value.is_string())
                    .map(|value| (*name, value))
            })
            .collect();
        let Some(values) = values else { continue };
        for (name, value) in values {
            members.insert(name.to_owned(), value.clone());
        }
        let names = [DEPLOYMENT].into_iter().chain(set.iter().copied());
        sets.push(Value::from(names.collect::<Vec<_>>()));
    }
    (!sets.is_empty()).then_some(sets)
}
