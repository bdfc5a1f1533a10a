//! Writes the demo's table as careless writers would: hundreds of small files, position deletes, dozens of
//! snapshots. It uses the `iceberg` crate's writers and no part of the engine that will clean up after it.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use arrow_array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, Literal, MAIN_BRANCH, ManifestFile, ManifestListWriter,
    ManifestWriter, ManifestWriterBuilder, NestedField, Operation, PrimitiveType, Schema, SchemaRef,
    Snapshot, SnapshotReference, SnapshotRetention, Struct, Summary, Type, UnboundPartitionSpec,
};
use iceberg::writer::file_writer::{FileWriter as _, FileWriterBuilder as _, ParquetWriterBuilder};
use iceberg::{TableRequirement, TableUpdate};
use parquet::file::properties::WriterProperties;
use snowpack_catalog::{Catalog, LoadedTable, TableChange};

const APPENDS: u64 = 40;
const DELETES: u64 = 12;
const DAYS: i32 = 8;
const ROWS_PER_FILE: i64 = 600;
/// 2026-01-01.
const FIRST_DAY: i32 = 20_454;
/// Field ids the specification reserves for position-delete files.
const FILE_PATH_ID: i32 = 2_147_483_546;
const POSITION_ID: i32 = 2_147_483_545;

/// The table's schema.
pub(super) fn schema() -> anyhow::Result<Schema> {
    let field = |id, name: &str, of| Arc::new(NestedField::required(id, name, Type::Primitive(of)));
    Ok(Schema::builder()
        .with_fields([
            field(1, "order_id", PrimitiveType::Long),
            field(2, "day", PrimitiveType::Date),
            field(3, "customer", PrimitiveType::String),
            field(4, "amount_cents", PrimitiveType::Long),
        ])
        .build()?)
}

/// Partitioned by day.
pub(super) fn partitioning() -> anyhow::Result<UnboundPartitionSpec> {
    let by_day =
        UnboundPartitionSpec::builder().add_partition_field(2, "day", iceberg::spec::Transform::Identity)?;
    Ok(by_day.build())
}

/// Fills the table; `note` is told the commits made and the commits to come.
pub(super) async fn neglect<C: Catalog>(
    catalog: &C,
    table: LoadedTable,
    note: impl Fn(u64, u64),
) -> anyhow::Result<LoadedTable> {
    let mut writer = Writer {
        schema: table.metadata.current_schema().clone(),
        table,
        manifests: Vec::new(),
    };
    let mut written: Vec<(i32, String)> = Vec::new();
    for commit in 0..APPENDS {
        let mut files = Vec::new();
        for day in 0..DAYS {
            let file = writer.data_file(commit, day).await?;
            written.push((day, file.file_path().to_owned()));
            files.push(file);
        }
        writer.commit(catalog, files, Operation::Append).await?;
        note(commit + 1, APPENDS + DELETES);
    }
    for commit in 0..DELETES {
        let day = i32::try_from(commit)? % DAYS;
        let of_day: Vec<_> = written
            .iter()
            .filter(|(of, _)| *of == day)
            .map(|(_, path)| path.clone())
            .collect();
        let file = writer.position_deletes(commit, day, &of_day).await?;
        writer.commit(catalog, vec![file], Operation::Delete).await?;
        note(APPENDS + commit + 1, APPENDS + DELETES);
    }
    Ok(writer.table)
}

/// Appends to one table, keeping its manifests in mind.
struct Writer {
    table: LoadedTable,
    schema: SchemaRef,
    manifests: Vec<ManifestFile>,
}

