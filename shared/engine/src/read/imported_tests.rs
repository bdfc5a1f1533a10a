//! Files that Iceberg did not write: no field ids, old list layouts, INT96, decimals as bytes, values kept in
//! the partition only.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, RecordBatch, StructArray};
use iceberg::spec::{
    ListType, Literal, NestedField, PartitionSpec, PrimitiveType, Schema, Struct, StructType, Transform, Type,
};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type, Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use snowpack_plan::ScanFile;
use tokio::sync::mpsc::channel;

use super::scan::scan;
use super::{ScanContext, ScanTask, table_arrow_schema};
use crate::deletes::{DeleteReader, GroupDeletes};
use crate::file_error::FileError;
use crate::sample::{SampleTable, Value, live, values_of};

type RowGroup<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

/// A Parquet file of one row group, column by column.
fn parquet(schema: &str, write: impl FnOnce(&mut RowGroup<'_>)) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    write(&mut group);
    group.close().unwrap();
    writer.into_inner().unwrap()
}

macro_rules! column {
    ($group:expr, $kind:ty, $values:expr) => {
        column!($group, $kind, $values, None, None)
    };
    ($group:expr, $kind:ty, $values:expr, $definitions:expr, $repetitions:expr) => {{
        let mut column = $group.next_column().unwrap().unwrap();
        column
            .typed::<$kind>()
            .write_batch($values, $definitions, $repetitions)
            .unwrap();
        column.close().unwrap();
    }};
}

fn optional(id: i32, name: &str, field_type: impl Into<Type>) -> Arc<NestedField> {
    NestedField::optional(id, name, field_type.into()).into()
}

fn list(id: i32, element: impl Into<Type>) -> Type {
    Type::List(ListType {
        element_field: NestedField::list_element(id, element.into(), false).into(),
    })
}

/// Reads a file of a table into rows of the current schema.
async fn read(table: &SampleTable, bytes: Vec<u8>, partition: Struct) -> Result<Vec<RecordBatch>, FileError> {
    let mut file = table
        .store_bytes("f", iceberg::spec::DataContentType::Data, bytes, 1)
        .await;
    let file = file.partition(partition).build().unwrap();
    let data = live(file, table.metadata.default_partition_spec_id(), 1);
    let file = ScanFile::new(data);
    let supervisor = crate::fake::FakeSupervisor::default();
    let files = std::slice::from_ref(&file);
    let reader = DeleteReader::new(table.io.clone(), Arc::clone(&table.metadata), None);
    let deletes = GroupDeletes::load(&reader, files, &supervisor).await.unwrap();
    let mapping = table.metadata.properties().get("schema.name-mapping.default");
    let context = ScanContext {
        io: table.io.clone(),
        table: Arc::clone(&table.metadata),
        schema: Arc::clone(table.metadata.current_schema()),
        arrow_schema: table_arrow_schema(table.metadata.current_schema()).unwrap(),
        name_mapping: mapping.map(|json| serde_json::from_str(json).unwrap()),
        deletes,
        copy: None,
        hasher: None,
        lineage_as_stored: false,
    };
    let (sender, mut chunks) = channel(16);
    scan(Arc::new(context), ScanTask { index: 0, file }, sender).await;
    let mut batches = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        batches.push(chunk?.payload.into_rows());
    }
    Ok(batches)
}

async fn rows(fields: Vec<Arc<NestedField>>, properties: &[(&str, &str)], bytes: Vec<u8>) -> Vec<Value> {
    let fields = StructType::new(fields);
    let table = SampleTable::new(std::slice::from_ref(&fields), Vec::new(), properties);
    let batches = read(&table, bytes, Struct::empty()).await.unwrap();
    as_rows(&fields, batches)
}

