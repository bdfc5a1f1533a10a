//! Reads a snapshot by the rules of the specification in their plainest form, without the code under test: every
//! file whole, every delete against every row.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use bytes::Bytes;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, Manifest, ManifestContentType, ManifestFile,
    ManifestList, ManifestStatus, Snapshot, TableMetadata,
};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use roaring::RoaringTreemap;

use crate::files::{FILE_PATH_ID, LAST_UPDATED_ID, POS_ID, ROW_ID_ID};
use crate::world::{World, lock};

/// The values of a row by column id, nulls left out.
pub(crate) type Values = BTreeMap<i32, i64>;

/// A row as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) values: Values,
    /// Row id and last updated sequence number (version 3).
    pub(crate) lineage: Option<(i64, i64)>,
}

/// A live file of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) file: DataFile,
    pub(crate) spec_id: i32,
    pub(crate) sequence: i64,
    pub(crate) file_sequence: i64,
    pub(crate) first_row_id: Option<i64>,
}

impl Live {
    pub(crate) fn path(&self) -> &str {
        self.file.file_path()
    }

    pub(crate) fn is_data(&self) -> bool {
        self.file.content_type() == DataContentType::Data
    }

    pub(crate) fn shares_partition(&self, other: &Self) -> bool {
        self.spec_id == other.spec_id && self.file.partition() == other.file.partition()
    }
}

/// Where a live row is.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Index of its file among the live ones.
    pub(crate) file: usize,
    pub(crate) position: u64,
    pub(crate) row: Row,
}

/// The deletes of a file, or of the vector at an offset in it: data file and position.
type Deleted = Arc<BTreeSet<(String, u64)>>;

/// What is in the files that were read before: files never change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parsed {
    records: HashMap<String, Arc<Vec<Values>>>,
    positions: HashMap<(String, Option<i64>), Deleted>,
    manifests: HashMap<String, Arc<Manifest>>,
}

impl World {
    /// A file's bytes.
    ///
    /// # Panics
    /// It is missing.
    pub(crate) fn bytes(&self, path: &str) -> Bytes {
        let files = lock(&self.files);
        let stored = files
            .get(path)
            .unwrap_or_else(|| panic!("{path} is referenced and missing"));
        stored.bytes.clone()
    }

    pub(crate) fn manifests(&self, metadata: &TableMetadata, snapshot: &Snapshot) -> Vec<ManifestFile> {
        let bytes = self.bytes(snapshot.manifest_list());
        let list = ManifestList::parse_with_version(&bytes, metadata.format_version()).unwrap();
        list.consume_entries().into_iter().collect()
    }

    pub(crate) fn manifest(&self, listed: &ManifestFile) -> Arc<Manifest> {
        let path = &listed.manifest_path;
        let bytes = self.bytes(path);
        assert_eq!(bytes.len() as i64, listed.manifest_length, "length of {path}");
        let mut parsed = lock(&self.parsed);
        let manifest = parsed.manifests.entry(path.clone());
        Arc::clone(manifest.or_insert_with(|| Arc::new(Manifest::parse_avro(&bytes).unwrap())))
    }

    /// The live files of a snapshot, data and deletes.
    pub(crate) fn live(&self, metadata: &TableMetadata, snapshot: &Snapshot) -> Vec<Live> {
        let mut live = Vec::new();
        for listed in self.manifests(metadata, snapshot) {
            let mut next_row_id = listed.first_row_id.map(|id| id as i64);
            for entry in self
                .manifest(&listed)
                .entries()
                .iter()
                .filter(|entry| entry.is_alive())
            {
                let inherits = entry.status() == ManifestStatus::Added
                    || metadata.format_version() == FormatVersion::V1
                    || listed.sequence_number == 0;
                let number = |own: Option<i64>| {
                    own.or(inherits.then_some(listed.sequence_number))
                        .unwrap_or_else(|| panic!("{} has no sequence number", entry.file_path()))
                };
                let mut first_row_id = entry.data_file().first_row_id();
                if first_row_id.is_none() && listed.content == ManifestContentType::Data {
                    first_row_id = next_row_id;
                    next_row_id = next_row_id.map(|id| id + entry.record_count() as i64);
                }
                live.push(Live {
                    file: entry.data_file().clone(),
                    spec_id: listed.partition_spec_id,
                    sequence: number(entry.sequence_number()),
                    file_sequence: number(entry.file_sequence_number),
                    first_row_id,
                });
            }
        }
        live
    }

    /// The live rows of a snapshot.
    pub(crate) fn rows(&self, metadata: &TableMetadata, live: &[Live]) -> Vec<Found> {
        let mut found = Vec::new();
        for (index, data) in live.iter().enumerate().filter(|(_, file)| file.is_data()) {
            let gone = self.deleted_positions(data, live);
            for (position, values) in self.records(data.path()).iter().enumerate() {
                let position = position as u64;
                if !gone.contains(&position) && !self.is_deleted_by_key(metadata, data, values, live) {
                    let row = row_of(metadata, data, position, values);
                    found.push(Found {
                        file: index,
                        position,
                        row,
                    });
                }
            }
        }
        found
    }

