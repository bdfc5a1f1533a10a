//! A table in memory: metadata with any schemas, specs and properties, and Parquet files as other engines
//! would have written them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, PartitionSpec, Schema, Struct, StructType,
    TableMetadata, Type,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::file::properties::WriterProperties;
use serde_json::json;
use snowpack_plan::LiveFile;

use super::values::{Value, array_of, fields_of, values_of};

/// Where the table is.
pub(crate) const LOCATION: &str = "memory:///warehouse/t";

/// The table.
pub(crate) struct SampleTable {
    pub(crate) io: FileIO,
    pub(crate) metadata: Arc<TableMetadata>,
}

impl SampleTable {
    /// A table with these schemas, the last one current, and these specs, the last one default.
    pub(crate) fn new(
        schemas: &[StructType],
        specs: Vec<PartitionSpec>,
        properties: &[(&str, &str)],
    ) -> Self {
        let schemas: Vec<Schema> = schemas
            .iter()
            .enumerate()
            .map(|(id, fields)| {
                let builder = Schema::builder().with_schema_id(id as i32);
                builder
                    .with_fields(fields.fields().iter().cloned())
                    .build()
                    .unwrap()
            })
            .collect();
        let specs = if specs.is_empty() {
            vec![PartitionSpec::unpartition_spec()]
        } else {
            specs
        };
        let properties: HashMap<_, _> = properties.iter().copied().collect();
        let json = json!({
            "format-version": 2,
            "table-uuid": uuid::Uuid::nil(),
            "location": LOCATION,
            "last-sequence-number": 100,
            "last-updated-ms": 0,
            "last-column-id": 1000,
            "current-schema-id": schemas.len() - 1,
            "schemas": schemas,
            "default-spec-id": specs.last().unwrap().spec_id(),
            "partition-specs": specs,
            "last-partition-id": 2000,
            "default-sort-order-id": 0,
            "sort-orders": [{"order-id": 0, "fields": []}],
            "properties": properties,
        });
        let metadata = serde_json::from_value(json).unwrap();
        Self {
            io: FileIO::new_with_memory(),
            metadata: Arc::new(metadata),
        }
    }

    /// Writes rows of a schema to a data file, with small row groups.
    pub(crate) async fn data_file(&self, name: &str, fields: &StructType, rows: &[Value]) -> DataFileBuilder {
        let batch = batch_of(fields, rows);
        self.store(name, DataContentType::Data, &batch, 7).await
    }

    /// Writes a batch to a file and describes it.
    pub(crate) async fn store(
        &self,
        name: &str,
        content: DataContentType,
        batch: &RecordBatch,
        row_group_rows: usize,
    ) -> DataFileBuilder {
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(row_group_rows))
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        self.store_bytes(name, content, writer.into_inner().unwrap(), batch.num_rows())
            .await
    }

    /// Stores a file as it is and describes it.
    pub(crate) async fn store_bytes(
        &self,
        name: &str,
        content: DataContentType,
        bytes: Vec<u8>,
        rows: usize,
    ) -> DataFileBuilder {
        let path = format!("{LOCATION}/data/{name}");
        let size = bytes.len() as u64;
        self.io
            .new_output(&path)
            .unwrap()
            .write(Bytes::from(bytes))
            .await
            .unwrap();
        let mut file = DataFileBuilder::default();
        file.content(content)
            .file_path(path)
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .record_count(rows as u64)
            .file_size_in_bytes(size);
        file
    }

    /// Writes a position-delete file over `(data file, position)`, which have to be sorted.
    pub(crate) async fn position_deletes(&self, name: &str, deletes: &[(String, i64)]) -> DataFile {
        let field = |name: &str, data_type, id: i32| {
            let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
            Field::new(name, data_type, false).with_metadata(metadata)
        };
        let schema = ArrowSchema::new(vec![
            field("file_path", DataType::Utf8, 2_147_483_546),
            field("pos", DataType::Int64, 2_147_483_545),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(
                deletes.iter().map(|(path, _)| path),
            )),
            Arc::new(Int64Array::from_iter_values(
                deletes.iter().map(|(_, position)| *position),
            )),
        ];
        let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
        self.store(name, DataContentType::PositionDeletes, &batch, 3)
            .await
            .build()
            .unwrap()
    }

    /// Writes an equality-delete file over rows of a key schema.
    pub(crate) async fn equality_deletes(
        &self,
        name: &str,
        ids: &[i32],
        fields: &StructType,
        rows: &[Value],
    ) -> DataFile {
        let batch = batch_of(fields, rows);
        let mut file = self
            .store(name, DataContentType::EqualityDeletes, &batch, 5)
            .await;
        file.equality_ids(Some(ids.to_vec())).build().unwrap()
    }

    /// The rows of a data file of the current schema, read without this crate.
    pub(crate) async fn rows_of(&self, file: &DataFile) -> Vec<Value> {
        let bytes = self.io.new_input(file.file_path()).unwrap().read().await.unwrap();
        assert_eq!(bytes.len() as u64, file.file_size_in_bytes());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .unwrap()
            .build()
            .unwrap();
        let schema = Type::Struct(self.metadata.current_schema().as_struct().clone());
        reader
            .flat_map(|batch| {
                let rows: ArrayRef = Arc::new(arrow_array::StructArray::from(batch.unwrap()));
                values_of(&schema, &rows)
            })
            .collect()
    }
}

fn batch_of(fields: &StructType, rows: &[Value]) -> RecordBatch {
    let rows = array_of(&Type::Struct(fields.clone()), rows);
    let columns = arrow_array::cast::AsArray::as_struct(&rows).columns().to_vec();
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields_of(fields))), columns).unwrap()
}

/// A file as the planner has it.
pub(crate) fn live(file: DataFile, spec_id: i32, sequence_number: i64) -> Arc<LiveFile> {
    Arc::new(LiveFile {
        file,
        spec_id,
        snapshot_id: sequence_number,
        sequence_number,
        file_sequence_number: Some(sequence_number),
    })
}