fn as_rows(fields: &StructType, batches: Vec<RecordBatch>) -> Vec<Value> {
    batches
        .into_iter()
        .flat_map(|batch| {
            let rows: ArrayRef = Arc::new(StructArray::from(batch));
            values_of(&Type::Struct(fields.clone()), &rows)
        })
        .collect()
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

const TWO_COLUMNS: &str = "message m { REQUIRED INT32 a; OPTIONAL BYTE_ARRAY b; }";

fn two_columns() -> Vec<u8> {
    parquet(TWO_COLUMNS, |group| {
        column!(group, Int32Type, &[1, 2]);
        column!(group, ByteArrayType, &[ByteArray::from("x")], Some(&[1, 0]), None);
    })
}

#[tokio::test]
async fn without_ids_columns_match_by_position() {
    let fields = vec![
        optional(3, "added", PrimitiveType::Int),
        optional(2, "renamed", PrimitiveType::String),
        optional(1, "a", PrimitiveType::Long),
    ];
    let expected = [
        Value::Struct(vec![Value::Null, text("x"), Value::Int(1)]),
        Value::Struct(vec![Value::Null, Value::Null, Value::Int(2)]),
    ];
    assert_eq!(rows(fields, &[], two_columns()).await, expected);
}

#[tokio::test]
async fn a_name_mapping_gives_the_ids_of_files_without() {
    let mapping = r#"[{"field-id": 7, "names": ["b", "old_b"]}, {"field-id": 9, "names": ["c"]}]"#;
    let fields = vec![
        optional(9, "c", PrimitiveType::Int),
        optional(7, "new_b", PrimitiveType::Binary),
    ];
    let expected = [
        Value::Struct(vec![Value::Null, Value::Bytes(b"x".to_vec())]),
        Value::Struct(vec![Value::Null, Value::Null]),
    ];
    assert_eq!(
        rows(fields, &[("schema.name-mapping.default", mapping)], two_columns()).await,
        expected
    );
}

#[tokio::test]
async fn a_name_mapping_reaches_into_lists_of_structs() {
    let schema = "message m { OPTIONAL group l (LIST) { REPEATED group array {
        REQUIRED INT32 x; REQUIRED INT64 y; } } }";
    let bytes = parquet(schema, |group| {
        column!(group, Int32Type, &[1, 2], Some(&[2, 2, 0]), Some(&[0, 1, 0]));
        column!(group, Int64Type, &[10, 20], Some(&[2, 2, 0]), Some(&[0, 1, 0]));
    });
    let mapping = r#"[{"field-id": 1, "names": ["l"], "fields": [{"field-id": 2, "names": ["element"],
        "fields": [{"field-id": 4, "names": ["y"]}]}]}]"#;
    let element = StructType::new(vec![optional(4, "why", PrimitiveType::Long)]);
    let fields = vec![optional(1, "l", list(2, Type::Struct(element)))];
    let item = |y| Value::Struct(vec![Value::Int(y)]);
    let expected = [
        Value::Struct(vec![Value::List(vec![item(10), item(20)])]),
        Value::Struct(vec![Value::Null]),
    ];
    assert_eq!(
        rows(fields, &[("schema.name-mapping.default", mapping)], bytes).await,
        expected
    );
}

#[tokio::test]
async fn old_lists_of_two_levels_are_read() {
    let schema = "message m { OPTIONAL group l (LIST) = 1 { REPEATED INT32 element; } }";
    let bytes = parquet(schema, |group| {
        column!(
            group,
            Int32Type,
            &[5, 6],
            Some(&[2, 2, 1, 0]),
            Some(&[0, 1, 0, 0])
        );
    });
    let fields = vec![optional(1, "l", list(2, PrimitiveType::Long))];
    let expected = [
        Value::Struct(vec![Value::List(vec![Value::Int(5), Value::Int(6)])]),
        Value::Struct(vec![Value::List(vec![])]),
        Value::Struct(vec![Value::Null]),
    ];
    assert_eq!(rows(fields, &[], bytes).await, expected);
}

#[tokio::test]
async fn int96_is_read_to_the_microsecond_even_outside_the_years_of_nanoseconds() {
    let int96 = |julian_day: u32, nanos: u64| {
        let mut value = Int96::new();
        value.set_data(nanos as u32, (nanos >> 32) as u32, julian_day);
        value
    };
    let bytes = parquet("message m { REQUIRED INT96 t = 1; }", |group| {
        column!(
            group,
            Int96Type,
            &[int96(2_440_588, 1_500), int96(2_440_588 - 719_162, 0)]
        );
    });
    let year_1 = -719_162 * 86_400_000_000;
    for kind in [PrimitiveType::Timestamp, PrimitiveType::Timestamptz] {
        let fields = StructType::new(vec![optional(1, "t", kind)]);
        let table = SampleTable::new(std::slice::from_ref(&fields), Vec::new(), &[]);
        let batches = read(&table, bytes.clone(), Struct::empty()).await.unwrap();
        let column = batches[0].column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(column.values().as_ref(), [1, year_1]);
    }
}

