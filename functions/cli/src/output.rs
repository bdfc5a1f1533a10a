//! What the process leaves behind: exit status, log, errors on standard error, documents on standard output.

use std::io::Write as _;
use std::process::ExitCode;

use snowpack_settings::{Environment, SettingsError};
use snowpack_telemetry::LogFilter;

/// The exit status, as `--help` documents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Refused => Self::from(3),
        }
    }
}

/// A mistake in the command line that clap cannot see; exits with 2 like clap's own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// Prints an error and its causes.
pub(crate) fn report_error(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "snowpack: {error:#}");
    if error.is::<UsageError>() {
        ExitCode::from(2)
    } else {
        Exit::Failed.into()
    }
}

/// Prints a line for the person at the terminal, beside any document on standard output.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints a line of text to standard output.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}

/// Prints a document to standard output.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn print_json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(print(&serde_json::to_string_pretty(document)?)?)
}

/// Bytes for people, in binary units.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// `SNOWPACK_LOG` when set, else what `-v` asks for; quiet by default, as progress and results speak already.
///
/// # Errors
/// When `SNOWPACK_LOG` is no filter.
pub(crate) fn log_filter(verbose: u8) -> Result<LogFilter, SettingsError> {
    let level = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    let environment = Environment::new(std::env::vars_os());
    snowpack_settings::log_filter(&environment, &format!("warn,snowpack={level}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_readable() {
        assert_eq!(human_bytes(1023), "1023 B");
        assert_eq!(human_bytes(1536), "1.5 KiB");
        assert_eq!(human_bytes(u64::MAX), "16384.0 PiB");
    }
}
