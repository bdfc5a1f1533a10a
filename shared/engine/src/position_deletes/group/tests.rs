//! Groups of random delete files against a set of positions; files that are not as they should be.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use iceberg::metadata_columns::{
    RESERVED_FIELD_ID_DELETE_FILE_PATH as PATH_ID, RESERVED_FIELD_ID_DELETE_FILE_POS as POS_ID,
};
use iceberg::spec::{Datum, StructType, Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use snowpack_plan::{LiveFile, LiveTargets};

use super::*;
use crate::fake::FakeSupervisor;
use crate::sample::{SampleTable, live};

type Deletes = Vec<(String, i64)>;

fn table() -> SampleTable {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    SampleTable::new(&[StructType::new(vec![id.into()])], Vec::new(), &[])
}

fn path(file: usize) -> String {
    format!("s3://b/data/{file}.parquet")
}

async fn delete_file(table: &SampleTable, index: usize, deletes: &Deletes, sequence: i64) -> Arc<LiveFile> {
    let file = table
        .position_deletes(&format!("d{index}.parquet"), deletes)
        .await;
    live(file, 0, sequence)
}

fn group(files: Vec<Arc<LiveFile>>, targets: LiveTargets, output_files: usize) -> DeleteFileGroup {
    DeleteFileGroup {
        index: 3,
        input_bytes: 0,
        files,
        targets: Arc::new(targets),
        output_files,
        max_output_bytes: 1024 * 1024,
    }
}

/// All of `count` data files live since the beginning.
fn all_live(count: usize) -> LiveTargets {
    let mut targets = LiveTargets::default();
    (0..count).for_each(|file| targets.add(&path(file), 0));
    targets
}

async fn run(
    table: &SampleTable,
    group: DeleteFileGroup,
    granularity: DeleteGranularity,
    sort_budget_bytes: u64,
) -> Result<Replacement, String> {
    let context = DeleteContext {
        io: table.io.clone(),
        table: Arc::clone(&table.metadata),
        write: WriteProperties::of_position_deletes(&table.metadata).unwrap(),
        granularity,
        verify: Verification::Content,
        sort_budget_bytes,
    };
    let (written, supervisor) = (WrittenFiles::default(), FakeSupervisor::default());
    let done = rewrite_group(&context, group, &written, &supervisor).await;
    let done = done.and_then(|done| done.check(Verification::Content, "db.t").map(|()| done));
    done.map_err(|error| error.to_string())
}

async fn content(table: &SampleTable, file: &DataFile) -> Deletes {
    let bytes = table
        .io
        .new_input(file.file_path())
        .unwrap()
        .read()
        .await
        .unwrap();
    assert_eq!(bytes.len() as u64, file.file_size_in_bytes());
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap();
    let mut deletes = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let paths = batch.column(0).as_string::<i32>();
        let positions = batch.column(1).as_primitive::<Int64Type>();
        let rows = paths.iter().flatten().zip(positions.values());
        deletes.extend(rows.map(|(path, position)| (path.to_owned(), *position)));
    }
    deletes
}

#[tokio::test]
async fn a_file_about_one_data_file_says_so_with_whole_bounds() {
    let table = table();
    let deletes = vec![(path(0), 4), (path(0), 9), (path(1), 2)];
    let files = vec![delete_file(&table, 0, &deletes, 5).await];
    let done = run(
        &table,
        group(files.clone(), all_live(2), 1),
        DeleteGranularity::File,
        0,
    )
    .await;
    let [first, second] = done.unwrap().added.try_into().unwrap();
    assert_eq!(first.referenced_data_file(), Some(path(0)));
    assert_eq!(first.lower_bounds()[&PATH_ID], Datum::string(path(0)));
    assert_eq!(first.upper_bounds()[&PATH_ID], Datum::string(path(0)));
    assert_eq!(first.upper_bounds()[&POS_ID], Datum::long(9));
    assert!(first.value_counts().is_empty() && first.sort_order_id().is_none());
    assert_eq!(second.referenced_data_file(), Some(path(1)));
    let done = run(
        &table,
        group(files, all_live(2), 1),
        DeleteGranularity::Partition,
        0,
    )
    .await;
    let [both] = done.unwrap().added.try_into().unwrap();
    assert_eq!((both.referenced_data_file(), both.record_count()), (None, 3));
    assert!(both.lower_bounds().is_empty() && both.upper_bounds().is_empty());
}

