//! Rewrites of random groups against a naive model: rows as plain values, deletes applied one by one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{DataFile, NestedField, PrimitiveType, Struct, StructType, Type};
use proptest::prelude::*;
use rand::Rng;
use rand::seq::IndexedRandom;
use snowpack_domain::Verification;
use snowpack_plan::{FileGroup, ScanFile};
use snowpack_service::ports::{ActionStop, Supervisor};

use super::{RewriteContext, RewrittenGroup, rewrite_group};
use crate::error::EngineError;
use crate::fake::FakeSupervisor;
use crate::sample::{Generator, SampleTable, Value, evolve, key_of, live};
use crate::write::WrittenFiles;

pub(super) fn context(table: &SampleTable) -> RewriteContext {
    let spec = table.metadata.default_partition_spec_id();
    let context = RewriteContext::of(Arc::clone(&table.metadata), table.io.clone(), spec).unwrap();
    context.verified(Verification::Content)
}

pub(super) fn group(files: Vec<ScanFile>, output_files: usize) -> FileGroup {
    let input_bytes = files.iter().map(|file| file.data.file.file_size_in_bytes()).sum();
    FileGroup {
        index: 4,
        partition: Struct::empty(),
        files,
        input_bytes,
        output_files,
        max_output_bytes: 1024 * 1024,
        repartition: false,
    }
}

pub(super) async fn rewrite(table: &SampleTable, group: &FileGroup) -> Result<RewrittenGroup, EngineError> {
    let supervisor = FakeSupervisor::default();
    let rewritten = rewrite_group(&context(table), group, &WrittenFiles::default(), &supervisor).await?;
    let content = rewritten.content.unwrap();
    assert_eq!(content.read, content.written);
    Ok(rewritten)
}

/// A data file of the model.
struct Model {
    file: ScanFile,
    schema: usize,
    rows: Vec<Value>,
    deleted: HashSet<usize>,
}

/// A random table, its data files, and the deletes that apply to them.
struct Scenario {
    table: SampleTable,
    schemas: Vec<StructType>,
    files: Vec<Model>,
}

impl Scenario {
    async fn generate(seed: u64) -> (Self, Generator) {
        let mut generator = Generator::new(seed);
        let mut schemas = vec![generator.schema()];
        for _ in 0..generator.random.random_range(0..4) {
            let next = generator.evolve(schemas.last().unwrap());
            schemas.push(next);
        }
        // Row groups of the samples are copied when they are of the table's codec and size.
        let row_group_bytes = ["200", "600", "2000", "134217728"][generator.random.random_range(0..4)];
        let properties = [
            ("write.parquet.compression-codec", "uncompressed"),
            ("write.parquet.row-group-size-bytes", row_group_bytes),
        ];
        let table = SampleTable::new(&schemas, Vec::new(), &properties);
        let mut scenario = Self {
            table,
            schemas,
            files: Vec::new(),
        };
        for index in 0..generator.random.random_range(1..6) {
            scenario.add_file(index, &mut generator).await;
        }
        (scenario, generator)
    }

    async fn add_file(&mut self, index: usize, generator: &mut Generator) {
        let schema = generator.random.random_range(0..self.schemas.len());
        let count = generator.random.random_range(0..30);
        let fields = &self.schemas[schema];
        let rows: Vec<Value> = (0..count)
            .map(|row| generator.row(fields, (index * 100 + row) as i64))
            .collect();
        let name = format!("in-{index}.parquet");
        let mut file = self.table.data_file(&name, fields, &rows).await;
        let file = file.nan_value_counts(nan_counts(fields, &rows)).build().unwrap();
        let sequence = generator.random.random_range(1..10);
        let data = live(file, 0, sequence);
        let file = ScanFile::new(data);
        self.files.push(Model {
            file,
            schema,
            rows,
            deleted: HashSet::new(),
        });
    }

