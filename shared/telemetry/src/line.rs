//! An event as one line of JSON.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::ser::{Serialize, SerializeMap, Serializer};
use tracing::Metadata;

use crate::record::Record;

/// `timestamp`, `level` and `target`, then the event's fields beside them.
struct Line<'a> {
    metadata: &'a Metadata<'a>,
    record: &'a Record,
    now: DateTime<Utc>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(
            "timestamp",
            &self.now.to_rfc3339_opts(SecondsFormat::Micros, true),
        )?;
        map.serialize_entry("level", self.metadata.level().as_str())?;
        map.serialize_entry("target", self.metadata.target())?;
        for (name, value) in self.record.fields() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The line, ended.
pub(crate) fn line(metadata: &Metadata<'_>, record: &Record, now: DateTime<Utc>) -> String {
    let line = Line {
        metadata,
        record,
        now,
    };
    let mut text = serde_json::to_string(&line).expect("names are text and values are JSON already");
    text.push('\n');
    text
}
