//! Random delete files against a set of positions, whatever the passes.

use std::collections::BTreeSet;

use iceberg::spec::{NestedField, PrimitiveType, StructType, Type};
use proptest::prelude::*;

use super::*;
use crate::sample::{SampleTable, Value, live};

/// Rows of every data file.
const ROWS: i64 = 7;

fn path(file: usize) -> String {
    format!("s3a://b/data/{file}.parquet")
}

async fn targets(table: &SampleTable, sequences: &[i64]) -> Vec<Arc<LiveFile>> {
    let mut targets = Vec::new();
    for (index, sequence) in sequences.iter().enumerate() {
        let content = iceberg::spec::DataContentType::Data;
        let name = format!("t{index}");
        let mut file = table
            .store_bytes(&name, content, b"x".to_vec(), ROWS as usize)
            .await;
        let file = file.file_path(path(index).replace("s3a", "s3")).build().unwrap();
        targets.push(live(file, 0, *sequence));
    }
    targets
}

/// Positions by data file: those of delete files that are as new as it, up to its last row.
fn expected(files: &[(Vec<(usize, i64)>, i64)], sequences: &[i64]) -> Vec<(BTreeSet<u64>, i64)> {
    let mut expected = vec![(BTreeSet::new(), 0); sequences.len()];
    for (deletes, sequence) in files {
        for (file, position) in deletes {
            let applies = sequences.get(*file).is_some_and(|target| target <= sequence);
            if applies && *position < ROWS {
                expected[*file].0.insert(*position as u64);
                expected[*file].1 = expected[*file].1.max(*sequence);
            }
        }
    }
    expected
}

async fn check(files: Vec<(Vec<(usize, i64)>, i64)>, sequences: Vec<i64>, limit: u64) {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    let table = SampleTable::new(&[StructType::new(vec![id.into()])], Vec::new(), &[]);
    let mut conversion = Conversion {
        targets: targets(&table, &sequences).await,
        deletes: Vec::new(),
    };
    for (index, (deletes, sequence)) in files.iter().enumerate() {
        let deletes: Vec<_> = deletes
            .iter()
            .map(|(file, position)| (path(*file), *position))
            .collect();
        let file = table
            .position_deletes(&format!("d{index}.parquet"), &deletes)
            .await;
        conversion.deletes.push(live(file, 0, *sequence));
    }
    let (mut found, mut applied) = (Vec::new(), vec![0; files.len()]);
    let passes = passes(&conversion.targets, limit);
    assert!(limit > 10_000 || passes.len() == sequences.len());
    for pass in passes {
        let (of_pass, shares) = collect(&table.io, &conversion, pass).await.unwrap();
        found.extend(of_pass);
        for ((share, applied), (deletes, _)) in shares.iter().zip(&mut applied).zip(&files) {
            assert_eq!(share.read, deletes.len() as u64);
            *applied += share.applied;
        }
    }
    let found: Vec<_> = found
        .into_iter()
        .map(|found| {
            (
                found.positions.iter().collect::<BTreeSet<_>>(),
                found.sequence_number,
            )
        })
        .collect();
    assert_eq!(found, expected(&files, &sequences));
    for (applied, file) in applied.into_iter().zip(files) {
        let alone = expected(std::slice::from_ref(&file), &sequences);
        assert_eq!(
            applied == 0,
            alone.iter().all(|(positions, _)| positions.is_empty())
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_data_file_gets_its_positions(
        files in prop::collection::vec((prop::collection::vec((0..6_usize, 0..ROWS + 2), 1..30), 1..6_i64), 0..6),
        sequences in prop::collection::vec(1..6_i64, 1..5),
        limit in prop_oneof![Just(1), Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(files, sequences, limit));
    }
}

/// The optional column `row` has no place in a vector.
#[tokio::test]
async fn deleted_rows_are_left_out() {
    let column = |id, name, kind| NestedField::required(id, name, Type::Primitive(kind)).into();
    let id: iceberg::spec::NestedFieldRef = column(1, "id", PrimitiveType::Long);
    let table = SampleTable::new(&[StructType::new(vec![Arc::clone(&id)])], Vec::new(), &[]);
    let row = Type::Struct(StructType::new(vec![id]));
    let fields = StructType::new(vec![
        column(i32::MAX - 101, "file_path", PrimitiveType::String),
        column(i32::MAX - 102, "pos", PrimitiveType::Long),
        NestedField::required(i32::MAX - 103, "row", row).into(),
    ]);
    let deleted = Value::Struct(vec![Value::Int(99)]);
    let rows = [Value::Struct(vec![Value::Text(path(0)), Value::Int(4), deleted])];
    let deletes = table.data_file("rows.parquet", &fields, &rows).await;
    let conversion = Conversion {
        targets: targets(&table, &[1]).await,
        deletes: vec![live(deletes.build().unwrap(), 0, 2)],
    };
    let (found, shares) = collect(&table.io, &conversion, 0..1).await.unwrap();
    assert_eq!(found[0].positions.iter().collect::<Vec<_>>(), [4]);
    assert_eq!(shares, [Share { read: 1, applied: 1 }]);
}