    async fn add_position_deletes(&mut self, index: usize, generator: &mut Generator) {
        let mut deletes = BTreeSet::new();
        let mut listed = Vec::new();
        for file in &mut self.files {
            if file.rows.is_empty() || generator.chance(0.4) {
                continue;
            }
            let path = file.file.data.file.file_path().to_owned();
            let applies = generator.chance(0.8);
            for _ in 0..generator.random.random_range(1..6) {
                let row = generator.random.random_range(0..file.rows.len());
                deletes.insert((path.clone(), row as i64));
                if applies {
                    file.deleted.insert(row);
                }
            }
            listed.push(applies);
        }
        let deletes: Vec<_> = deletes.into_iter().collect();
        let file = self
            .table
            .position_deletes(&format!("pos-{index}.parquet"), &deletes)
            .await;
        let delete = live(file, 0, 50);
        for file in &mut self.files {
            let path = file.file.data.file.file_path();
            let named = deletes.iter().filter(|(named, _)| named == path);
            // Only where every row it names was marked above does the file apply.
            if named.clone().count() > 0
                && named
                    .clone()
                    .all(|(_, row)| file.deleted.contains(&(*row as usize)))
            {
                file.file.position_deletes.push(Arc::clone(&delete));
            }
        }
    }

    async fn add_equality_deletes(&mut self, index: usize, generator: &mut Generator) {
        let schema = self.schemas[generator.random.random_range(0..self.schemas.len())].clone();
        let candidates = primitives(&schema);
        let count = generator
            .random
            .random_range(1..3.min(candidates.len() + 1).max(2));
        let ids: Vec<i32> = candidates
            .choose_multiple(&mut generator.random, count)
            .copied()
            .collect();
        let key_schema = StructType::new(
            ids.iter()
                .map(|id| optional(field(&schema, *id).unwrap()).into())
                .collect(),
        );
        let mut keys: Vec<Vec<Value>> = Vec::new();
        for _ in 0..generator.random.random_range(1..4) {
            let file = self.files.choose(&mut generator.random).unwrap();
            if let Some(row) = file.rows.choose(&mut generator.random) {
                keys.push(
                    ids.iter()
                        .map(|id| key_of(&self.schemas[file.schema], *id, row))
                        .collect(),
                );
            }
        }
        keys.retain(|key| fits(&key_schema, key));
        let rows: Vec<Value> = keys.iter().cloned().map(Value::Struct).collect();
        let name = format!("eq-{index}.parquet");
        let file = self.table.equality_deletes(&name, &ids, &key_schema, &rows).await;
        let delete = live(file, 0, generator.random.random_range(2..12));
        for file in &mut self.files {
            if delete.sequence_number <= file.file.data.sequence_number {
                continue;
            }
            file.file.equality_deletes.push(Arc::clone(&delete));
            for (index, row) in file.rows.iter().enumerate() {
                let key: Vec<Value> = ids
                    .iter()
                    .map(|id| key_of(&self.schemas[file.schema], *id, row))
                    .collect();
                if keys.contains(&key) {
                    file.deleted.insert(index);
                }
            }
        }
    }

    /// The rows left, as the current schema has them, in planned order.
    fn expected(&self) -> Vec<Value> {
        let current = Type::Struct(self.schemas.last().unwrap().clone());
        let mut rows = Vec::new();
        for file in &self.files {
            let old = Type::Struct(self.schemas[file.schema].clone());
            let left = file
                .rows
                .iter()
                .enumerate()
                .filter(|(index, _)| !file.deleted.contains(index));
            rows.extend(left.map(|(_, row)| evolve(&old, &current, row)));
        }
        rows
    }

    fn group(&self, output_files: usize) -> FileGroup {
        group(
            self.files.iter().map(|file| file.file.clone()).collect(),
            output_files,
        )
    }
}

fn nan_counts(fields: &StructType, rows: &[Value]) -> HashMap<i32, u64> {
    let is_nan = |id, row: &&Value| key_of(fields, id, row) == Value::float(f64::NAN);
    let count = |id| rows.iter().filter(|row| is_nan(id, row)).count() as u64;
    primitives(fields).into_iter().map(|id| (id, count(id))).collect()
}

/// The primitive fields a key may have: not in lists or maps.
fn primitives(fields: &StructType) -> Vec<i32> {
    fields
        .fields()
        .iter()
        .flat_map(|field| match field.field_type.as_ref() {
            Type::Primitive(_) => vec![field.id],
            Type::Struct(children) => primitives(children),
            _ => Vec::new(),
        })
        .collect()
}

