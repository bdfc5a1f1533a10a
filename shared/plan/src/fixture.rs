//! Tables and files for this crate's tests, made without a catalog or storage.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Literal, Struct, TableMetadata};
use iceberg::spec::{ManifestFile, ManifestListWriter, ManifestWriter, ManifestWriterBuilder};
use serde_json::{Value, json};
use snowpack_catalog::{DispatchFactory, LoadedTable};
use snowpack_domain::{Compaction, JobOptions, Properties, TableId};

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

/// A table on disk whose manifests are really written.
pub(crate) struct DiskTable {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) json: Value,
    pub(crate) io: FileIO,
}

/// How a file is listed in a manifest.
pub(crate) enum Entry {
    Added(FileOf),
    Existing(FileOf),
    Deleted(FileOf),
}

impl DiskTable {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            json: metadata_json(),
            io: FileIOBuilder::new(Arc::new(DispatchFactory::default())).build(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("file:{}/{name}", self.folder.path().display())
    }

    pub(crate) fn load(&self) -> LoadedTable {
        let metadata = Arc::new(metadata_from(&self.json));
        LoadedTable::new(
            TableId::new("db", "t").unwrap(),
            metadata,
            self.path("v1.json"),
            self.io.clone(),
        )
    }

    /// Writes a manifest of spec 1 on behalf of snapshot 7.
    pub(crate) async fn manifest(&self, name: &str, is_data: bool, entries: Vec<Entry>) -> ManifestFile {
        let mut writer = match is_data {
            true => self.writer(name).build_v2_data(),
            false => self.writer(name).build_v2_deletes(),
        };
        add_entries(&mut writer, entries);
        writer.write_manifest_file().await.unwrap()
    }

    pub(crate) async fn v1_manifest(&self, name: &str, entries: Vec<Entry>) -> ManifestFile {
        let mut writer = self.writer(name).build_v1();
        add_entries(&mut writer, entries);
        writer.write_manifest_file().await.unwrap()
    }

    fn writer(&self, name: &str) -> ManifestWriterBuilder {
        let metadata = metadata_from(&self.json);
        let output = self.io.new_output(self.path(name)).unwrap();
        let spec = metadata.partition_spec_by_id(1).unwrap().as_ref().clone();
        ManifestWriterBuilder::new(output, Some(7), metadata.current_schema().clone(), spec)
    }

    /// Writes the manifest list of snapshot 7, sequence number 9, and makes it the current snapshot.
    pub(crate) async fn commit(&mut self, manifests: Vec<ManifestFile>) {
        let output = self
            .io
            .new_output(self.path("list.avro"))
            .unwrap()
            .writer()
            .await
            .unwrap();
        let mut writer = match self.json["format-version"].as_i64() {
            Some(1) => ManifestListWriter::v1(output, 7, None),
            _ => ManifestListWriter::v2(output, 7, None, 9),
        };
        writer.add_manifests(manifests.into_iter()).unwrap();
        writer.close().await.unwrap();
        self.json["snapshots"] = json!([{
            "snapshot-id": 7, "sequence-number": 9, "timestamp-ms": 1_700_000_000_000_i64,
            "manifest-list": self.path("list.avro"), "summary": {"operation": "append"}
        }]);
        self.json["current-snapshot-id"] = 7.into();
        self.json["refs"] = json!({"main": {"snapshot-id": 7, "type": "branch"}});
    }
}

fn add_entries(writer: &mut ManifestWriter, entries: Vec<Entry>) {
    for entry in entries {
        let added = match entry {
            Entry::Added(file) => writer.add_file(file.build().file.clone(), -1),
            Entry::Existing(file) => {
                let live = file.build();
                let added = live.file_sequence_number;
                writer.add_existing_file(live.file.clone(), live.snapshot_id, live.sequence_number, added)
            }
            Entry::Deleted(file) => {
                let live = file.build();
                writer.add_delete_file(live.file.clone(), live.sequence_number, live.file_sequence_number)
            }
        };
        added.unwrap();
    }
}
