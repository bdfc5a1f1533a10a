//! `docs/observability.md` against the definitions.

use crate::events::EVENTS;
use crate::metrics::{DEPLOYMENT, METRICS, Value};

const DOCUMENTATION: &str = include_str!("../../../docs/observability.md");

/// The rows of the table below this heading, its head left out.
fn rows(heading: &str) -> Vec<&'static str> {
    let (_, section) = DOCUMENTATION.split_once(heading).expect(heading);
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    lines.skip(2).take_while(|line| line.starts_with('|')).collect()
}

/// Names between backticks, separated by commas.
fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[test]
fn every_event_and_no_other_is_documented() {
    let expected: Vec<_> = EVENTS
        .iter()
        .map(|event| {
            let fields = quoted(event.fields.iter().copied());
            format!("| `{}` | {} | {fields} |", event.name, event.meaning)
        })
        .collect();
    assert!(
        rows("## Events") == expected,
        "the table must be:\n{}",
        expected.join("\n")
    );
}

#[test]
fn every_metric_and_no_other_is_documented() {
    let expected: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let sets = metric.dimensions.iter();
            let sets = sets.map(|set| quoted([DEPLOYMENT].into_iter().chain(set.iter().copied())));
            let sets: Vec<_> = sets.collect();
            let events = quoted(metric.events.iter().map(|event| event.name));
            let source = match metric.value {
                Value::One => events,
                Value::Field(field) => format!("`{field}` of {events}"),
            };
            let (name, unit, meaning) = (metric.name, metric.unit.as_str(), metric.meaning);
            let (sets, stability) = (sets.join("; "), metric.stability.as_str());
            format!("| `{name}` | {meaning} | {unit} | {sets} | {source} | {stability} |")
        })
        .collect();
    assert!(
        rows("## Metrics") == expected,
        "the table must be:\n{}",
        expected.join("\n")
    );
}
