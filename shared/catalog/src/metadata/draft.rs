//! A metadata document under change: the updates that maintenance makes, applied as Java's
//! `TableMetadata.Builder` applies them.
//!
//! The document is changed as JSON, so that whatever this program does not know of stays as it was. `iceberg`
//! 0.10 has a builder, but it works on types that forget the tags of v1 tables, and refuses v1 tables whose
//! evolved partition spec has two void fields of one column.

use std::collections::{BTreeMap, HashSet};

use iceberg::TableUpdate;
use iceberg::spec::{FormatVersion, MAIN_BRANCH, Snapshot, SnapshotReference, TableProperties};
use serde_json::{Map, Value, json};

use crate::port::LoadedTable;

/// How far clocks of writers may be apart (`TableMetadata.ONE_MINUTE`).
const CLOCK_SKEW_MS: i64 = 60_000;
/// Entries kept in the metadata log unless the table says otherwise.
const DEFAULT_PREVIOUS_VERSIONS: usize = 100;

/// Table metadata on its way from one version to the next.
pub(super) struct Draft {
    raw: Map<String, Value>,
    version: FormatVersion,
    refs: BTreeMap<String, SnapshotReference>,
    now_ms: i64,
    /// When the change was made, once an update decided that.
    updated_ms: Option<i64>,
    /// Timestamps of snapshots added, by id.
    added: BTreeMap<i64, i64>,
    snapshots_removed: bool,
    changed: bool,
}

impl Draft {
    pub(super) fn new(base: &LoadedTable, now_ms: i64) -> Result<Self, String> {
        Ok(Self {
            raw: serde_json::from_slice(&base.raw).map_err(|error| error.to_string())?,
            version: base.metadata.format_version(),
            refs: base.refs.as_ref().clone(),
            now_ms,
            updated_ms: None,
            added: BTreeMap::new(),
            snapshots_removed: false,
            changed: false,
        })
    }

    pub(super) fn apply(&mut self, update: TableUpdate) -> Result<(), String> {
        match update {
            TableUpdate::AddSnapshot { snapshot } => self.add_snapshot(snapshot)?,
            TableUpdate::SetSnapshotRef { ref_name, reference } => self.set_ref(ref_name, reference)?,
            TableUpdate::RemoveSnapshotRef { ref_name } => self.remove_ref(&ref_name)?,
            TableUpdate::RemoveSnapshots { snapshot_ids } => self.remove_snapshots(&snapshot_ids)?,
            TableUpdate::SetProperties { updates } => self.set_properties(updates)?,
            TableUpdate::RemoveProperties { removals } => self.remove_properties(&removals),
            TableUpdate::SetStatistics { statistics } => {
                self.replace("statistics", statistics.snapshot_id, json!(statistics));
            }
            TableUpdate::SetPartitionStatistics { partition_statistics } => {
                let id = partition_statistics.snapshot_id;
                self.replace("partition-statistics", id, json!(partition_statistics));
            }
            TableUpdate::RemoveStatistics { snapshot_id } => {
                self.remove("statistics", "snapshot-id", &[snapshot_id]);
            }
            TableUpdate::RemovePartitionStatistics { snapshot_id } => {
                self.remove("partition-statistics", "snapshot-id", &[snapshot_id]);
            }
            TableUpdate::RemovePartitionSpecs { spec_ids } => {
                self.remove_unused("partition-specs", "spec-id", "default-spec-id", &spec_ids)?;
            }
            TableUpdate::RemoveSchemas { schema_ids } => {
                self.remove_unused("schemas", "schema-id", "current-schema-id", &schema_ids)?;
            }
            other => return Err(format!("{} is no update of maintenance", action(&other))),
        }
        Ok(())
    }

