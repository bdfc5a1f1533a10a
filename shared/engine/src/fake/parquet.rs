//! Parquet files of the fake table's schema, written and read without this crate.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use snowpack_plan::LiveFile;

use super::FakeTable;

/// A file with these ids, all in one partition.
pub(super) fn file_of(part: i32, ids: Range<i64>) -> Bytes {
    let parts = Int32Array::from_iter_values(ids.clone().map(|_| part));
    let columns: [ArrayRef; 2] = [Arc::new(Int64Array::from_iter_values(ids)), Arc::new(parts)];
    let fields = [
        field("id", DataType::Int64, "1"),
        field("part", DataType::Int32, "2"),
    ];
    encoded(&fields, &columns)
}

/// A position-delete file of one data file.
pub(super) fn deletes_of(path: &str, positions: &[usize]) -> Bytes {
    let paths = StringArray::from_iter_values(positions.iter().map(|_| path));
    let positions = Int64Array::from_iter_values(positions.iter().map(|position| *position as i64));
    let fields = [
        field("file_path", DataType::Utf8, "2147483546"),
        field("pos", DataType::Int64, "2147483545"),
    ];
    encoded(&fields, &[Arc::new(paths), Arc::new(positions)])
}

/// The deletes in a position-delete file.
pub(super) fn read_deletes(bytes: Bytes) -> HashSet<(String, usize)> {
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap();
    let mut deletes = HashSet::new();
    for batch in batches {
        let batch = batch.unwrap();
        let positions = batch.column(1).as_primitive::<Int64Type>().values();
        let rows = batch.column(0).as_string::<i32>().iter().flatten().zip(positions);
        deletes.extend(rows.map(|(path, position)| (path.to_owned(), *position as usize)));
    }
    deletes
}

fn field(name: &str, kind: DataType, id: &str) -> Field {
    let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_owned())]);
    Field::new(name, kind, false).with_metadata(metadata)
}

fn encoded(fields: &[Field; 2], columns: &[ArrayRef; 2]) -> Bytes {
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns.to_vec()).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

/// The ids in the newest snapshot's data files, counted.
pub(crate) async fn ids(table: &FakeTable) -> BTreeMap<i64, usize> {
    let (data, _) = table.live_now().await;
    let mut ids = BTreeMap::new();
    for LiveFile { file, .. } in data {
        let bytes = table
            .now()
            .io
            .new_input(file.file_path())
            .unwrap()
            .read()
            .await
            .unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)
            .unwrap()
            .build()
            .unwrap()
        {
            for id in batch.unwrap().column(0).as_primitive::<Int64Type>().values() {
                *ids.entry(*id).or_default() += 1;
            }
        }
    }
    ids
}