impl Writer {
    async fn data_file(&self, commit: u64, day: i32) -> anyhow::Result<DataFile> {
        let first = (i64::try_from(commit)? * i64::from(DAYS) + i64::from(day)) * ROWS_PER_FILE;
        let ids: Vec<i64> = (first..first + ROWS_PER_FILE).collect();
        let customers = ids
            .iter()
            .map(|id| format!("customer-{:05}", id.wrapping_mul(7919).rem_euclid(50_021)));
        let amounts = ids
            .iter()
            .map(|id| id.wrapping_mul(104_729).rem_euclid(1_000_003));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(ids.clone())),
            Arc::new(Date32Array::from(vec![FIRST_DAY + day; ids.len()])),
            Arc::new(StringArray::from_iter_values(customers)),
            Arc::new(Int64Array::from_iter_values(amounts)),
        ];
        let path = format!(
            "{}/data/day={day}/{commit:05}-{day}.parquet",
            self.table.metadata.location()
        );
        self.write(&path, &self.schema, columns)
            .await?
            .partition(partition(day))
            .build()
            .context("data file")
    }

    /// Deletes about one row in eleven of each file.
    async fn position_deletes(&self, commit: u64, day: i32, files: &[String]) -> anyhow::Result<DataFile> {
        let schema = Arc::new(position_delete_schema()?);
        let mut sorted = files.to_vec();
        sorted.sort();
        let step = usize::try_from(11 + commit)?;
        let mut paths = Vec::new();
        let mut positions = Vec::new();
        for file in &sorted {
            for position in (i64::try_from(commit)?..ROWS_PER_FILE).step_by(step) {
                paths.push(file.as_str());
                positions.push(position);
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(paths)),
            Arc::new(Int64Array::from(positions)),
        ];
        let path = format!(
            "{}/data/day={day}/{commit:05}-deletes.parquet",
            self.table.metadata.location()
        );
        let mut file = self.write(&path, &schema, columns).await?;
        file.content(DataContentType::PositionDeletes)
            .partition(partition(day));
        file.build().context("position deletes")
    }

    async fn write(
        &self,
        path: &str,
        schema: &SchemaRef,
        columns: Vec<ArrayRef>,
    ) -> anyhow::Result<DataFileBuilder> {
        let batch = RecordBatch::try_new(Arc::new(schema_to_arrow_schema(schema)?), columns)?;
        let builder = ParquetWriterBuilder::new(WriterProperties::builder().build(), Arc::clone(schema));
        let mut writer = builder.build(self.table.io.new_output(path)?).await?;
        writer.write(&batch).await?;
        let mut file = writer
            .close()
            .await?
            .pop()
            .context("the writer returned no file")?;
        file.partition_spec_id(self.table.metadata.default_partition_spec_id());
        Ok(file)
    }

    /// One snapshot that adds these files.
    async fn commit<C: Catalog>(
        &mut self,
        catalog: &C,
        files: Vec<DataFile>,
        operation: Operation,
    ) -> anyhow::Result<()> {
        let metadata = Arc::clone(&self.table.metadata);
        let snapshot_id = i64::try_from(rand::random::<u64>() >> 1)?;
        let sequence_number = metadata.next_sequence_number();
        let folder = format!("{}/metadata/{snapshot_id}", metadata.location());
        self.manifests.push(
            self.manifest(&folder, snapshot_id, files, operation == Operation::Delete)
                .await?,
        );
        let list = format!("{folder}-list.avro");
        let output = self.table.io.new_output(&list)?.writer().await?;
        let parent = metadata.current_snapshot_id();
        let mut writer = ManifestListWriter::v2(output, snapshot_id, parent, sequence_number);
        writer.add_manifests(self.manifests.iter().cloned())?;
        writer.close().await?;
        // The list's writer gave the new manifest its sequence number; later lists need it too.
        let added = self.manifests.last_mut().context("a manifest was just added")?;
        added.sequence_number = sequence_number;
        added.min_sequence_number = sequence_number;
        let snapshot = Snapshot::builder()
            .with_snapshot_id(snapshot_id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(sequence_number)
            .with_timestamp_ms(now_millis())
            .with_manifest_list(list)
            .with_schema_id(self.schema.schema_id())
            .with_summary(Summary {
                operation,
                additional_properties: HashMap::new(),
            })
            .build();
        let retention = SnapshotRetention::branch(None, None, None);
        let change = TableChange {
            requirements: vec![TableRequirement::UuidMatch {
                uuid: metadata.uuid(),
            }],
            updates: vec![
                TableUpdate::AddSnapshot { snapshot },
                TableUpdate::SetSnapshotRef {
                    ref_name: MAIN_BRANCH.to_owned(),
                    reference: SnapshotReference::new(snapshot_id, retention),
                },
            ],
        };
        self.table = catalog.commit(&self.table, change).await?;
        Ok(())
    }

    async fn manifest(
        &self,
        folder: &str,
        snapshot_id: i64,
        files: Vec<DataFile>,
        deletes: bool,
    ) -> anyhow::Result<ManifestFile> {
        let spec = self.table.metadata.default_partition_spec().as_ref().clone();
        let output = self.table.io.new_output(format!("{folder}-m0.avro"))?;
        let builder = ManifestWriterBuilder::new(output, Some(snapshot_id), Arc::clone(&self.schema), spec);
        let mut writer: ManifestWriter = if deletes {
            builder.build_v2_deletes()
        } else {
            builder.build_v2_data()
        };
        for file in files {
            writer.add_file(file, iceberg::spec::UNASSIGNED_SEQUENCE_NUMBER)?;
        }
        Ok(writer.write_manifest_file().await?)
    }
}

fn partition(day: i32) -> Struct {
    Struct::from_iter([Some(Literal::date(FIRST_DAY + day))])
}

fn position_delete_schema() -> anyhow::Result<Schema> {
    let path = NestedField::required(FILE_PATH_ID, "file_path", Type::Primitive(PrimitiveType::String));
    let position = NestedField::required(POSITION_ID, "pos", Type::Primitive(PrimitiveType::Long));
    Ok(Schema::builder()
        .with_fields([Arc::new(path), Arc::new(position)])
        .build()?)
}

fn now_millis() -> i64 {
    use snowpack_service::ports::Clock as _;
    snowpack_service::SystemClock.now().as_micros() / 1000
}
