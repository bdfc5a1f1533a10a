//! Times as the API writes them: ISO 8601 in UTC with the offset `+00:00` (api.md, Conventions).

use chrono::{DateTime, SecondsFormat, Utc};
use snowpack_domain::Timestamp;

/// The time as text; six digits of a fraction when there is one, none otherwise. That is what Python's
/// `isoformat` writes, so every release of its `fromisoformat` reads it. Times beyond the calendar's range
/// become its last instant.
pub fn format_time(time: Timestamp) -> String {
    let micros = time.as_micros();
    let precision = if micros % 1_000_000 == 0 {
        SecondsFormat::Secs
    } else {
        SecondsFormat::Micros
    };
    DateTime::from_timestamp_micros(micros)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
        .to_rfc3339_opts(precision, false)
}

/// Reads a time with any offset; what is finer than a microsecond is cut off.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp::from_micros(time.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fractions_only_when_there_are_some() {
        let second = 1_777_127_400_000_000;
        assert_eq!(
            format_time(Timestamp::from_micros(second)),
            "2026-04-25T14:30:00+00:00"
        );
        assert_eq!(
            format_time(Timestamp::from_micros(second + 500_000)),
            "2026-04-25T14:30:00.500000+00:00"
        );
        assert_eq!(
            format_time(Timestamp::from_micros(second + 1)),
            "2026-04-25T14:30:00.000001+00:00"
        );
        assert_eq!(
            format_time(Timestamp::from_micros(-1)),
            "1969-12-31T23:59:59.999999+00:00"
        );
        assert_eq!(
            parse_time("2026-04-25T16:30:00+02:00"),
            Some(Timestamp::from_micros(second))
        );
        assert_eq!(parse_time("2026-04-25"), None);
    }

    proptest! {
        #[test]
        fn every_time_is_written_and_those_of_our_era_are_read_back(micros in any::<i64>(), ours in 0..253_402_300_800_000_000_i64) {
            format_time(Timestamp::from_micros(micros));
            let time = Timestamp::from_micros(ours);
            prop_assert_eq!(parse_time(&format_time(time)), Some(time));
        }
    }
}