    fn add_snapshot(&mut self, snapshot: Snapshot) -> Result<(), String> {
        let (id, timestamp_ms) = (snapshot.snapshot_id(), snapshot.timestamp_ms());
        if self.snapshot_ids().contains(&id) {
            return Err(format!("snapshot {id} exists already"));
        }
        let newest = self
            .list("snapshot-log")
            .last()
            .and_then(|entry| entry["timestamp-ms"].as_i64());
        let newest = newest.max(self.number("last-updated-ms")).max(self.updated_ms);
        if newest.is_some_and(|newest| timestamp_ms < newest - CLOCK_SKEW_MS) {
            return Err(format!(
                "snapshot {id} is older than the table's last change: check this machine's clock"
            ));
        }
        if self.version >= FormatVersion::V2 {
            let sequence_number = snapshot.sequence_number();
            let last = self.number("last-sequence-number").unwrap_or(0);
            if sequence_number <= last && snapshot.parent_snapshot_id().is_some() {
                return Err(format!(
                    "sequence number {sequence_number} does not follow {last}"
                ));
            }
            self.set("last-sequence-number", json!(sequence_number));
        }
        if self.version >= FormatVersion::V3 {
            self.take_row_ids(&snapshot)?;
        }
        let update = json!(TableUpdate::AddSnapshot { snapshot });
        let mut snapshot = update["snapshot"].clone();
        if let (Value::Object(members), FormatVersion::V1) = (&mut snapshot, self.version) {
            members.remove("sequence-number");
        }
        self.list("snapshots").push(snapshot);
        self.added.insert(id, timestamp_ms);
        self.updated_ms = Some(timestamp_ms);
        self.changed = true;
        Ok(())
    }

    /// Row lineage of version 3: a snapshot starts at the table's next row id and moves it on.
    fn take_row_ids(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let next = self.raw.get("next-row-id").and_then(Value::as_u64).unwrap_or(0);
        let (first, rows) = snapshot
            .row_range()
            .ok_or("a snapshot of a v3 table needs first-row-id")?;
        if first < next {
            return Err(format!(
                "first-row-id {first} is below the table's next-row-id {next}"
            ));
        }
        let next = next.checked_add(rows).ok_or("next-row-id overflows")?;
        self.set("next-row-id", json!(next));
        Ok(())
    }

    fn set_ref(&mut self, name: String, reference: SnapshotReference) -> Result<(), String> {
        if self.refs.get(&name) == Some(&reference) {
            return Ok(());
        }
        let id = reference.snapshot_id;
        if !self.snapshot_ids().contains(&id) {
            return Err(format!("{name} cannot be set to the unknown snapshot {id}"));
        }
        if name == MAIN_BRANCH {
            if !reference.is_branch() {
                return Err("main must be a branch".to_owned());
            }
            // Going back to an older snapshot counts as made now.
            let updated_ms = *self.updated_ms.get_or_insert(self.now_ms);
            let made_ms = self.added.get(&id).copied().unwrap_or(updated_ms);
            self.list("snapshot-log")
                .push(json!({"timestamp-ms": made_ms, "snapshot-id": id}));
        }
        self.refs.insert(name, reference);
        self.changed = true;
        Ok(())
    }

    fn remove_ref(&mut self, name: &str) -> Result<(), String> {
        if name == MAIN_BRANCH {
            return Err("main cannot be removed".to_owned());
        }
        self.changed |= self.refs.remove(name).is_some();
        Ok(())
    }

    /// Statistics go with their snapshot, and so do refs (`rewriteSnapshotsInternal`).
    fn remove_snapshots(&mut self, ids: &[i64]) -> Result<(), String> {
        if self
            .refs
            .get(MAIN_BRANCH)
            .is_some_and(|main| ids.contains(&main.snapshot_id))
        {
            return Err("the current snapshot cannot be removed".to_owned());
        }
        self.snapshots_removed |= self.remove("snapshots", "snapshot-id", ids);
        self.remove("statistics", "snapshot-id", ids);
        self.remove("partition-statistics", "snapshot-id", ids);
        let gone: HashSet<_> = ids.iter().collect();
        self.refs
            .retain(|_, reference| !gone.contains(&reference.snapshot_id));
        Ok(())
    }

    fn set_properties(&mut self, updates: impl IntoIterator<Item = (String, String)>) -> Result<(), String> {
        for (name, value) in updates {
            if TableProperties::RESERVED_PROPERTIES.contains(&name.as_str()) {
                return Err(format!("{name} is no property to set"));
            }
            self.properties().insert(name, json!(value));
            self.changed = true;
        }
        Ok(())
    }

    fn remove_properties(&mut self, names: &[String]) {
        for name in names {
            self.changed |= self.properties().remove(name).is_some();
        }
    }

    /// Puts the entry of a snapshot in the place of older ones.
    fn replace(&mut self, list: &str, snapshot_id: i64, entry: Value) {
        self.remove(list, "snapshot-id", &[snapshot_id]);
        self.list(list).push(entry);
        self.changed = true;
    }

