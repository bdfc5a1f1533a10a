//! How other writers commit: files added and taken out, a snapshot, and the metadata swapped at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use iceberg::TableUpdate;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, Literal, MAIN_BRANCH,
    ManifestContentType, ManifestFile, ManifestListWriter, Operation, Snapshot, SnapshotReference,
    SnapshotRetention, Struct, Summary, TableMetadata,
};
use rand::Rng;
use snowpack_manifest::{ManifestSink, decode_manifest};

use crate::reader::Live;
use crate::world::{LOCATION, World, lock};

/// What a new file's entry says.
#[derive(Clone, Debug)]
pub(crate) struct NewFile {
    pub(crate) content: DataContentType,
    pub(crate) format: DataFileFormat,
    pub(crate) spec: i32,
    pub(crate) partition: Struct,
    pub(crate) records: usize,
    pub(crate) referenced: Option<String>,
    pub(crate) blob: Option<(i64, i64)>,
    pub(crate) equality_ids: Option<Vec<i32>>,
}

impl NewFile {
    pub(crate) fn data(spec: i32, partition: Vec<i64>, records: usize) -> Self {
        Self {
            content: DataContentType::Data,
            format: DataFileFormat::Parquet,
            spec,
            partition: Struct::from_iter(partition.into_iter().map(|value| Some(Literal::long(value)))),
            records,
            referenced: None,
            blob: None,
            equality_ids: None,
        }
    }

    /// In the partition of another file.
    pub(crate) fn beside(other: &Live, records: usize) -> Self {
        Self {
            partition: other.file.partition().clone(),
            ..Self::data(other.spec_id, Vec::new(), records)
        }
    }
}

/// A snapshot in the making.
pub(crate) struct Draft<'a> {
    world: &'a Arc<World>,
    io: FileIO,
    metadata: Arc<TableMetadata>,
    operation: Operation,
    id: i64,
    added: Vec<(DataFile, i32, Option<i64>)>,
    removed: BTreeSet<(String, Option<i64>)>,
    specs: std::sync::Mutex<HashMap<String, i32>>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(world: &'a Arc<World>, metadata: Arc<TableMetadata>, operation: Operation) -> Self {
        Self {
            world,
            io: world.io(0),
            metadata,
            operation,
            id: lock(&world.scheduler).rng.random_range(1..i64::MAX),
            added: Vec::new(),
            removed: BTreeSet::new(),
            specs: Default::default(),
        }
    }

    fn path(&self, folder: &str, ending: &str) -> String {
        let mut model = lock(&self.world.model);
        model.next_file += 1;
        format!("{LOCATION}/{folder}/other-{}.{ending}", model.next_file)
    }

    /// Writes a file.
    pub(crate) fn write(&self, new: NewFile, bytes: Bytes) -> DataFile {
        let path = self.path("data", "bin");
        let mut file = DataFileBuilder::default();
        file.content(new.content)
            .file_path(path.clone())
            .file_format(new.format)
            .partition_spec_id(new.spec)
            .partition(new.partition)
            .record_count(new.records as u64)
            .file_size_in_bytes(bytes.len() as u64)
            .referenced_data_file(new.referenced)
            .equality_ids(new.equality_ids);
        if let Some((offset, length)) = new.blob {
            file.content_offset(Some(offset))
                .content_size_in_bytes(Some(length));
        }
        self.world.put(&path, bytes, false);
        lock(&self.specs).insert(path, new.spec);
        file.build().unwrap()
    }

    /// Adds a file, under a sequence number of its own or the commit's.
    pub(crate) fn add(&mut self, file: DataFile, sequence: Option<i64>) {
        let spec = lock(&self.specs)[file.file_path()];
        let sequence = sequence.filter(|_| self.metadata.format_version() != FormatVersion::V1);
        self.added.push((file, spec, sequence));
    }

    pub(crate) fn remove(&mut self, file: &DataFile) {
        self.removed
            .insert((file.file_path().to_owned(), file.content_offset()));
    }

    pub(crate) async fn commit(self) {
        let mut manifests = self.added_manifests().await;
        if let Some(head) = self.metadata.current_snapshot() {
            for listed in self.world.manifests(&self.metadata, head) {
                manifests.extend(self.without_removed(listed).await);
            }
        }
        let path = self.path("metadata", "avro");
        let row_ids = self.write_list(&path, manifests).await;
        let snapshot = self.snapshot(path, row_ids);
        let totals = totals(&self.world.live(&self.metadata, &snapshot));
        let snapshot = self.summarised(&snapshot, totals);
        let branch = SnapshotRetention::branch(None, None, None);
        let (ref_name, reference) = (MAIN_BRANCH.to_owned(), SnapshotReference::new(self.id, branch));
        self.world.apply(vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef { ref_name, reference },
        ]);
    }

    async fn added_manifests(&self) -> Vec<ManifestFile> {
        let mut by_kind: BTreeMap<(bool, i32), Vec<_>> = BTreeMap::new();
        for (file, spec, sequence) in &self.added {
            let is_data = file.content_type() == DataContentType::Data;
            by_kind
                .entry((is_data, *spec))
                .or_default()
                .push((file, *sequence));
        }
        let mut manifests = Vec::new();
        for ((is_data, spec), files) in by_kind {
            let content = if is_data {
                ManifestContentType::Data
            } else {
                ManifestContentType::Deletes
            };
            let spec = self.metadata.partition_spec_by_id(spec).unwrap().as_ref().clone();
            let schema = Arc::clone(self.metadata.current_schema());
            let version = self.metadata.format_version();
            let mut sink = ManifestSink::new(version, content, self.id, schema, spec).unwrap();
            for (file, sequence) in files {
                sink.add(file.clone(), sequence).unwrap();
            }
            manifests.push(
                sink.finish(&self.io, &self.path("metadata", "avro"))
                    .await
                    .unwrap(),
            );
        }
        manifests
    }

    /// A manifest as it is, or anew without the files taken out; none when no live file is left.
    async fn without_removed(&self, listed: ManifestFile) -> Option<ManifestFile> {
        let manifest = decode_manifest(&self.world.bytes(&listed.manifest_path), &listed).unwrap();
        let key = |file: &DataFile| (file.file_path().to_owned(), file.content_offset());
        let gone = |file: &DataFile| self.removed.contains(&key(file));
        let alive = || manifest.entries().iter().filter(|entry| entry.is_alive());
        if !alive().any(|entry| gone(entry.data_file())) {
            return alive().next().is_some().then_some(listed);
        }
        let meta = manifest.metadata();
        let (schema, spec) = (Arc::clone(meta.schema()), meta.partition_spec().clone());
        let version = self.metadata.format_version();
        let mut sink = ManifestSink::new(version, listed.content, self.id, schema, spec).unwrap();
        for entry in alive() {
            match gone(entry.data_file()) {
                true => sink.mark_deleted(entry).unwrap(),
                false => sink.keep(entry).unwrap(),
            }
        }
        Some(
            sink.finish(&self.io, &self.path("metadata", "avro"))
                .await
                .unwrap(),
        )
    }

    async fn write_list(&self, path: &str, manifests: Vec<ManifestFile>) -> Option<(u64, u64)> {
        let file = self.io.new_output(path).unwrap().writer().await.unwrap();
        let (parent, sequence) = (
            self.metadata.current_snapshot_id(),
            self.metadata.next_sequence_number(),
        );
        let first = self.metadata.next_row_id();
        let mut writer = match self.metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(file, self.id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(file, self.id, parent, sequence),
            FormatVersion::V3 => ManifestListWriter::v3(file, self.id, parent, sequence, Some(first)),
        };
        writer.add_manifests(manifests.into_iter()).unwrap();
        let next = writer.next_row_id();
        writer.close().await.unwrap();
        next.map(|next| (first, next - first))
    }

    fn snapshot(&self, path: String, row_ids: Option<(u64, u64)>) -> Snapshot {
        self.built(path, row_ids, HashMap::new())
    }

    fn summarised(&self, snapshot: &Snapshot, totals: BTreeMap<&'static str, u64>) -> Snapshot {
        let totals = totals
            .into_iter()
            .map(|(name, total)| (name.to_owned(), total.to_string()));
        self.built(
            snapshot.manifest_list().to_owned(),
            snapshot.row_range(),
            totals.collect(),
        )
    }

    fn built(&self, path: String, row_ids: Option<(u64, u64)>, totals: HashMap<String, String>) -> Snapshot {
        let snapshot = Snapshot::builder()
            .with_snapshot_id(self.id)
            .with_parent_snapshot_id(self.metadata.current_snapshot_id())
            .with_sequence_number(self.metadata.next_sequence_number())
            .with_timestamp_ms(self.metadata.last_updated_ms() + 1)
            .with_manifest_list(path)
            .with_schema_id(self.metadata.current_schema_id())
            .with_summary(Summary {
                operation: self.operation.clone(),
                additional_properties: totals,
            });
        match row_ids {
            Some((first, rows)) => snapshot.with_row_range(first, rows).build(),
            None => snapshot.build(),
        }
    }
}

