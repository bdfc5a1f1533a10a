//! What iceberg's metadata types drop when they read a file, kept so that the next file has it too.
//!
//! `iceberg` 0.10 forgets what it has no field for: branches and tags of v1 tables, a second statistics file of
//! a snapshot, and whatever a newer writer added. A maintenance tool must not lose any of it.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{FormatVersion, SnapshotReference};
use serde_json::{Map, Value, json};

/// Members that identify an element of a list in table metadata, most specific first.
const IDENTITIES: [&str; 6] = [
    "snapshot-id",
    "schema-id",
    "spec-id",
    "order-id",
    "field-id",
    "id",
];

/// Members written from other sources, never carried over.
const REGENERATED: [&str; 2] = ["refs", "current-snapshot-id"];

/// Members of a metadata document that parsing it loses, by where they belong.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Residue(Vec<(Vec<Step>, Value)>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// The member of this name.
    Member(String),
    /// The list element whose identity member has this value.
    Element(&'static str, Value),
}

impl Residue {
    /// What `raw` has and `kept`, the same document parsed and written again, has not.
    pub(crate) fn between(raw: &Value, kept: &Value) -> Self {
        let mut lost = Self::default();
        lost.collect(raw, kept, &mut Vec::new());
        lost
    }

    fn collect(&mut self, raw: &Value, kept: &Value, path: &mut Vec<Step>) {
        match (raw, kept) {
            (Value::Object(raw), Value::Object(kept)) => {
                for (name, value) in raw {
                    if path.is_empty() && REGENERATED.contains(&name.as_str()) {
                        continue;
                    }
                    path.push(Step::Member(name.clone()));
                    match kept.get(name) {
                        Some(kept) => self.collect(value, kept, path),
                        None if is_empty(value) => {}
                        None => self.0.push((path.clone(), value.clone())),
                    }
                    path.pop();
                }
            }
            (Value::Array(raw), Value::Array(kept)) => self.collect_elements(raw, kept, path),
            _ => {}
        }
    }

    fn collect_elements(&mut self, raw: &[Value], kept: &[Value], path: &mut Vec<Step>) {
        let kept: HashMap<String, &Value> = kept
            .iter()
            .filter_map(|element| identity(element).map(|(name, id)| (format!("{name}={id}"), element)))
            .collect();
        for element in raw {
            let Some((name, id)) = identity(element) else {
                continue;
            };
            let Some(kept) = kept.get(&format!("{name}={id}")) else {
                continue;
            };
            path.push(Step::Element(name, id.clone()));
            self.collect(element, kept, path);
            path.pop();
        }
    }

    /// Puts everything back whose place still exists and is still free in `document`.
    pub(crate) fn restore(&self, document: &mut Value) {
        for (path, value) in &self.0 {
            let Some((Step::Member(name), parents)) = path.split_last() else {
                continue;
            };
            let parent = parents
                .iter()
                .try_fold(&mut *document, |at, step| follow(at, step));
            if let Some(Value::Object(members)) = parent {
                members.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
}

fn follow<'a>(at: &'a mut Value, step: &Step) -> Option<&'a mut Value> {
    match step {
        Step::Member(name) => at.get_mut(name),
        Step::Element(name, id) => {
            let mut elements = at.as_array_mut()?.iter_mut();
            elements.find(|element| element.get(name) == Some(id))
        }
    }
}

fn identity(element: &Value) -> Option<(&'static str, &Value)> {
    IDENTITIES
        .iter()
        .find_map(|name| element.get(name).map(|id| (*name, id)))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// Gives a document the members and the order of lists that Java's `TableMetadataParser.toJson` always
/// writes: older readers insist on them, and `iceberg` 0.10 leaves empty ones out and lists in random order.
pub(crate) fn complete(
    document: &mut Map<String, Value>,
    version: FormatVersion,
    refs: &BTreeMap<String, SnapshotReference>,
) -> serde_json::Result<()> {
    document.insert("refs".to_owned(), serde_json::to_value(refs)?);
    let no_snapshot = if version >= FormatVersion::V3 {
        Value::Null
    } else {
        json!(-1)
    };
    document.entry("current-snapshot-id").or_insert(no_snapshot);
    document.entry("properties").or_insert_with(|| json!({}));
    for list in [
        "snapshots",
        "snapshot-log",
        "metadata-log",
        "statistics",
        "partition-statistics",
    ] {
        document.entry(list).or_insert_with(|| json!([]));
    }
    let orders: [(&str, &[&str]); 6] = [
        ("snapshots", &["sequence-number", "timestamp-ms", "snapshot-id"]),
        ("schemas", &["schema-id"]),
        ("partition-specs", &["spec-id"]),
        ("sort-orders", &["order-id"]),
        ("statistics", &["snapshot-id"]),
        ("partition-statistics", &["snapshot-id"]),
    ];
    for (list, keys) in orders {
        if let Some(Value::Array(elements)) = document.get_mut(list) {
            elements.sort_by_cached_key(|element| sort_key(element, keys));
        }
    }
    Ok(())
}

fn sort_key(element: &Value, names: &[&str]) -> Vec<i64> {
    names
        .iter()
        .map(|name| element.get(name).and_then(Value::as_i64).unwrap_or(0))
        .collect()
}
