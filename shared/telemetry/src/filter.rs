//! Which lines are logged.

use tracing_subscriber::EnvFilter;

/// What passes into the log: a level, or `target=level` pairs separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

/// A text that is no filter.
#[derive(Debug, thiserror::Error)]
#[error("is {given:?}: use a level, or target=level pairs separated by commas")]
pub struct BadFilter {
    given: String,
    source: tracing_subscriber::filter::ParseError,
}

impl LogFilter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`BadFilter`] when it is none.
    pub fn parse(text: &str) -> Result<Self, BadFilter> {
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(source) => Err(BadFilter {
                given: text.to_owned(),
                source,
            }),
        }
    }

    /// As `tracing` takes it, which cannot copy its own.
    pub(crate) fn to_env(&self) -> EnvFilter {
        EnvFilter::builder().parse_lossy(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_shown() {
        let error = LogFilter::parse("snowpack=loud").unwrap_err();
        assert!(error.to_string().contains("snowpack=loud"), "{error}");
    }

    #[test]
    fn a_good_filter_stays_what_it_is() {
        for text in ["INFO", "warn,snowpack=debug", "off"] {
            let read = LogFilter::parse(text).unwrap().to_env().to_string();
            let same = EnvFilter::builder().parse(text).unwrap().to_string();
            assert_eq!(read, same);
        }
    }
}
