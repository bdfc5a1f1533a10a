//! Logs: one line per event, as JSON on standard output for functions, on standard error for the command line.
//!
//! The caller passes the filter (`SNOWPACK_LOG`); nothing here reads the environment.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// For a person.
    Human,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("SNOWPACK_LOG is {filter:?}: use a level, or target=level pairs separated by commas")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber is in place already.
    #[error("logging is set up twice")]
    Twice(#[from] TryInitError),
}

/// JSON lines on standard output, which Lambda sends to CloudWatch.
///
/// # Errors
/// [`LogError`] when the filter cannot be read, or logging was set up before.
pub fn log_to_stdout(filter: &str) -> Result<(), LogError> {
    json(parse(filter)?, io::stdout).try_init()?;
    Ok(())
}

/// Lines on standard error, so that standard output stays the command's own.
///
/// # Errors
/// [`LogError`] when the filter cannot be read, or logging was set up before.
pub fn log_to_stderr(filter: &str, format: Format) -> Result<(), LogError> {
    let filter = parse(filter)?;
    match format {
        Format::Json => json(filter, io::stderr).try_init()?,
        Format::Human => tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .finish()
            .try_init()?,
    }
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogError::Filter {
            filter: filter.to_owned(),
            source,
        })
}

/// The event's fields stand at the top level of the object, beside `timestamp`, `level` and `target`.
fn json<W>(filter: EnvFilter, writer: W) -> impl SubscriberInitExt
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(writer)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

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

    #[test]
    fn lines_are_json_objects_and_the_filter_counts() {
        let lines = Lines::default();
        let writer = lines.clone();
        let guard = json(parse("info,noisy=off").unwrap(), move || writer.clone()).set_default();
        tracing::info!(event = "job_submitted", job_id = "a\nb");
        tracing::debug!("too fine");
        tracing::info!(target: "noisy", "too loud");
        drop(guard);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "{text}");
        assert!(
            line.starts_with('{') && line.contains(r#""event":"job_submitted","job_id":"a\nb""#),
            "{line}"
        );
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = parse("snowpack=loud").unwrap_err();
        assert!(error.to_string().contains("snowpack=loud"), "{error}");
    }
}
