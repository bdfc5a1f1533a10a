//! Files as other writers make them: Parquet files of whole numbers, position deletes, Puffin files.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use roaring::RoaringTreemap;

use crate::reader::Values;

/// Reserved field ids (spec, Reserved Field IDs).
pub(crate) const FILE_PATH_ID: i32 = 2_147_483_546;
pub(crate) const POS_ID: i32 = 2_147_483_545;
pub(crate) const ROW_ID_ID: i32 = 2_147_483_540;
pub(crate) const LAST_UPDATED_ID: i32 = 2_147_483_539;

/// Columns of every table.
pub(crate) const ID: i32 = 1;
pub(crate) const PART: i32 = 2;
pub(crate) const KEY: i32 = 3;

/// A file with these columns of these rows; whether a column is required follows from its id.
pub(crate) fn parquet_of(rows: &[Values], columns: &BTreeSet<i32>) -> Bytes {
    let fields: Vec<Field> = columns
        .iter()
        .map(|id| field(&column_name(*id), DataType::Int64, *id, *id > KEY))
        .collect();
    let arrays = columns.iter().map(|id| -> ArrayRef {
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.get(id).copied())))
    });
    encoded(fields, arrays.collect())
}

pub(crate) fn column_name(id: i32) -> String {
    match id {
        ID => "id".to_owned(),
        PART => "part".to_owned(),
        KEY => "key".to_owned(),
        ROW_ID_ID => "_row_id".to_owned(),
        LAST_UPDATED_ID => "_last_updated_sequence_number".to_owned(),
        other => format!("x{other}"),
    }
}

/// A position-delete file, sorted as the specification asks.
pub(crate) fn deletes_of(positions: &BTreeSet<(String, u64)>) -> Bytes {
    let paths = StringArray::from_iter_values(positions.iter().map(|(path, _)| path));
    let positions = Int64Array::from_iter_values(positions.iter().map(|(_, position)| *position as i64));
    let fields = vec![
        field("file_path", DataType::Utf8, FILE_PATH_ID, false),
        field("pos", DataType::Int64, POS_ID, false),
    ];
    encoded(fields, vec![Arc::new(paths), Arc::new(positions)])
}

/// A Puffin file of one deletion vector, and the offset and length of its blob.
pub(crate) fn puffin_of(positions: &BTreeSet<u64>) -> (Bytes, i64, i64) {
    let vector = RoaringTreemap::from_iter(positions.iter().copied());
    let mut content = vec![0xD1, 0xD3, 0x39, 0x64];
    vector.serialize_into(&mut content).unwrap();
    let mut checksum = flate2::Crc::new();
    checksum.update(&content);
    let mut file = b"PFA1".to_vec();
    file.extend((content.len() as u32).to_be_bytes());
    file.extend(&content);
    file.extend(checksum.sum().to_be_bytes());
    let length = file.len() as i64 - 4;
    let footer = format!(
        r#"{{"blobs":[{{"type":"deletion-vector-v1","fields":[{POS_ID}],"snapshot-id":-1,"sequence-number":-1,"offset":4,"length":{length}}}]}}"#
    );
    file.extend(b"PFA1");
    file.extend(footer.as_bytes());
    file.extend((footer.len() as u32).to_le_bytes());
    file.extend([0; 4]);
    file.extend(b"PFA1");
    (file.into(), 4, length)
}

fn field(name: &str, kind: DataType, id: i32, nullable: bool) -> Field {
    let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
    Field::new(name, kind, nullable).with_metadata(metadata)
}

fn encoded(fields: Vec<Field>, columns: Vec<ArrayRef>) -> Bytes {
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}
