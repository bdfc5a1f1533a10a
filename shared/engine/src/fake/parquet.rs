//! Parquet files of the fake table's schema, written and read without this crate.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use snowpack_plan::LiveFile;

use super::FakeTable;

/// A file with these ids, all in one partition.
pub(super) fn file_of(part: i32, ids: Range<i64>) -> Bytes {
    let field = |name: &str, kind: DataType, id: &str| {
        let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_owned())]);
        Field::new(name, kind, false).with_metadata(metadata)
    };
    let schema = Schema::new(vec![
        field("id", DataType::Int64, "1"),
        field("part", DataType::Int32, "2"),
    ]);
    let parts = Int32Array::from_iter_values(ids.clone().map(|_| part));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(parts)];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
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
