//! A table whose files are lists of rows kept beside the metadata, written by "another engine" and read by
//! the rules of the specification in their plainest form.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, Literal, MAIN_BRANCH,
    ManifestContentType, ManifestFile, ManifestListWriter, NestedField, Operation, PrimitiveType, Schema,
    Snapshot, SnapshotReference, SnapshotRetention, SortOrder, Struct, Summary, TableMetadataBuilder,
    Transform, Type, UnboundPartitionSpec,
};
use iceberg::{TableRequirement, TableUpdate};
use snowpack_catalog::{LoadedTable, TableChange};
use snowpack_manifest::{ManifestSink, read_manifest_list};
use snowpack_plan::LiveFile;
use uuid::Uuid;

use super::FakeCatalog;
use super::vectors::{Place, place};
use crate::commit::ManifestCache;

/// A row: its id, and the key that equality deletes look at.
pub(crate) type Row = (i64, i64);

/// The spec without partitions; equality deletes written under it apply to the whole table.
pub(crate) const FLAT: i32 = 0;
/// The spec partitioned by `part`.
pub(crate) const BY_PART: i32 = 1;

/// What the files hold.
#[derive(Debug, Default)]
struct Contents {
    rows: HashMap<String, Vec<Row>>,
    positions: HashMap<Place, HashSet<(String, usize)>>,
    keys: HashMap<String, HashSet<i64>>,
}

/// The table.
#[derive(Clone)]
pub(crate) struct FakeTable {
    pub(crate) catalog: Arc<FakeCatalog>,
    contents: Arc<Mutex<Contents>>,
    pub(super) manifests: Arc<ManifestCache>,
}

impl FakeTable {
    pub(crate) fn new(version: FormatVersion) -> Self {
        Self::with_properties(version, HashMap::new())
    }

    pub(crate) fn with_properties(version: FormatVersion, properties: HashMap<String, String>) -> Self {
        Self::at("memory:///t", FileIO::new_with_memory(), version, properties)
    }

