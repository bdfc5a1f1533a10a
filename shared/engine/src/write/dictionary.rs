//! Decides which columns of a file get a dictionary, from the first rows that go into it.
//!
//! parquet-java keeps a column's dictionary only if its first page became smaller by it
//! (`DictionaryValuesWriter.isCompressionSatisfying`); parquet-rs keeps it until it is full, and columns of
//! mostly different values come out larger than without. So the same question is asked before writing.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use hashbrown::HashSet;

/// Fewer values say nothing about the column.
const MIN_VALUES: usize = 1_000;
/// Parquet stores a length before each string.
const LENGTH_BYTES: usize = 4;

/// The Parquet columns, by index, whose values in `first` would take less room without a dictionary.
pub(crate) fn better_plain(first: &RecordBatch) -> Vec<usize> {
    let mut leaves = Vec::new();
    for column in first.columns() {
        push_leaves(column, &mut leaves);
    }
    let plain = leaves
        .iter()
        .enumerate()
        .filter(|(_, leaf)| is_better_plain(leaf));
    plain.map(|(index, _)| index).collect()
}

/// The arrays under a column, in the order of Parquet's columns.
fn push_leaves(array: &ArrayRef, leaves: &mut Vec<ArrayRef>) {
    match array.data_type() {
        DataType::Struct(_) => {
            for child in array.as_struct().columns() {
                push_leaves(child, leaves);
            }
        }
        DataType::List(_) => push_leaves(array.as_list::<i32>().values(), leaves),
        DataType::Map(..) => {
            let map = array.as_map();
            push_leaves(map.keys(), leaves);
            push_leaves(map.values(), leaves);
        }
        _ => leaves.push(ArrayRef::clone(array)),
    }
}

fn is_better_plain(leaf: &ArrayRef) -> bool {
    match leaf.data_type() {
        DataType::Utf8 => strings_are(leaf.as_string::<i32>().iter().flatten().map(str::as_bytes)),
        DataType::LargeUtf8 => strings_are(leaf.as_string::<i64>().iter().flatten().map(str::as_bytes)),
        DataType::Binary => strings_are(leaf.as_binary::<i32>().iter().flatten()),
        DataType::LargeBinary => strings_are(leaf.as_binary::<i64>().iter().flatten()),
        DataType::FixedSizeBinary(width) => {
            let values = leaf.as_fixed_size_binary().iter().flatten();
            is_plain_smaller(values.map(|value| (value, *width as usize)))
        }
        data_type => match data_type.primitive_width() {
            Some(width) => {
                let data = leaf.to_data();
                let bytes = &data.buffers()[0].as_slice()[data.offset() * width..];
                let values = bytes.chunks_exact(width).take(leaf.len()).enumerate();
                let valid = values.filter(|(row, _)| leaf.is_valid(*row));
                let stored = stored_width(data_type, width);
                is_plain_smaller(valid.map(|(_, value)| (value, stored)))
            }
            // Booleans have no dictionary.
            None => false,
        },
    }
}

fn strings_are<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    is_plain_smaller(values.map(|value| (value, value.len() + LENGTH_BYTES)))
}

/// Bytes that Parquet stores for a value that Arrow holds in `width` bytes (spec, Parquet: decimals).
fn stored_width(data_type: &DataType, width: usize) -> usize {
    match data_type {
        DataType::Decimal128(..=9, _) => 4,
        DataType::Decimal128(..=18, _) => 8,
        _ => width,
    }
}

/// Takes values with the bytes each is stored in.
fn is_plain_smaller<'a>(values: impl Iterator<Item = (&'a [u8], usize)>) -> bool {
    let mut distinct = HashSet::new();
    let (mut count, mut plain, mut dictionary) = (0_usize, 0_usize, 0_usize);
    for (value, bytes) in values {
        count += 1;
        plain += bytes;
        if distinct.insert(value) {
            dictionary += bytes;
        }
    }
    let bits_per_index = usize::BITS - distinct.len().saturating_sub(1).leading_zeros();
    let indices = (count * bits_per_index as usize).div_ceil(8);
    count >= MIN_VALUES && dictionary + indices >= plain
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Decimal128Array, Int64Array, ListArray, StringArray, StructArray, types::Int64Type};
    use arrow_schema::Field;

    use super::*;

    fn plain(columns: Vec<ArrayRef>) -> Vec<usize> {
        let named = columns.into_iter().enumerate();
        better_plain(&RecordBatch::try_from_iter(named.map(|(i, column)| (i.to_string(), column))).unwrap())
    }

    #[test]
    fn only_columns_of_mostly_different_values_go_without() {
        let numbers = |modulus: i64| Arc::new(Int64Array::from_iter_values((0..5000).map(|i| i % modulus)));
        let strings = |modulus: i64| {
            let values = (0..5000).map(|i| format!("text {}", i % modulus));
            Arc::new(StringArray::from_iter_values(values))
        };
        let decimals = Decimal128Array::from_iter_values(0..5000).with_precision_and_scale(9, 2);
        let columns: Vec<ArrayRef> = vec![
            numbers(5000),
            numbers(50),
            strings(5000),
            strings(7),
            Arc::new(decimals.unwrap()),
            numbers(1),
        ];
        assert_eq!(plain(columns), [0, 2, 4]);
    }

    #[test]
    fn few_values_keep_the_dictionary() {
        assert!(plain(vec![Arc::new(Int64Array::from_iter_values(0..999))]).is_empty());
        let nulls = (0..5000).map(|i| (i < 999).then_some(i));
        assert!(plain(vec![Arc::new(Int64Array::from_iter(nulls))]).is_empty());
    }

    #[test]
    fn leaves_are_counted_as_parquet_does_and_slices_are_respected() {
        let same = Int64Array::from_iter_values(std::iter::repeat_n(1, 2000));
        let other = Int64Array::from_iter_values(0..2000);
        let field = |name: &str| Arc::new(Field::new(name, DataType::Int64, false));
        let pair = StructArray::from(vec![
            (field("same"), Arc::new(same) as ArrayRef),
            (field("other"), Arc::new(other) as ArrayRef),
        ]);
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>((0..2000).map(|i| Some(vec![Some(i)])));
        assert_eq!(plain(vec![Arc::new(pair), Arc::new(list)]), [1, 2]);
        let tail =
            Int64Array::from_iter_values((0..2000).chain(std::iter::repeat_n(7, 2000))).slice(2000, 2000);
        assert!(plain(vec![Arc::new(tail)]).is_empty());
    }
}