    /// Removes elements of a list of which the one named by `current` must stay.
    fn remove_unused(&mut self, list: &str, member: &str, current: &str, ids: &[i32]) -> Result<(), String> {
        let ids: Vec<i64> = ids.iter().copied().map(i64::from).collect();
        if self.number(current).is_some_and(|current| ids.contains(&current)) {
            return Err(format!("{list}: the one in use cannot be removed"));
        }
        self.remove(list, member, &ids);
        Ok(())
    }

    /// Removes the elements of these ids from a list; whether there were any.
    fn remove(&mut self, list: &str, member: &str, ids: &[i64]) -> bool {
        let ids: HashSet<_> = ids.iter().copied().collect();
        let elements = self.list(list);
        let before = elements.len();
        elements.retain(|element| !element[member].as_i64().is_some_and(|id| ids.contains(&id)));
        let removed = elements.len() < before;
        self.changed |= removed;
        removed
    }

    /// The new document; none when nothing changed.
    pub(super) fn finish(mut self, base: &LoadedTable) -> Result<Option<Value>, String> {
        if !self.changed {
            return Ok(None);
        }
        self.clean_snapshot_log()?;
        let current = self.refs.get(MAIN_BRANCH).map(|main| json!(main.snapshot_id));
        let no_snapshot = if self.version >= FormatVersion::V3 {
            Value::Null
        } else {
            json!(-1)
        };
        self.set("current-snapshot-id", current.unwrap_or(no_snapshot));
        self.set("refs", json!(self.refs));
        self.set("last-updated-ms", json!(self.updated_ms.unwrap_or(self.now_ms)));
        let previous = json!({
            "timestamp-ms": base.metadata.last_updated_ms(),
            "metadata-file": base.metadata_location,
        });
        let most = self.previous_versions();
        let log = self.list("metadata-log");
        log.push(previous);
        log.drain(..log.len().saturating_sub(most));
        Ok(Some(Value::Object(self.raw)))
    }

    /// Drops snapshots that were current only within this change, and the history before a removed snapshot:
    /// with a gap, it would tell that another one had been current (`updateSnapshotLog`).
    fn clean_snapshot_log(&mut self) -> Result<(), String> {
        let current = self.refs.get(MAIN_BRANCH).map(|main| main.snapshot_id);
        let known = self.snapshot_ids();
        let removed = self.snapshots_removed;
        let passing: HashSet<i64> = self
            .added
            .keys()
            .copied()
            .filter(|id| Some(*id) != current)
            .collect();
        let mut kept = Vec::new();
        for entry in std::mem::take(self.list("snapshot-log")) {
            let id = entry["snapshot-id"].as_i64().unwrap_or(-1);
            if !known.contains(&id) && removed {
                kept.clear();
            } else if !passing.contains(&id) {
                kept.push(entry);
            }
        }
        let last = kept.last().and_then(|entry| entry["snapshot-id"].as_i64());
        if (removed || !passing.is_empty()) && current.is_some() && last != current {
            return Err("the snapshot log does not end with the current snapshot".to_owned());
        }
        *self.list("snapshot-log") = kept;
        Ok(())
    }

    /// `write.metadata.previous-versions-max`, at least one.
    fn previous_versions(&mut self) -> usize {
        let given = self
            .properties()
            .get("write.metadata.previous-versions-max")
            .and_then(Value::as_str);
        given
            .and_then(|text| text.parse().ok())
            .unwrap_or(DEFAULT_PREVIOUS_VERSIONS)
            .max(1)
    }

    fn snapshot_ids(&mut self) -> HashSet<i64> {
        self.list("snapshots")
            .iter()
            .filter_map(|snapshot| snapshot["snapshot-id"].as_i64())
            .collect()
    }

    fn properties(&mut self) -> &mut Map<String, Value> {
        let properties = self.raw.entry("properties").or_insert_with(|| json!({}));
        if !properties.is_object() {
            *properties = json!({});
        }
        properties.as_object_mut().expect("made an object above")
    }

    /// A list of the document, made when it is missing or null.
    fn list(&mut self, name: &str) -> &mut Vec<Value> {
        let list = self.raw.entry(name).or_insert_with(|| json!([]));
        if !list.is_array() {
            *list = json!([]);
        }
        list.as_array_mut().expect("made a list above")
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.raw.get(name).and_then(Value::as_i64)
    }

    fn set(&mut self, name: &str, value: Value) {
        self.raw.insert(name.to_owned(), value);
    }
}

/// The name of an update in the REST specification.
fn action(update: &TableUpdate) -> String {
    let name = serde_json::to_value(update)
        .ok()
        .and_then(|update| update["action"].as_str().map(str::to_owned));
    name.unwrap_or_default()
}
