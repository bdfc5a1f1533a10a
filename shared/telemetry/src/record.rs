//! What an event says, together with the spans it happened in: one flat object.

use std::fmt;

use serde_json::{Number, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// How the targets of our own crates begin. Only their spans lend fields to events, and only their events are
/// metrics: what other crates put into theirs is not ours to publish.
pub(crate) const OWN: &str = "snowpack";

/// Fields by name, in the order they were first given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record(Vec<(&'static str, Value)>);

impl Record {
    /// The event's fields after those of the spans around it, the outermost first. Of a name given twice the inner
    /// value counts.
    fn of<S>(event: &Event<'_>, context: &Context<'_, S>) -> Self
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut record = Self::default();
        let spans = context.event_scope(event).into_iter();
        for span in spans.flat_map(|scope| scope.from_root()) {
            if let Some(Self(fields)) = span.extensions().get() {
                for (name, value) in fields {
                    record.set(name, value.clone());
                }
            }
        }
        event.record(&mut record);
        record
    }

    /// A record of these fields.
    #[cfg(test)]
    pub(crate) fn with(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self(fields.into_iter().collect())
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let mut fields = self.fields();
        fields.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Every field.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// The name of the event, if it is one of [`EVENTS`](crate::events::EVENTS).
    pub fn event(&self) -> Option<&str> {
        self.get("event").and_then(Value::as_str)
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), Value::String(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), Value::from(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::from(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::from(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), Value::from(value));
    }
    /// JSON has no infinities: such a value is null.
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(
            field.name(),
            Number::from_f64(value).map_or(Value::Null, Value::Number),
        );
    }
}

/// Remembers the fields of our own spans, for the layers after it.
pub(crate) struct Spans;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !attributes.metadata().target().starts_with(OWN) {
            return;
        }
        let mut record = Record::default();
        attributes.record(&mut record);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(record);
        }
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(record) = span.extensions_mut().get_mut::<Record>()
        {
            values.record(record);
        }
    }
}

/// Hands every event to a function. Stands on [`Spans`].
pub(crate) struct Each<F>(pub(crate) F);

impl<S, F> Layer<S> for Each<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Fn(&Metadata<'_>, &Record) + 'static,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        (self.0)(event.metadata(), &Record::of(event, &context));
    }
}
