//! What a finished action tells its caller: a sentence for a person and numbers by name.

use std::collections::BTreeMap;

use snowpack_domain::Metric;
use snowpack_plan::{Numbers, told};

/// The outcome of an action that finished.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Report {
    /// The sentence.
    pub(crate) message: String,
    /// The numbers (engine.md, Metrics in results).
    pub(crate) metrics: BTreeMap<String, Metric>,
    /// What the plan expected of them.
    pub(crate) predicted: BTreeMap<String, u64>,
}

impl Report {
    /// A report with these counts.
    pub(crate) fn new<'a>(message: String, counts: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let metrics = counts
            .into_iter()
            .map(|(name, count)| (name.to_owned(), Metric::Count(count)));
        Self {
            message,
            metrics: metrics.collect(),
            predicted: BTreeMap::new(),
        }
    }

    /// The report with one more count.
    pub(crate) fn with(mut self, name: &str, count: u64) -> Self {
        self.metrics.insert(name.to_owned(), Metric::Count(count));
        self
    }

    /// The report beside what the plan expected, as far as it could tell.
    pub(crate) fn predicted(mut self, forecast: Numbers) -> Self {
        self.predicted = told(forecast);
        self
    }
}

/// `1 file`, `2 files`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