    /// The positions of a data file that position deletes or its deletion vector remove.
    pub(crate) fn deleted_positions(&self, data: &Live, live: &[Live]) -> BTreeSet<u64> {
        let positional = |file: &&Live| {
            file.file.content_type() == DataContentType::PositionDeletes && data.sequence <= file.sequence
        };
        let vector = live.iter().filter(positional).find(|delete| {
            let about = delete.file.referenced_data_file();
            delete.file.file_format() == DataFileFormat::Puffin && about.as_deref() == Some(data.path())
        });
        let deletes: Vec<_> = match vector {
            Some(vector) => vec![vector],
            None => live
                .iter()
                .filter(positional)
                .filter(|delete| delete.file.file_format() == DataFileFormat::Parquet)
                .filter(|delete| delete.shares_partition(data))
                .collect(),
        };
        let named = deletes.iter().flat_map(|delete| {
            let positions = self.positions(&delete.file);
            let ours = positions.iter().filter(|(path, _)| path == data.path());
            ours.map(|(_, position)| *position).collect::<Vec<_>>()
        });
        named.collect()
    }

    fn is_deleted_by_key(
        &self,
        metadata: &TableMetadata,
        data: &Live,
        values: &Values,
        live: &[Live],
    ) -> bool {
        let by_key = |file: &&Live| file.file.content_type() == DataContentType::EqualityDeletes;
        live.iter().filter(by_key).any(|delete| {
            let spec = metadata.partition_spec_by_id(delete.spec_id).unwrap();
            let reaches = spec.is_unpartitioned() || delete.shares_partition(data);
            let ids = delete.file.equality_ids().unwrap();
            reaches
                && data.sequence < delete.sequence
                && self
                    .records(delete.path())
                    .iter()
                    .any(|key| ids.iter().all(|id| key.get(id) == values.get(id)))
        })
    }

    /// The rows of a Parquet file of whole numbers.
    pub(crate) fn records(&self, path: &str) -> Arc<Vec<Values>> {
        let bytes = self.bytes(path);
        let mut parsed = lock(&self.parsed);
        let rows = parsed.records.entry(path.to_owned());
        Arc::clone(rows.or_insert_with(|| Arc::new(batches(bytes).iter().flat_map(values_of).collect())))
    }

    fn positions(&self, file: &DataFile) -> Deleted {
        let bytes = self.bytes(file.file_path());
        let mut parsed = lock(&self.parsed);
        let positions = parsed
            .positions
            .entry((file.file_path().to_owned(), file.content_offset()));
        Arc::clone(positions.or_insert_with(|| {
            Arc::new(match file.referenced_data_file() {
                Some(about) if file.file_format() == DataFileFormat::Puffin => {
                    let vector = vector_of(&bytes, file);
                    vector
                        .into_iter()
                        .map(|position| (about.clone(), position))
                        .collect()
                }
                _ => batches(bytes).iter().flat_map(positions_of).collect(),
            })
        }))
    }
}

fn row_of(metadata: &TableMetadata, data: &Live, position: u64, values: &Values) -> Row {
    let mut values = values.clone();
    let (id, updated) = (values.remove(&ROW_ID_ID), values.remove(&LAST_UPDATED_ID));
    let row_id = id.or(data.first_row_id.map(|first| first + position as i64));
    let row_id = row_id.filter(|_| metadata.format_version() == FormatVersion::V3);
    let lineage = row_id.map(|id| (id, updated.unwrap_or(data.sequence)));
    Row { values, lineage }
}

fn batches(bytes: Bytes) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap();
    reader.map(Result::unwrap).collect()
}

fn values_of(batch: &RecordBatch) -> Vec<Values> {
    let mut rows = vec![Values::new(); batch.num_rows()];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let id = field.metadata()[PARQUET_FIELD_ID_META_KEY].parse().unwrap();
        for (row, value) in column.as_primitive::<Int64Type>().iter().enumerate() {
            if let Some(value) = value {
                rows[row].insert(id, value);
            }
        }
    }
    rows
}

fn positions_of(batch: &RecordBatch) -> Vec<(String, u64)> {
    let column = |id: i32| {
        let schema = batch.schema();
        let with_id =
            |field: &Arc<arrow_schema::Field>| field.metadata()[PARQUET_FIELD_ID_META_KEY] == id.to_string();
        Arc::clone(batch.column(schema.fields().iter().position(with_id).unwrap()))
    };
    let (paths, positions) = (column(FILE_PATH_ID), column(POS_ID));
    let (paths, positions) = (paths.as_string::<i32>(), positions.as_primitive::<Int64Type>());
    (0..batch.num_rows())
        .map(|row| (paths.value(row).to_owned(), positions.value(row) as u64))
        .collect()
}

/// Length, magic number, bitmap, checksum.
fn vector_of(puffin: &Bytes, file: &DataFile) -> RoaringTreemap {
    let start = file.content_offset().unwrap() as usize;
    let blob = &puffin[start..start + file.content_size_in_bytes().unwrap() as usize];
    let vector = RoaringTreemap::deserialize_from(&blob[8..blob.len() - 4]).unwrap();
    assert_eq!(vector.len(), file.record_count());
    vector
}