#[tokio::test]
async fn files_that_are_not_sorted_are_sorted_if_they_fit_the_budget() {
    let table = table();
    let mixed: Deletes = (0..100)
        .map(|row| (path(row % 3), (row as i64 * 37) % 50))
        .collect();
    let files = vec![
        delete_file(&table, 0, &vec![(path(0), 7), (path(2), 0)], 5).await,
        delete_file(&table, 1, &mixed, 5).await,
    ];
    let group = |files| group(files, all_live(3), 1);
    let partition = DeleteGranularity::Partition;
    let done = run(&table, group(files.clone()), partition, 10_000)
        .await
        .unwrap();
    let mut expected: BTreeSet<_> = mixed.into_iter().collect();
    expected.extend([(path(0), 7), (path(2), 0)]);
    assert_eq!(
        content(&table, &done.added[0]).await,
        expected.into_iter().collect::<Vec<_>>()
    );
    let refused = run(&table, group(files), partition, 1_000).await.unwrap_err();
    assert!(
        refused.contains("d1.parquet") && refused.contains("1000 bytes"),
        "{refused}"
    );
}

#[tokio::test]
async fn deleted_rows_and_broken_files_are_refused_by_name() {
    let table = table();
    let row = NestedField::required(2_147_483_544, "row", Type::Primitive(PrimitiveType::Long));
    let fields = StructType::new(vec![row.into()]);
    let rows = table
        .data_file("rows.parquet", &fields, &[])
        .await
        .build()
        .unwrap();
    let negative = delete_file(&table, 1, &vec![(path(0), -1)], 5).await;
    for (file, reason) in [(live(rows, 0, 5), "column row"), (negative, "negative")] {
        let name = file.file.file_path().to_owned();
        let group = group(vec![file], all_live(1), 1);
        let refused = run(&table, group, DeleteGranularity::File, 0).await.unwrap_err();
        assert!(refused.contains(&name) && refused.contains(reason), "{refused}");
    }
}

#[tokio::test]
async fn each_spelling_of_a_path_is_kept_as_it_is() {
    let table = table();
    let mut targets = LiveTargets::default();
    targets.add("file:/w/a", 0);
    let deletes = vec![("file:///w/a".to_owned(), 1), ("file:/w/a".to_owned(), 1)];
    let files = vec![delete_file(&table, 0, &deletes, 5).await];
    let done = run(&table, group(files, targets, 1), DeleteGranularity::Partition, 0)
        .await
        .unwrap();
    assert_eq!(content(&table, &done.added[0]).await, deletes);
}

#[derive(Clone, Debug)]
struct RandomFile {
    deletes: Vec<(usize, i64)>,
    sequence: i64,
}

fn random_file() -> impl Strategy<Value = RandomFile> {
    let deletes = prop::collection::vec((0..6_usize, 0..40_i64), 0..40);
    (deletes, prop::bool::weighted(0.9), 1..10_i64).prop_map(|(mut deletes, sorted, sequence)| {
        if sorted {
            deletes.sort_unstable();
        }
        RandomFile { deletes, sequence }
    })
}

async fn check(
    files: Vec<RandomFile>,
    data: BTreeMap<usize, i64>,
    outputs: usize,
    granularity: DeleteGranularity,
) {
    let table = table();
    let mut targets = LiveTargets::default();
    data.iter()
        .for_each(|(file, sequence)| targets.add(&path(*file), *sequence));
    let (mut live_files, mut expected, mut dangling) = (Vec::new(), BTreeSet::new(), 0);
    for (index, file) in files.iter().enumerate() {
        let named = |(data, position): &(usize, i64)| (path(*data), *position);
        let deletes: Deletes = file.deletes.iter().map(named).collect();
        live_files.push(delete_file(&table, index, &deletes, file.sequence).await);
        let applying: Vec<_> = file
            .deletes
            .iter()
            .filter(|(target, _)| {
                data.get(target)
                    .is_some_and(|sequence| *sequence <= file.sequence)
            })
            .map(named)
            .collect();
        dangling += u64::from(applying.is_empty());
        expected.extend(applying);
    }
    let group = group(live_files, targets, outputs);
    let done = run(&table, group, granularity, 1 << 20).await.unwrap();
    done.check(Verification::Content, "t").unwrap();
    assert_eq!((done.dangling, done.group), (dangling, 3));
    let mut found = Vec::new();
    for file in &done.added {
        let content = content(&table, file).await;
        assert_eq!(content.len() as u64, file.record_count());
        let paths: BTreeSet<_> = content.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(file.referenced_data_file().is_some(), paths.len() == 1);
        assert!(granularity == DeleteGranularity::Partition || paths.len() == 1);
        found.extend(content);
    }
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    if granularity == DeleteGranularity::Partition {
        assert!(done.added.len() <= outputs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What is written is the sorted set of positions that apply, whatever the files are like.
    #[test]
    fn exactly_the_positions_that_apply_are_kept_once(
        files in prop::collection::vec(random_file(), 1..12),
        data in prop::collection::btree_map(0..6_usize, 0..8_i64, 0..6),
        outputs in 1..4_usize,
        per_file in any::<bool>(),
    ) {
        let granularity = if per_file { DeleteGranularity::File } else { DeleteGranularity::Partition };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(files, data, outputs, granularity));
    }
}