/// The totals of a snapshot's summary, counted anew.
pub(crate) fn totals(live: &[Live]) -> BTreeMap<&'static str, u64> {
    let mut totals = BTreeMap::from([
        ("total-data-files", 0),
        ("total-delete-files", 0),
        ("total-records", 0),
        ("total-position-deletes", 0),
        ("total-equality-deletes", 0),
        ("total-files-size", 0),
    ]);
    for Live { file, .. } in live {
        let (files, rows) = match file.content_type() {
            DataContentType::Data => ("total-data-files", "total-records"),
            DataContentType::PositionDeletes => ("total-delete-files", "total-position-deletes"),
            DataContentType::EqualityDeletes => ("total-delete-files", "total-equality-deletes"),
        };
        // Of a Puffin file only the blob counts, which is what the entry is about.
        let own_bytes = file.content_size_in_bytes().map(|bytes| bytes as u64);
        let bytes = own_bytes.unwrap_or(file.file_size_in_bytes());
        for (name, more) in [
            (files, 1),
            (rows, file.record_count()),
            ("total-files-size", bytes),
        ] {
            *totals.get_mut(name).expect("all totals are listed above") += more;
        }
    }
    totals
}

impl World {
    /// Changes the metadata at once, whatever it is.
    ///
    /// # Panics
    /// The change does not fit the metadata.
    pub(crate) fn apply(&self, updates: Vec<TableUpdate>) {
        let mut stored = lock(&self.metadata);
        let (version, metadata) = stored.clone().expect("the table is created");
        let mut builder = TableMetadata::clone(&metadata).into_builder(None);
        for update in updates {
            builder = update.apply(builder).unwrap();
        }
        let metadata = builder.build().unwrap().metadata;
        *stored = Some((version + 1, Arc::new(metadata)));
    }
}
