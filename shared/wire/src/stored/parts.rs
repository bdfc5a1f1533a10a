//! The nested parts of a job document: options, results, metrics and previews.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use snowpack_domain::{
    Action, ActionResult, JobOptions, Metric, OptionValue, Preview, PreviewSource, Timestamp,
};

use super::StoredError;

/// Options by action, then by name.
pub(super) type Options = BTreeMap<String, BTreeMap<String, ValueDocument>>;

/// A fraction, written as text: JSON has no infinities, and not every parser reads back the same bits.
#[derive(Clone, Copy)]
pub(super) struct Fraction(f64);

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ValueDocument {
    Bool(bool),
    Int(i64),
    Float(Fraction),
    Text(String),
    Ints(Vec<i64>),
    Time(i64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultDocument {
    action: String,
    outcome: OutcomeDocument,
    elapsed_seconds: Fraction,
    metrics: BTreeMap<String, MetricDocument>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    predicted: BTreeMap<String, u64>,
    preview: Option<PreviewDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeDocument {
    Success(String),
    Failure(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MetricDocument {
    Count(u64),
    Ratio(Fraction),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewDocument {
    source: String,
    numbers: BTreeMap<String, Option<u64>>,
    note: Option<String>,
}

pub(super) fn action(name: &str) -> Result<Action, StoredError> {
    Action::parse(name).map_err(|_| StoredError::bad("action", name))
}

pub(super) fn write_options(options: &JobOptions) -> Options {
    let mut written = Options::new();
    for (action, name, value) in options.iter() {
        let value = match value {
            OptionValue::Bool(value) => ValueDocument::Bool(*value),
            OptionValue::Int(value) => ValueDocument::Int(*value),
            OptionValue::Float(value) => ValueDocument::Float(Fraction(*value)),
            OptionValue::Text(value) => ValueDocument::Text(value.clone()),
            OptionValue::Ints(values) => ValueDocument::Ints(values.clone()),
            OptionValue::Time(time) => ValueDocument::Time(time.as_micros()),
        };
        written
            .entry(action.to_string())
            .or_default()
            .insert(name.to_owned(), value);
    }
    written
}

pub(super) fn read_options(written: Options) -> Result<JobOptions, StoredError> {
    let mut options = JobOptions::default();
    for (action_name, values) in written {
        let action = action(&action_name)?;
        for (name, value) in values {
            let value = match value {
                ValueDocument::Bool(value) => OptionValue::Bool(value),
                ValueDocument::Int(value) => OptionValue::Int(value),
                ValueDocument::Float(value) => OptionValue::Float(value.0),
                ValueDocument::Text(value) => OptionValue::Text(value),
                ValueDocument::Ints(values) => OptionValue::Ints(values),
                ValueDocument::Time(micros) => OptionValue::Time(Timestamp::from_micros(micros)),
            };
            options
                .set(action, &name, value)
                .map_err(|refused| StoredError::bad("option", refused.to_string()))?;
        }
    }
    Ok(options)
}

impl From<&ActionResult> for ResultDocument {
    fn from(result: &ActionResult) -> Self {
        let metric = |metric: &Metric| match metric {
            Metric::Count(count) => MetricDocument::Count(*count),
            Metric::Ratio(ratio) => MetricDocument::Ratio(Fraction(*ratio)),
        };
        Self {
            action: result.action.to_string(),
            outcome: match &result.outcome {
                Ok(message) => OutcomeDocument::Success(message.clone()),
                Err(cause) => OutcomeDocument::Failure(cause.clone()),
            },
            elapsed_seconds: Fraction(result.elapsed_seconds),
            metrics: result
                .metrics
                .iter()
                .map(|(name, value)| (name.clone(), metric(value)))
                .collect(),
            predicted: result.predicted.clone(),
            preview: result.preview.as_ref().map(PreviewDocument::from),
        }
    }
}

impl ResultDocument {
    pub(super) fn into_result(self) -> Result<ActionResult, StoredError> {
        let metric = |metric: MetricDocument| match metric {
            MetricDocument::Count(count) => Metric::Count(count),
            MetricDocument::Ratio(ratio) => Metric::Ratio(ratio.0),
        };
        Ok(ActionResult {
            action: action(&self.action)?,
            outcome: match self.outcome {
                OutcomeDocument::Success(message) => Ok(message),
                OutcomeDocument::Failure(cause) => Err(cause),
            },
            elapsed_seconds: self.elapsed_seconds.0,
            metrics: self
                .metrics
                .into_iter()
                .map(|(name, value)| (name, metric(value)))
                .collect(),
            predicted: self.predicted,
            preview: self.preview.map(PreviewDocument::into_preview).transpose()?,
        })
    }
}

impl From<&Preview> for PreviewDocument {
    fn from(preview: &Preview) -> Self {
        Self {
            source: preview.source.as_str().to_owned(),
            numbers: preview.numbers.clone(),
            note: preview.note.clone(),
        }
    }
}

impl PreviewDocument {
    pub(super) fn into_preview(self) -> Result<Preview, StoredError> {
        let source = [PreviewSource::Live, PreviewSource::Cached, PreviewSource::None]
            .into_iter()
            .find(|source| source.as_str() == self.source)
            .ok_or_else(|| StoredError::bad("preview source", &self.source))?;
        Ok(Preview {
            source,
            numbers: self.numbers,
            note: self.note,
        })
    }
}
