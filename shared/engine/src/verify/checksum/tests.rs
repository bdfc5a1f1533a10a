//! Any change of rows changes the sum, and no change of their order does.

use std::collections::BTreeMap;

use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
use arrow_array::{Float64Array, Int64Array, StringArray};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use proptest::prelude::*;

use super::*;

type Entries = Option<BTreeMap<String, Option<i32>>>;

/// A row: its values, one of them a map within a struct.
type Row = (Option<i64>, Option<String>, Option<u64>, Entries);

fn batch(rows: &[Row]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|row| row.0).collect();
    let names: StringArray = rows.iter().map(|row| row.1.as_deref()).collect();
    let scores: Float64Array = rows.iter().map(|row| row.2.map(f64::from_bits)).collect();
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for row in rows {
        for (key, value) in row.3.iter().flatten() {
            maps.keys().append_value(key);
            maps.values().append_option(*value);
        }
        maps.append(row.3.is_some()).unwrap();
    }
    let maps: ArrayRef = Arc::new(maps.finish());
    let fields = Field::new("map", maps.data_type().clone(), true);
    let nested = StructArray::new(vec![fields].into(), vec![maps], None);
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(ids)),
        ("name", Arc::new(names)),
        ("score", Arc::new(scores)),
        ("nested", Arc::new(nested)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn sum(rows: &[Row]) -> Checksum {
    sum_of(&batch(rows))
}

fn sum_of(batch: &RecordBatch) -> Checksum {
    RowHasher::new(&batch.schema()).unwrap().sum(batch).unwrap()
}

fn row() -> impl Strategy<Value = Row> {
    let bits = prop_oneof![
        any::<u64>(),
        Just(0),
        Just((-0.0_f64).to_bits()),
        Just(f64::NAN.to_bits())
    ];
    let entries = proptest::collection::btree_map("[a-c]{0,2}", proptest::option::of(0..3_i32), 0..3);
    (
        proptest::option::of(0..3_i64),
        proptest::option::of("[a-b\\x00]{0,3}"),
        proptest::option::of(bits),
        proptest::option::of(entries),
    )
}

fn sorted(rows: &[Row]) -> Vec<Row> {
    let mut sorted = rows.to_vec();
    sorted.sort();
    sorted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn sums_are_equal_exactly_if_the_rows_are(left in proptest::collection::vec(row(), 0..6), right in proptest::collection::vec(row(), 0..6)) {
        prop_assert_eq!(sum(&left) == sum(&right), sorted(&left) == sorted(&right));
    }

    #[test]
    fn order_and_batches_do_not_matter(rows in proptest::collection::vec(row(), 1..8), shuffle: u64, cut in 0..8_usize) {
        let whole = batch(&rows);
        let mut order: Vec<u64> = (0..rows.len() as u64).collect();
        order.sort_by_key(|row| row.wrapping_add(1).wrapping_mul(shuffle | 1));
        let shuffled = take_record_batch(&whole, &arrow_array::UInt64Array::from(order)).unwrap();
        let cut = cut.min(rows.len());
        let mut parts = sum_of(&shuffled.slice(0, cut));
        parts.add(sum_of(&shuffled.slice(cut, rows.len() - cut)));
        prop_assert_eq!(parts, sum_of(&whole));
    }

    #[test]
    fn one_changed_dropped_repeated_or_swapped_value_is_seen(rows in proptest::collection::vec(row(), 2..8), at in 0..8_usize, other in row()) {
        let at = at % rows.len();
        let next = (at + 1) % rows.len();
        let intact = sum(&rows);
        type Change<'a> = &'a dyn Fn(&mut Vec<Row>);
        let changed = |change: Change<'_>| {
            let mut changed = rows.clone();
            change(&mut changed);
            (sum(&changed) == intact, sorted(&changed) == sorted(&rows))
        };
        let all: [Change<'_>; 6] = [
            &|rows| rows[at].0 = other.0,
            &|rows| rows[at].1.clone_from(&other.1),
            &|rows| rows[at].2 = other.2,
            &|rows| { let third = rows[at].3.clone(); rows[at].3 = rows[next].3.clone(); rows[next].3 = third; },
            &|rows| { rows.remove(at); },
            &|rows| { let repeated = rows[at].clone(); rows.push(repeated); },
        ];
        for change in all {
            let (looks_equal, is_equal) = changed(change);
            prop_assert_eq!(looks_equal, is_equal);
        }
    }
}

#[test]
fn parts_of_many_batches_concatenated_sum_up_alike() {
    let rows: Vec<Row> = (0..3_000)
        .map(|id| (Some(id), Some(format!("row {id}")), None, None))
        .collect();
    let batches: Vec<_> = rows.chunks(700).map(batch).collect();
    let mut sum = Checksum::default();
    batches.iter().for_each(|batch| sum.add(sum_of(batch)));
    assert_eq!(
        sum,
        sum_of(&concat_batches(&batches[0].schema(), &batches).unwrap())
    );
    assert_eq!(sum.to_string().len(), 32);
}

#[test]
fn positions_differ_by_path_and_number() {
    let of = |pairs: &[(&str, i64)]| {
        let mut sum = Checksum::default();
        pairs
            .iter()
            .for_each(|(path, position)| sum.add_position(path, *position));
        sum
    };
    assert_eq!(of(&[("a", 1), ("b", 2)]), of(&[("b", 2), ("a", 1)]));
    assert_ne!(of(&[("a", 1), ("b", 2)]), of(&[("a", 2), ("b", 1)]));
    assert_ne!(of(&[("a", 1)]), of(&[("a", 1), ("a", 1)]));
}
