//! What the table cache keeps of a table's properties: those that matter to maintenance, and of these no more than any
//! store takes.
//!
//! What is too large is not forgotten, which could undo an opt-out: it is kept as something that cannot be read, so that
//! the table is left alone and says why.

use std::collections::{BTreeMap, HashMap};

use snowpack_domain::TableId;

/// Properties worth caching: these, and those that start with one of [`CACHED_PREFIXES`].
const CACHED_PROPERTIES: [&str; 3] = ["write.target-file-size-bytes", "gc.enabled", "compaction_skip"];
const CACHED_PREFIXES: [&str; 2] = ["snowpack.", "history.expire."];

/// Most bytes of a value. Settings are words and numbers; nothing that means something is nearly as long.
const MOST_VALUE_BYTES: usize = 1024;
/// Most bytes of all names and values together: far less than the 400 KB of an item in DynamoDB.
const MOST_BYTES: usize = 64 * 1024;

/// Ends a value that was cut. No number, word or list that is a setting ends so.
const CUT: char = '…';
/// Decides whether a table is maintained at all. Stands in for properties that are too many: with a value that is
/// neither true nor false nothing is done to the table.
const ENABLED: &str = "snowpack.maintenance_enabled";

/// The cache's copy of a table's properties.
pub(super) fn cached_properties(
    table: &TableId,
    properties: &HashMap<String, String>,
) -> BTreeMap<String, String> {
    let worth_caching = properties.iter().filter(|(name, _)| is_cached(name));
    let kept: BTreeMap<_, _> = worth_caching
        .map(|(name, value)| (name.clone(), readable(table, name, value)))
        .collect();
    let bytes: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes <= MOST_BYTES {
        return kept;
    }
    tracing::warn!(%table, bytes, "the table's properties are too large for the table cache");
    let reason = format!("(the table has {bytes} bytes of properties like this one, more than {MOST_BYTES})");
    BTreeMap::from([(ENABLED.to_owned(), reason)])
}

fn is_cached(name: &str) -> bool {
    CACHED_PROPERTIES.contains(&name) || CACHED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The value, or its beginning when it is too long.
fn readable(table: &TableId, name: &str, value: &str) -> String {
    if value.len() <= MOST_VALUE_BYTES {
        return value.to_owned();
    }
    let bytes = value.len();
    tracing::warn!(%table, property = name, bytes, "a property is too long for the table cache");
    let end = value.floor_char_boundary(MOST_VALUE_BYTES);
    format!("{}{CUT}", &value[..end])
}

#[cfg(test)]
mod tests {
    use snowpack_domain::CacheEntry;

    use super::*;

    fn cached(properties: &HashMap<String, String>) -> CacheEntry {
        let table = TableId::new("db", "t").unwrap();
        CacheEntry {
            properties: cached_properties(&table, properties),
            table,
            location: None,
            metadata_location: None,
            format_version: None,
            generation: 0,
        }
    }

    fn bytes(entry: &CacheEntry) -> usize {
        let pairs = entry.properties.iter();
        pairs.map(|(name, value)| name.len() + value.len()).sum()
    }

    #[test]
    fn what_matters_to_maintenance_is_kept() {
        let pairs = [
            ("snowpack.min_input_files", "7"),
            ("history.expire.max-snapshot-age-ms", "1"),
            ("gc.enabled", "false"),
            ("comment", "no matter"),
        ];
        let entry = cached(&pairs.map(|(name, value)| (name.into(), value.into())).into());
        assert_eq!(entry.properties.len(), 3);
        assert_eq!(entry.thresholds(&HashMap::new()).unwrap().min_input_files, 7);
    }

    #[test]
    fn a_value_that_is_too_long_cannot_be_read_and_others_can() {
        let long = |text: &str| text.to_owned() + &" ".repeat(500_000);
        for (name, value) in [
            ("snowpack.min_input_files", long("7")),
            ("compaction_skip", long("false")),
            ("snowpack.maintenance_enabled", "ü".repeat(300_000)),
        ] {
            let entry = cached(&HashMap::from([
                (name.to_owned(), value),
                ("snowpack.x".to_owned(), "1".to_owned()),
            ]));
            assert_eq!(entry.thresholds(&HashMap::new()).unwrap_err().option, name);
            assert_eq!(entry.properties["snowpack.x"], "1");
            assert!(bytes(&entry) < 2 * MOST_VALUE_BYTES);
        }
        // Nobody reads it: the table is maintained as it says.
        let entry = cached(&HashMap::from([("snowpack.notes".to_owned(), long("x"))]));
        assert!(entry.thresholds(&HashMap::new()).is_ok());
    }

    #[test]
    fn too_many_properties_leave_the_table_alone() {
        let many = |index: usize| (format!("snowpack.n{index}"), "x".repeat(MOST_VALUE_BYTES));
        let mut properties: HashMap<_, _> = (0..500).map(many).collect();
        properties.insert("snowpack.zzz".to_owned(), "1".to_owned());
        let entry = cached(&properties);
        assert!(bytes(&entry) < MOST_BYTES);
        assert_eq!(entry.thresholds(&HashMap::new()).unwrap_err().option, ENABLED);
        assert_eq!(entry.maintenance_enabled(), None);
    }
}