fn field(fields: &StructType, id: i32) -> Option<NestedField> {
    fields
        .fields()
        .iter()
        .find_map(|candidate| match candidate.field_type.as_ref() {
            _ if candidate.id == id => Some(candidate.as_ref().clone()),
            Type::Struct(children) => field(children, id),
            _ => None,
        })
}

fn optional(mut field: NestedField) -> NestedField {
    field.required = false;
    field
}

/// Whether a key of a newer schema can be written under an older one's narrower types.
fn fits(schema: &StructType, key: &[Value]) -> bool {
    schema
        .fields()
        .iter()
        .zip(key)
        .all(|(field, value)| match (field.field_type.as_ref(), value) {
            (Type::Primitive(PrimitiveType::Int), Value::Int(value)) => i32::try_from(*value).is_ok(),
            (Type::Primitive(PrimitiveType::Float), Value::Float(bits)) => {
                let value = f64::from_bits(*bits);
                value.is_nan() || f64::from(value as f32) == value
            }
            (Type::Primitive(PrimitiveType::Decimal { precision, .. }), Value::Decimal(value)) => {
                value.unsigned_abs() < 10u128.pow(*precision)
            }
            _ => true,
        })
}

pub(super) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

async fn check(seed: u64, key_bytes: u64) {
    let (mut scenario, mut generator) = Scenario::generate(seed).await;
    for index in 0..generator.random.random_range(0..3) {
        scenario.add_position_deletes(index, &mut generator).await;
    }
    for index in 0..generator.random.random_range(0..4) {
        scenario.add_equality_deletes(index, &mut generator).await;
    }
    let files = generator.random.random_range(1..4);
    let group = scenario.group(files);
    let mut context = context(&scenario.table);
    context.deletes.key_bytes = key_bytes;
    let supervisor = FakeSupervisor::default();
    let rewritten = rewrite_group(&context, &group, &WrittenFiles::default(), &supervisor)
        .await
        .unwrap();
    let mut rows = Vec::new();
    for file in &rewritten.files {
        rows.extend(scenario.table.rows_of(file).await);
        check_metrics(&scenario, file).await;
    }
    let mut expected = scenario.expected();
    // A copied row group goes before rows that are still being encoded.
    rows.sort_by_cached_key(|row| format!("{row:?}"));
    expected.sort_by_cached_key(|row| format!("{row:?}"));
    assert_eq!(rows, expected, "seed {seed}");
    let deleted: usize = scenario.files.iter().map(|file| file.deleted.len()).sum();
    assert_eq!(rewritten.rows_deleted, deleted as u64);
    assert!(rewritten.files.len() <= files);
}

