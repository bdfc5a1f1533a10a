//! Logs and metrics: every event and metric defined once, logs as one JSON line per event, metrics taken from those
//! events.
//!
//! Use cases emit `tracing` events named by [`events`], within spans that say which request, job and action they
//! belong to. Functions write them to standard output, the command line to standard error. The caller passes all
//! settings; nothing here reads the environment.

mod capture;
#[cfg(test)]
mod documentation;
mod emf;
pub mod events;
mod filter;
mod line;
pub mod metrics;
mod record;

use std::io::{self, Write};

use chrono::Utc;
use tracing::{Metadata, Span, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

pub use capture::Capture;
pub use emf::Emf;
pub use filter::{BadFilter, LogFilter};
pub use record::Record;
use record::{Each, OWN, Spans};

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A subscriber is in place already.
    #[error("logging is set up twice")]
    Twice(#[from] TryInitError),
}

/// JSON lines on standard output, which Lambda sends to CloudWatch: the events that pass `filter`, and, whatever the
/// filter, the metrics.
///
/// # Errors
/// [`LogError`] when logging was set up before.
pub fn log_to_stdout(filter: &LogFilter, metrics: Option<Emf>) -> Result<(), LogError> {
    json(filter.to_env(), metrics, io::stdout).try_init()?;
    Ok(())
}

/// Lines for a person on standard error, so that standard output stays the command's own.
///
/// # Errors
/// [`LogError`] when logging was set up before.
pub fn log_to_stderr(filter: &LogFilter) -> Result<(), LogError> {
    tracing_subscriber::fmt()
        .with_env_filter(filter.to_env())
        .with_writer(io::stderr)
        .finish()
        .try_init()?;
    Ok(())
}

/// The span of a request or invocation: everything logged in it carries `request_id`.
///
/// Spans that only lend fields are of the severest level, so that no filter takes the fields from its lines.
pub fn request_span(request_id: &str) -> Span {
    tracing::error_span!("request", request_id)
}

fn json<W: Write>(
    filter: EnvFilter,
    metrics: Option<Emf>,
    writer: impl Fn() -> W + Clone + Send + Sync + 'static,
) -> impl SubscriberInitExt {
    let log_writer = writer.clone();
    let log = Each(move |metadata: &Metadata<'_>, record: &Record| {
        put(log_writer(), &line::line(metadata, record, Utc::now()));
    });
    tracing_subscriber::registry()
        .with(Spans)
        .with(log.with_filter(filter))
        .with(metrics.map(|emf| metrics_layer(emf, writer)))
}

/// Sees our own events at level info and, as those about single tables are at level debug, those if asked for.
fn metrics_layer<S, W: Write>(emf: Emf, writer: impl Fn() -> W + Send + Sync + 'static) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let level = if emf.per_table {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    let own = filter_fn(move |metadata| metadata.target().starts_with(OWN) && *metadata.level() <= level);
    let own = own.with_max_level_hint(level);
    Each(move |_: &Metadata<'_>, record: &Record| {
        if let Some(line) = emf.line(record, Utc::now()) {
            put(writer(), &line);
        }
    })
    .with_filter(own)
}

/// One write for the whole line, so that lines of different threads do not mix. There is nobody to tell of a
/// failure.
fn put(mut writer: impl Write, line: &str) {
    let _ = writer.write_all(line.as_bytes());
}

#[cfg(test)]
mod tests;
