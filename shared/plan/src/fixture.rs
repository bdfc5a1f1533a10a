//! Tables and files for this crate's tests, made without a catalog or storage.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Literal, Struct, TableMetadata};
use serde_json::{Value, json};
use snowpack_domain::{Compaction, JobOptions, Properties};

use crate::state::TableState;
use crate::types::LiveFile;

/// Default settings with this target.
pub(crate) fn settings(target: u64) -> Compaction {
    let table = HashMap::from([("write.target-file-size-bytes".to_owned(), target.to_string())]);
    let properties = Properties {
        table: &table,
        deployment: &HashMap::new(),
    };
    Compaction::resolve(&JobOptions::default(), properties).unwrap()
}

/// Metadata of a v2 table: spec 0 is unpartitioned, spec 1 is by `part`, which is the default spec.
pub(crate) fn metadata_json() -> Value {
    json!({
        "format-version": 2,
        "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
        "location": "s3://bucket/db/t",
        "last-sequence-number": 100,
        "last-updated-ms": 1_700_000_000_000_i64,
        "last-column-id": 5,
        "current-schema-id": 0,
        "schemas": [{"type": "struct", "schema-id": 0, "fields": [
            {"id": 1, "name": "id", "required": true, "type": "long"},
            {"id": 2, "name": "part", "required": false, "type": "int"},
            {"id": 3, "name": "name", "required": false, "type": "string"},
            {"id": 4, "name": "score", "required": false, "type": "double"}
        ]}],
        "default-spec-id": 1,
        "partition-specs": [
            {"spec-id": 0, "fields": []},
            {"spec-id": 1, "fields": [
                {"name": "part", "transform": "identity", "source-id": 2, "field-id": 1000}
            ]}
        ],
        "last-partition-id": 1000,
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": {},
        "snapshots": [],
        "refs": {}
    })
}

pub(crate) fn metadata_from(json: &Value) -> TableMetadata {
    serde_json::from_value(json.clone()).unwrap()
}

pub(crate) fn metadata() -> TableMetadata {
    metadata_from(&metadata_json())
}

/// A file to be: a Parquet data file of 100 rows in partition 1 of spec 1, unless changed.
#[derive(Clone)]
pub(crate) struct FileOf {
    pub(crate) builder: DataFileBuilder,
    pub(crate) spec_id: i32,
    pub(crate) snapshot_id: i64,
    pub(crate) sequence_number: i64,
    pub(crate) added: i64,
}

impl std::fmt::Debug for FileOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.builder.build().unwrap().fmt(f)
    }
}

impl FileOf {
    pub(crate) fn data(path: &str, bytes: u64) -> Self {
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::Data)
            .file_path(path.to_owned())
            .file_format(DataFileFormat::Parquet)
            .file_size_in_bytes(bytes)
            .record_count(100);
        let file = Self {
            builder,
            spec_id: 1,
            snapshot_id: 1,
            sequence_number: 1,
            added: 1,
        };
        file.partition(1)
    }

    pub(crate) fn deletes(path: &str, kind: DataContentType) -> Self {
        let mut file = Self::data(path, 10);
        file.builder.content(kind);
        file
    }

    pub(crate) fn partition(mut self, value: i32) -> Self {
        self.builder
            .partition(Struct::from_iter([Some(Literal::int(value))]));
        self
    }

    pub(crate) fn unpartitioned(mut self) -> Self {
        self.spec_id = 0;
        self.builder.partition(Struct::empty());
        self
    }

    pub(crate) fn at(mut self, sequence_number: i64) -> Self {
        self.sequence_number = sequence_number;
        self.added = sequence_number;
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut DataFileBuilder)) -> Self {
        change(&mut self.builder);
        self
    }

    pub(crate) fn build(self) -> Arc<LiveFile> {
        Arc::new(LiveFile {
            file: self.builder.build().unwrap(),
            spec_id: self.spec_id,
            snapshot_id: self.snapshot_id,
            sequence_number: self.sequence_number,
            file_sequence_number: Some(self.added),
        })
    }
}

pub(crate) fn state(data: Vec<FileOf>, deletes: Vec<FileOf>) -> TableState {
    TableState {
        snapshot_id: 7,
        sequence_number: 100,
        data: data.into_iter().map(FileOf::build).collect(),
        deletes: deletes.into_iter().map(FileOf::build).collect(),
        ..TableState::empty()
    }
}

/// Skip counts by name, for comparing.
pub(crate) fn skipped(plan: &crate::RewritePlan) -> BTreeMap<&'static str, u64> {
    plan.skipped
        .iter()
        .map(|(reason, count)| (reason.as_str(), *count))
        .collect()
}