/// Bounds and counts against the rows themselves, for top-level columns.
async fn check_metrics(scenario: &Scenario, file: &DataFile) {
    let rows = scenario.table.rows_of(file).await;
    assert_eq!(file.record_count(), rows.len() as u64);
    for field in scenario.schemas.last().unwrap().fields() {
        let Type::Primitive(primitive) = field.field_type.as_ref() else {
            continue;
        };
        let values: Vec<Value> = rows
            .iter()
            .map(|row| key_of(scenario.schemas.last().unwrap(), field.id, row))
            .collect();
        let count =
            |wanted: &dyn Fn(&Value) -> bool| values.iter().filter(|value| wanted(value)).count() as u64;
        assert_eq!(file.value_counts()[&field.id], values.len() as u64);
        assert_eq!(
            file.null_value_counts()[&field.id],
            count(&|value| *value == Value::Null)
        );
        let nans = count(&|value| *value == Value::float(f64::NAN));
        let floating = matches!(primitive, PrimitiveType::Float | PrimitiveType::Double);
        assert_eq!(
            file.nan_value_counts().get(&field.id).copied(),
            floating.then_some(nans)
        );
        if matches!(
            primitive,
            PrimitiveType::Int | PrimitiveType::Long | PrimitiveType::Date
        ) {
            let numbers = values.iter().filter_map(|value| match value {
                Value::Int(value) => Some(*value),
                _ => None,
            });
            let bound = |bounds: &HashMap<i32, iceberg::spec::Datum>| {
                bounds.get(&field.id).map(|datum| {
                    let bytes = datum.to_bytes().unwrap();
                    match bytes.len() {
                        4 => i64::from(i32::from_le_bytes(bytes[..].try_into().unwrap())),
                        _ => i64::from_le_bytes(bytes[..].try_into().unwrap()),
                    }
                })
            };
            assert_eq!(bound(file.lower_bounds()), numbers.clone().min());
            assert_eq!(bound(file.upper_bounds()), numbers.max());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rewritten_group_has_exactly_the_rows_a_reader_would_see(seed in any::<u64>()) {
        run(check(seed, u64::MAX));
    }

    #[test]
    fn deletes_on_disk_remove_the_same_rows(seed in any::<u64>(), key_bytes in prop::sample::select(vec![0, 500])) {
        run(check(seed, key_bytes));
    }
}

#[test]
fn a_struct_stays_null_or_present_when_all_that_is_left_of_it_is_new() {
    run(async {
        let map = iceberg::spec::MapType {
            key_field: NestedField::map_key_element(3, PrimitiveType::String.into()).into(),
            value_field: NestedField::map_value_element(4, PrimitiveType::Int.into(), false).into(),
        };
        let of = |field: NestedField| {
            let inner = Type::Struct(StructType::new(vec![field.into()]));
            StructType::new(vec![NestedField::optional(1, "s", inner).into()])
        };
        let old = of(NestedField::optional(2, "m", Type::Map(map)));
        let new = of(NestedField::optional(5, "n", PrimitiveType::Int.into()));
        let table = SampleTable::new(&[old.clone(), new], Vec::new(), &[]);
        let row = |value| Value::Struct(vec![value]);
        let rows = [
            row(row(Value::Map(Vec::new()))),
            row(Value::Null),
            row(row(Value::Null)),
        ];
        let file = table.data_file("in", &old, &rows).await.build().unwrap();
        let rewritten = rewrite(&table, &group(vec![ScanFile::new(live(file, 0, 1))], 1))
            .await
            .unwrap();
        let expected = [row(row(Value::Null)), row(Value::Null), row(row(Value::Null))];
        assert_eq!(table.rows_of(&rewritten.files[0]).await, expected);
    });
}

fn numbers(count: i64) -> (StructType, Vec<Value>) {
    let fields = StructType::new(vec![
        NestedField::required(1, "id", PrimitiveType::Long.into()).into(),
        NestedField::optional(2, "text", PrimitiveType::String.into()).into(),
    ]);
    let row = |id| Value::Struct(vec![Value::Int(id), Value::Text(format!("row {id}"))]);
    (fields, (0..count).map(row).collect())
}

async fn many_files(files: usize, rows: i64) -> (SampleTable, Vec<ScanFile>) {
    let (fields, rows) = numbers(rows);
    let table = SampleTable::new(std::slice::from_ref(&fields), Vec::new(), &[]);
    let mut scans = Vec::new();
    for index in 0..files {
        let file = table
            .data_file(&format!("in-{index}"), &fields, &rows)
            .await
            .build()
            .unwrap();
        scans.push(ScanFile::new(live(file, 0, 1)));
    }
    (table, scans)
}

#[test]
fn rows_are_cut_into_exactly_the_planned_files_of_about_the_same_size() {
    run(async {
        let (table, scans) = many_files(5, 100).await;
        let rewritten = rewrite(&table, &group(scans, 3)).await.unwrap();
        let counts: Vec<u64> = rewritten.files.iter().map(DataFile::record_count).collect();
        assert_eq!(counts, [166, 167, 167]);
        assert_eq!(rewritten.files[0].split_offsets(), Some(&[4][..]));
        assert_eq!(rewritten.files[0].sort_order_id(), Some(0));
        assert!(
            rewritten.files[0]
                .file_path()
                .starts_with("memory:///warehouse/t/data/00004-4-")
        );
    });
}

#[test]
fn nothing_is_written_when_every_row_is_deleted() {
    run(async {
        let (table, mut scans) = many_files(1, 3).await;
        let path = scans[0].data.file.file_path().to_owned();
        let deletes: Vec<_> = (0..3).map(|row| (path.clone(), row)).collect();
        let delete = table.position_deletes("pos", &deletes).await;
        scans[0].position_deletes.push(live(delete, 0, 2));
        let written = WrittenFiles::default();
        let group = group(scans, 1);
        let supervisor = FakeSupervisor::default();
        let rewritten = rewrite_group(&context(&table), &group, &written, &supervisor)
            .await
            .unwrap();
        assert!(rewritten.files.is_empty() && written.locations().is_empty());
        assert_eq!(rewritten.rows_deleted, 3);
    });
}

#[test]
fn a_missing_truncated_or_corrupt_file_fails_the_group_and_is_named() {
    run(async {
        for damage in ["missing", "short", "garbage"] {
            let (table, scans) = many_files(3, 50).await;
            let path = scans[1].data.file.file_path().to_owned();
            let bytes = table.io.new_input(&path).unwrap().read().await.unwrap();
            let damaged = match damage {
                "missing" => None,
                "short" => Some(bytes.slice(..bytes.len() / 2)),
                _ => {
                    let mut bytes = bytes.to_vec();
                    bytes[10..60].fill(0xAB);
                    Some(bytes.into())
                }
            };
            match damaged {
                None => table.io.delete(&path).await.unwrap(),
                Some(bytes) => table.io.new_output(&path).unwrap().write(bytes).await.unwrap(),
            }
            let error = rewrite(&table, &group(scans, 1)).await.unwrap_err().to_string();
            assert!(error.contains("data/in-1"), "{damage}: {error}");
        }
    });
}

#[test]
fn an_unreadable_delete_file_fails_the_group_and_is_named() {
    run(async {
        let (table, mut scans) = many_files(1, 5).await;
        let delete = table.position_deletes("pos", &[(String::new(), 0)]).await;
        table.io.delete(delete.file_path()).await.unwrap();
        scans[0].position_deletes.push(live(delete, 0, 2));
        let error = rewrite(&table, &group(scans, 1)).await.unwrap_err().to_string();
        assert!(error.contains("data/pos"), "{error}");
    });
}

#[test]
fn deletes_beyond_their_memory_fail_with_the_budget() {
    run(async {
        let (table, mut scans) = many_files(1, 5).await;
        let path = scans[0].data.file.file_path().to_owned();
        let delete = table
            .position_deletes("pos", &[(path.clone(), 0), (path, 1)])
            .await;
        scans[0].position_deletes.push(live(delete, 0, 2));
        let mut context = context(&table);
        context.deletes.budget_bytes = 15;
        let supervisor = FakeSupervisor::default();
        let group = group(scans, 1);
        let error = rewrite_group(&context, &group, &WrittenFiles::default(), &supervisor)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("15 bytes"), "{error}");
        assert!(!error.is_transient());
    });
}

/// Says stop after so many polls.
struct Impatient(std::sync::atomic::AtomicI64);

impl Supervisor for Impatient {
    async fn checkpoint(&self) -> Result<(), ActionStop> {
        Ok(())
    }
    fn poll(&self) -> Result<(), ActionStop> {
        match self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) {
            0.. => Ok(()),
            _ => Err(ActionStop::Revoked),
        }
    }
    fn progress(&self, _: snowpack_domain::Progress) {}
    fn seconds_left(&self) -> Option<f64> {
        None
    }
}

#[test]
fn a_stop_ends_the_group_between_batches_and_every_file_it_made_is_known() {
    run(async {
        for polls in [0, 3, 8] {
            let (table, scans) = many_files(10, 20).await;
            let written = WrittenFiles::default();
            let supervisor = Impatient(polls.into());
            let group = group(scans, 5);
            let error = rewrite_group(&context(&table), &group, &written, &supervisor)
                .await
                .unwrap_err();
            assert!(
                matches!(error, EngineError::Stopped(ActionStop::Revoked)),
                "{error}"
            );
            assert!(written.locations().len() <= 5);
            assert!(polls < 8 || !written.locations().is_empty());
        }
    });
}
