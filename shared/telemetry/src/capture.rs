//! Events and metrics kept in memory, for tests of whoever emits them.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use chrono::Utc;
use serde_json::Value;
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Level};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::emf::Emf;
use crate::events::EVENTS;
use crate::record::{Each, OWN, Record, Spans};

/// While there is one subscriber only, `tracing` asks that of the thread which comes to an event first, and keeps its
/// answer for all threads: a thread that captures nothing would silence one that does. With a second one, which is no
/// thread's, it asks each time.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Registry::default()));

/// Everything that our crates log on this thread while it lives.
#[derive(Debug)]
pub struct Capture {
    records: Arc<Mutex<Vec<Record>>>,
    _guard: DefaultGuard,
}

impl Capture {
    /// Begins.
    pub fn start() -> Self {
        LazyLock::force(&SECOND);
        let records = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&records);
        let keep = Each(move |_: &tracing::Metadata<'_>, record: &Record| {
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(record.clone());
        });
        let own = filter_fn(|metadata| metadata.target().starts_with(OWN));
        let own = own.and(LevelFilter::from_level(Level::DEBUG));
        let subscriber = tracing_subscriber::registry()
            .with(Spans)
            .with(keep.with_filter(own));
        Self {
            records,
            _guard: subscriber.set_default(),
        }
    }

    /// The events so far, without lines that are no event.
    pub fn events(&self) -> Vec<Record> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records
            .iter()
            .filter(|record| record.event().is_some())
            .cloned()
            .collect()
    }

    /// The names of the events so far.
    pub fn names(&self) -> Vec<String> {
        let events = self.events();
        events
            .iter()
            .filter_map(Record::event)
            .map(str::to_owned)
            .collect()
    }

    /// The events of that name so far.
    pub fn named(&self, name: &str) -> Vec<Record> {
        let mut events = self.events();
        events.retain(|record| record.event() == Some(name));
        events
    }

    /// The lines of metrics so far, those of single tables included.
    pub fn metrics(&self) -> Vec<Value> {
        let emf = Emf {
            deployment: "test".to_owned(),
            per_table: true,
        };
        let lines = self.events();
        let lines = lines.iter().filter_map(|record| emf.line(record, Utc::now()));
        lines
            .filter_map(|line| serde_json::from_str(&line).ok())
            .collect()
    }

    /// Says which events so far are not what [`EVENTS`] promises.
    ///
    /// # Errors
    /// A sentence for each event that is not defined, lacks a member or has one too many.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let wrong = self.events().into_iter().filter_map(|record| {
            let name = record.event()?;
            match EVENTS.iter().find(|event| event.name == name) {
                Some(event) => event.check(record.fields().map(|(name, _)| name)).err(),
                None => Some(format!("{name} is not defined")),
            }
        });
        let wrong: Vec<_> = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}