#[tokio::test]
async fn decimals_of_any_physical_type_are_widened() {
    let schema =
        "message m { REQUIRED BYTE_ARRAY b (DECIMAL(9,2)) = 1; REQUIRED INT32 i (DECIMAL(5,2)) = 2; }";
    let bytes = parquet(schema, |group| {
        column!(group, ByteArrayType, &[ByteArray::from(vec![0xFFu8, 0x6A])]);
        column!(group, Int32Type, &[99_999]);
    });
    let decimal = PrimitiveType::Decimal {
        precision: 20,
        scale: 2,
    };
    let fields = StructType::new(vec![optional(1, "b", decimal.clone()), optional(2, "i", decimal)]);
    let table = SampleTable::new(std::slice::from_ref(&fields), Vec::new(), &[]);
    let batches = read(&table, bytes, Struct::empty()).await.unwrap();
    assert_eq!(
        batches[0].column(0).as_primitive::<Decimal128Type>().value(0),
        -150
    );
    assert_eq!(
        batches[0].column(1).as_primitive::<Decimal128Type>().value(0),
        99_999
    );
}

#[tokio::test]
async fn an_identity_partition_gives_the_values_that_the_file_leaves_out() {
    let fields = StructType::new(vec![
        optional(1, "a", PrimitiveType::Int),
        optional(8, "day", PrimitiveType::Date),
        optional(9, "bucketed", PrimitiveType::Long),
    ]);
    let schema = Schema::builder()
        .with_fields(fields.fields().iter().cloned())
        .build()
        .unwrap();
    let spec = PartitionSpec::builder(schema)
        .with_spec_id(1)
        .add_partition_field("day", "day", Transform::Identity)
        .unwrap()
        .add_partition_field("bucketed", "bucket", Transform::Bucket(4))
        .unwrap()
        .build()
        .unwrap();
    let table = SampleTable::new(std::slice::from_ref(&fields), vec![spec], &[]);
    let bytes = parquet("message m { REQUIRED INT32 a = 1; }", |group| {
        column!(group, Int32Type, &[1, 2])
    });
    let partition = Struct::from_iter([Some(Literal::date(33)), Some(Literal::int(3))]);
    let batches = read(&table, bytes, partition).await.unwrap();
    let row = |a| Value::Struct(vec![Value::Int(a), Value::Int(33), Value::Null]);
    assert_eq!(as_rows(&fields, batches), [row(1), row(2)]);
}

#[tokio::test]
async fn what_does_not_fit_the_schema_is_refused_and_the_file_and_column_named() {
    let cases = [
        (
            NestedField::optional(1, "a", PrimitiveType::Date.into()),
            "column a: the file has Float64",
        ),
        (
            NestedField::required(2, "b", PrimitiveType::Int.into()),
            "column b is required",
        ),
        (
            NestedField::optional(1, "a", list(3, PrimitiveType::Double)),
            "column a: the file has Float64",
        ),
    ];
    for (field, reason) in cases {
        let table = SampleTable::new(&[StructType::new(vec![field.into()])], Vec::new(), &[]);
        let bytes = parquet("message m { REQUIRED DOUBLE a = 1; }", |group| {
            column!(group, DoubleType, &[1.0])
        });
        let error = read(&table, bytes, Struct::empty())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("data/f") && error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_is_an_error_and_not_changed() {
    let bytes = parquet("message m { REQUIRED BYTE_ARRAY a = 1; }", |group| {
        column!(group, ByteArrayType, &[ByteArray::from(vec![0xFFu8, 0xFE])]);
    });
    let fields = StructType::new(vec![optional(1, "a", PrimitiveType::String)]);
    let table = SampleTable::new(&[fields], Vec::new(), &[]);
    assert!(read(&table, bytes, Struct::empty()).await.is_err());
}

#[tokio::test]
async fn a_null_in_a_required_column_is_an_error() {
    let bytes = parquet("message m { OPTIONAL INT32 a = 1; }", |group| {
        column!(group, Int32Type, &[1], Some(&[1, 0]), None);
    });
    let fields = StructType::new(vec![
        NestedField::required(1, "a", PrimitiveType::Int.into()).into(),
    ]);
    let table = SampleTable::new(&[fields], Vec::new(), &[]);
    assert!(read(&table, bytes, Struct::empty()).await.is_err());
}