    /// A table at a location.
    pub(crate) fn at(
        location: &str,
        io: FileIO,
        version: FormatVersion,
        properties: HashMap<String, String>,
    ) -> Self {
        let fields = [("id", PrimitiveType::Long), ("part", PrimitiveType::Int)];
        let fields = fields.into_iter().enumerate().map(|(index, (name, kind))| {
            NestedField::required(index as i32 + 1, name, Type::Primitive(kind)).into()
        });
        let schema = Schema::builder().with_fields(fields).build().unwrap();
        let by_part = UnboundPartitionSpec::builder()
            .with_spec_id(BY_PART)
            .add_partition_field(2, "part", Transform::Identity)
            .unwrap()
            .build();
        let flat = UnboundPartitionSpec::builder().with_spec_id(FLAT).build();
        let (location, sort) = (location.to_owned(), SortOrder::unsorted_order());
        let metadata = TableMetadataBuilder::new(schema, flat, sort, location, version, properties)
            .unwrap()
            .add_default_partition_spec(by_part)
            .unwrap()
            .build()
            .unwrap()
            .metadata;
        Self {
            catalog: Arc::new(FakeCatalog::new(metadata, io)),
            contents: Arc::default(),
            manifests: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> LoadedTable {
        self.catalog.now()
    }

    fn new_file(&self, content: DataContentType, spec: i32, part: i32, records: usize) -> DataFileBuilder {
        let partition = match spec {
            BY_PART => Struct::from_iter([Some(Literal::int(part))]),
            _ => Struct::empty(),
        };
        let mut file = DataFileBuilder::default();
        file.content(content)
            .file_path(format!(
                "{}/data/{}.parquet",
                self.now().metadata.location(),
                Uuid::new_v4()
            ))
            .file_format(DataFileFormat::Parquet)
            .partition_spec_id(spec)
            .partition(partition)
            .record_count(records as u64)
            .file_size_in_bytes(100 + records as u64);
        file
    }

    /// A data file with these rows, not yet committed.
    pub(crate) fn data_file(&self, spec: i32, part: i32, rows: Vec<Row>) -> DataFile {
        let file = self
            .new_file(DataContentType::Data, spec, part, rows.len())
            .build()
            .unwrap();
        self.contents
            .lock()
            .unwrap()
            .rows
            .insert(file.file_path().to_owned(), rows);
        file
    }

    pub(crate) async fn append(&self, spec: i32, part: i32, rows: Vec<Row>) -> DataFile {
        let file = self.data_file(spec, part, rows);
        self.add(Operation::Append, spec, vec![file.clone()]).await;
        file
    }

    /// Commits a data file made before.
    pub(crate) async fn append_file(&self, spec: i32, file: DataFile) {
        self.add(Operation::Append, spec, vec![file]).await;
    }

    /// Commits a data file at a location nothing is written to.
    pub(crate) async fn reference(&self, spec: i32, location: &str) {
        let mut file = self.new_file(DataContentType::Data, spec, 1, 1);
        let file = file.file_path(location.to_owned()).build().unwrap();
        self.list_in_manifest(Operation::Append, spec, vec![file]).await;
    }

    /// Appends a Parquet file with these ids.
    pub(crate) async fn append_parquet(&self, part: i32, ids: std::ops::Range<i64>) -> DataFile {
        let rows = ids.end - ids.start;
        let bytes = super::parquet::file_of(part, ids);
        let mut file = self.new_file(DataContentType::Data, BY_PART, part, rows as usize);
        let file = file.file_size_in_bytes(bytes.len() as u64).build().unwrap();
        self.now()
            .io
            .new_output(file.file_path())
            .unwrap()
            .write(bytes)
            .await
            .unwrap();
        self.add(Operation::Append, BY_PART, vec![file.clone()]).await;
        file
    }

    /// Deletes positions of a data file, in a Parquet file; `scoped` says in the metadata that only this file is
    /// meant.
    pub(crate) async fn delete_positions(
        &self,
        target: &LiveFile,
        positions: &[usize],
        scoped: bool,
    ) -> DataFile {
        let path = target.file.file_path().to_owned();
        let mut builder = self.new_file(
            DataContentType::PositionDeletes,
            target.spec_id,
            0,
            positions.len(),
        );
        builder.partition(target.file.partition().clone());
        if scoped {
            builder.referenced_data_file(Some(path.clone()));
        }
        let bytes = super::parquet::deletes_of(&path, positions);
        let file = builder.file_size_in_bytes(bytes.len() as u64).build().unwrap();
        let output = self.now().io.new_output(file.file_path()).unwrap();
        output.write(bytes).await.unwrap();
        let deleted = positions
            .iter()
            .map(|position| (path.clone(), *position))
            .collect();
        self.learn(&file, deleted);
        self.add(Operation::Delete, target.spec_id, vec![file.clone()])
            .await;
        file
    }

    /// Deletes rows by key, in one partition or, under [`FLAT`], everywhere.
    pub(crate) async fn delete_keys(&self, spec: i32, part: i32, keys: &[i64]) -> DataFile {
        let mut builder = self.new_file(DataContentType::EqualityDeletes, spec, part, keys.len());
        let file = builder.equality_ids(Some(vec![1])).build().unwrap();
        let keys = keys.iter().copied().collect();
        self.contents
            .lock()
            .unwrap()
            .keys
            .insert(file.file_path().to_owned(), keys);
        self.add(Operation::Delete, spec, vec![file.clone()]).await;
        file
    }

    async fn add(&self, operation: Operation, spec: i32, files: Vec<DataFile>) {
        let io = self.now().io;
        for file in &files {
            if !io.exists(file.file_path()).await.unwrap() {
                io.new_output(file.file_path())
                    .unwrap()
                    .write("rows".into())
                    .await
                    .unwrap();
            }
        }
        self.list_in_manifest(operation, spec, files).await;
    }

    async fn list_in_manifest(&self, operation: Operation, spec: i32, files: Vec<DataFile>) {
        let base = self.now();
        let id = rand::random::<i64>() & i64::MAX;
        let is_data = files[0].content_type() == DataContentType::Data;
        let path = format!("{}/metadata/{}.avro", base.metadata.location(), Uuid::new_v4());
        let spec = base.metadata.partition_spec_by_id(spec).unwrap().as_ref().clone();
        let (version, schema) = (
            base.metadata.format_version(),
            base.metadata.current_schema().clone(),
        );
        let content = match is_data {
            true => ManifestContentType::Data,
            false => ManifestContentType::Deletes,
        };
        let mut sink = ManifestSink::new(version, content, id, schema, spec).unwrap();
        for file in &files {
            sink.add(file.clone(), None).unwrap();
        }
        let mut manifests = vec![sink.finish(&base.io, &path).await.unwrap()];
        manifests.extend(self.manifests(&base).await);
        self.commit(&base, id, operation, manifests).await;
    }

    /// Goes back to an earlier snapshot, as `rollback_to_snapshot` does.
    pub(crate) fn roll_back(&self, snapshot_id: i64) {
        let branch = SnapshotRetention::branch(None, None, None);
        self.set_ref(MAIN_BRANCH, SnapshotReference::new(snapshot_id, branch));
    }

    /// Tags a snapshot for ever.
    pub(crate) fn tag(&self, name: &str, snapshot_id: i64) {
        let tag = SnapshotRetention::Tag { max_ref_age_ms: None };
        self.set_ref(name, SnapshotReference::new(snapshot_id, tag));
    }

    fn set_ref(&self, name: &str, reference: SnapshotReference) {
        let ref_name = name.to_owned();
        self.update(vec![TableUpdate::SetSnapshotRef { ref_name, reference }]);
    }

    /// Changes the metadata without asking anyone.
    pub(crate) fn update(&self, updates: Vec<TableUpdate>) {
        let change = TableChange {
            requirements: Vec::new(),
            updates,
        };
        self.catalog.swap(&self.now(), change).unwrap();
    }

    pub(super) async fn manifests(&self, base: &LoadedTable) -> Vec<ManifestFile> {
        match base.metadata.current_snapshot() {
            Some(head) => read_manifest_list(&base.io, &base.metadata, head).await.unwrap(),
            None => Vec::new(),
        }
    }

    pub(super) async fn commit(
        &self,
        base: &LoadedTable,
        id: i64,
        operation: Operation,
        manifests: Vec<ManifestFile>,
    ) {
        let path = format!("{}/metadata/snap-{id}.avro", base.metadata.location());
        let file = base.io.new_output(&path).unwrap().writer().await.unwrap();
        let (parent, sequence) = (
            base.metadata.current_snapshot_id(),
            base.metadata.next_sequence_number(),
        );
        let mut writer = match base.metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(file, id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(file, id, parent, sequence),
            FormatVersion::V3 => {
                let first_row_id = base.metadata.next_row_id();
                ManifestListWriter::v3(file, id, parent, sequence, Some(first_row_id))
            }
        };
        writer.add_manifests(manifests.into_iter()).unwrap();
        let next_row_id = writer.next_row_id();
        writer.close().await.unwrap();
        let additional_properties = self.totals(base);
        let snapshot = Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(sequence)
            .with_timestamp_ms(base.metadata.last_updated_ms() + 1)
            .with_manifest_list(path)
            .with_schema_id(0)
            .with_summary(Summary {
                operation,
                additional_properties,
            });
        let first_row_id = base.metadata.next_row_id();
        let snapshot = match next_row_id {
            Some(next) => snapshot.with_row_range(first_row_id, next - first_row_id).build(),
            None => snapshot.build(),
        };
        let reference = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
        let change = TableChange {
            requirements: vec![TableRequirement::UuidMatch {
                uuid: base.metadata.uuid(),
            }],
            updates: vec![
                TableUpdate::AddSnapshot { snapshot },
                TableUpdate::SetSnapshotRef {
                    ref_name: MAIN_BRANCH.to_owned(),
                    reference,
                },
            ],
        };
        self.catalog.swap(base, change).unwrap();
    }

    /// Some totals, so that those of a replace snapshot have something to start from.
    fn totals(&self, _: &LoadedTable) -> HashMap<String, String> {
        HashMap::from([("total-records".to_owned(), "1000000".to_owned())])
    }

    /// Live data and delete files of a snapshot.
    pub(crate) async fn live(&self, snapshot: &Snapshot) -> (Vec<LiveFile>, Vec<LiveFile>) {
        let table = self.now();
        let (mut data, mut deletes) = (Vec::new(), Vec::new());
        for file in read_manifest_list(&table.io, &table.metadata, snapshot)
            .await
            .unwrap()
        {
            let manifest = self.manifests.load(&table.io, &file).await.unwrap();
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let live = LiveFile {
                    file: entry.data_file().clone(),
                    spec_id: file.partition_spec_id,
                    snapshot_id: entry.snapshot_id().unwrap(),
                    sequence_number: entry.sequence_number().unwrap(),
                    file_sequence_number: entry.file_sequence_number,
                };
                let is_data = entry.content_type() == DataContentType::Data;
                if is_data { &mut data } else { &mut deletes }.push(live);
            }
        }
        (data, deletes)
    }

    /// Live files of the newest snapshot.
    pub(crate) async fn live_now(&self) -> (Vec<LiveFile>, Vec<LiveFile>) {
        match self.now().metadata.current_snapshot() {
            Some(head) => self.live(head).await,
            None => (Vec::new(), Vec::new()),
        }
    }

    /// Notes what a position-delete file or vector holds.
    pub(super) fn learn(&self, file: &DataFile, deleted: HashSet<(String, usize)>) {
        self.contents
            .lock()
            .unwrap()
            .positions
            .insert(place(file), deleted);
    }

    /// Reads the position-delete files and vectors that this crate wrote.
    pub(crate) async fn learn_deletes(&self) {
        for delete in self.live_now().await.1 {
            let is_known = {
                let contents = self.contents.lock().unwrap();
                let is_equality = contents.keys.contains_key(delete.file.file_path());
                is_equality || contents.positions.contains_key(&place(&delete.file))
            };
            if !is_known {
                let deletes = self.read_deletes(&delete.file).await;
                self.learn(&delete.file, deletes);
            }
        }
    }

    async fn read_deletes(&self, delete: &DataFile) -> HashSet<(String, usize)> {
        let io = self.now().io;
        if delete.file_format() == DataFileFormat::Puffin {
            let target = delete.referenced_data_file().unwrap();
            let positions = crate::deletes::vector::read(&io, delete).await.unwrap();
            return positions
                .iter()
                .map(|row| (target.clone(), row as usize))
                .collect();
        }
        let input = io.new_input(delete.file_path()).unwrap();
        super::parquet::read_deletes(input.read().await.unwrap())
    }

    /// The positions of a data file that position deletes remove; a vector stands for all others.
    pub(super) fn deleted_positions(&self, data: &LiveFile, deletes: &[LiveFile]) -> HashSet<usize> {
        let contents = self.contents.lock().unwrap();
        let path = data.file.file_path();
        let is_vector = |delete: &&LiveFile| {
            delete.file.file_format() == DataFileFormat::Puffin
                && delete.file.referenced_data_file().as_deref() == Some(path)
        };
        let vectors: Vec<_> = deletes.iter().filter(is_vector).collect();
        assert!(vectors.len() < 2, "{path} has two vectors");
        let all = || {
            deletes
                .iter()
                .filter(|delete| delete.file.file_format() != DataFileFormat::Puffin)
        };
        let applying: Vec<_> = match vectors.first() {
            Some(vector) => vec![*vector],
            None => all().filter(|delete| has_scope(delete, data)).collect(),
        };
        let newer = applying
            .into_iter()
            .filter(|delete| delete.sequence_number >= data.sequence_number);
        let named =
            newer.flat_map(|delete| contents.positions.get(&place(&delete.file)).into_iter().flatten());
        named
            .filter(|(named, _)| named == path)
            .map(|(_, position)| *position)
            .collect()
    }

    /// The rows of one data file that no delete removes.
    pub(crate) fn rows_of(&self, data: &LiveFile, deletes: &[LiveFile]) -> Vec<Row> {
        let positions = self.deleted_positions(data, deletes);
        let contents = self.contents.lock().unwrap();
        let mut left = Vec::new();
        for (position, row) in contents.rows[data.file.file_path()].iter().enumerate() {
            let by_key = deletes.iter().any(|delete| {
                let reaches = delete.spec_id == FLAT || has_scope(delete, data);
                let keys = contents.keys.get(delete.file.file_path());
                let names = keys.is_some_and(|keys| keys.contains(&row.1));
                names && reaches && delete.sequence_number > data.sequence_number
            });
            if !by_key && !positions.contains(&position) {
                left.push(*row);
            }
        }
        left
    }

    /// Every row of a snapshot, counted.
    pub(crate) async fn read(&self, snapshot: &Snapshot) -> BTreeMap<Row, usize> {
        let (data, deletes) = self.live(snapshot).await;
        let mut rows = BTreeMap::new();
        for file in &data {
            for row in self.rows_of(file, &deletes) {
                *rows.entry(row).or_default() += 1;
            }
        }
        rows
    }

    /// Every row of the newest snapshot, counted.
    pub(crate) async fn read_now(&self) -> BTreeMap<Row, usize> {
        match self.now().metadata.current_snapshot() {
            Some(head) => self.read(head).await,
            None => BTreeMap::new(),
        }
    }
}

fn has_scope(delete: &LiveFile, data: &LiveFile) -> bool {
    delete.spec_id == data.spec_id && delete.file.partition() == data.file.partition()
}
