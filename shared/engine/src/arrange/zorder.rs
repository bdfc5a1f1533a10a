//! Z-order keys: the bits of several columns in turn, so that rows near in all of them are near in the file.
//!
//! As in Java's `ZOrderByteUtils`, every value becomes eight bytes that compare like the values: numbers with
//! their sign turned round, text by its first eight bytes, and null before everything.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BinaryArray};
use arrow_schema::{ArrowError, DataType, TimeUnit};

/// Bits of each column.
const BITS: usize = 64;
/// Turns the sign of a two's complement number round.
const SIGN: u64 = 1 << 63;

/// The keys of `rows` rows.
///
/// # Errors
/// A column is of a type that has no order.
pub(super) fn interleave(columns: &[ArrayRef], rows: usize) -> Result<BinaryArray, ArrowError> {
    let ordered = columns.iter().map(ordered);
    let ordered: Vec<Vec<u64>> = ordered.collect::<Result<_, _>>()?;
    let mut values = vec![0; columns.len()];
    let keys = (0..rows).map(|row| {
        for (value, column) in values.iter_mut().zip(&ordered) {
            *value = column[row];
        }
        interleave_bits(&values)
    });
    Ok(BinaryArray::from_iter_values(keys))
}

/// The most significant bit of each value, then the next of each, and so on.
fn interleave_bits(values: &[u64]) -> Vec<u8> {
    let mut key = vec![0_u8; values.len() * BITS / 8];
    let mut at = 0;
    for bit in (0..BITS).rev() {
        for value in values {
            key[at / 8] |= ((value >> bit & 1) as u8) << (7 - at % 8);
            at += 1;
        }
    }
    key
}

/// Each value as a number that compares like it; null is 0.
fn ordered(array: &ArrayRef) -> Result<Vec<u64>, ArrowError> {
    Ok(match array.data_type() {
        DataType::Boolean => or_null(array.as_boolean().iter(), |v| u64::from(v) + 1),
        DataType::Int32 => signed::<Int32Type>(array),
        DataType::Int64 => signed::<Int64Type>(array),
        DataType::Date32 => signed::<Date32Type>(array),
        DataType::Time64(TimeUnit::Microsecond) => signed::<Time64MicrosecondType>(array),
        DataType::Timestamp(TimeUnit::Microsecond, _) => signed::<TimestampMicrosecondType>(array),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => signed::<TimestampNanosecondType>(array),
        DataType::Float32 => or_null(array.as_primitive::<Float32Type>().iter(), |v| float(v.into())),
        DataType::Float64 => or_null(array.as_primitive::<Float64Type>().iter(), float),
        DataType::Decimal128(..) => or_null(array.as_primitive::<Decimal128Type>().iter(), |v| {
            ((v >> BITS) as u64) ^ SIGN
        }),
        DataType::Utf8 => or_null(array.as_string::<i32>().iter(), |v| prefix(v.as_bytes())),
        DataType::Binary => or_null(array.as_binary::<i32>().iter(), prefix),
        DataType::FixedSizeBinary(_) => or_null(array.as_fixed_size_binary().iter(), prefix),
        other => {
            let reason = format!("columns of type {other} have no z-order");
            return Err(ArrowError::NotYetImplemented(reason));
        }
    })
}

fn or_null<T>(values: impl Iterator<Item = Option<T>>, ordered: impl Fn(T) -> u64) -> Vec<u64> {
    values.map(|value| value.map_or(0, &ordered)).collect()
}

fn signed<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef) -> Vec<u64> {
    let values = array.as_primitive::<T>().iter();
    or_null(values, |value| (value.into() as u64) ^ SIGN)
}

/// Total order of IEEE 754: of negative numbers every bit is turned round, of others the sign.
fn float(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits & SIGN == 0 { bits ^ SIGN } else { !bits }
}

fn prefix(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = bytes.len().min(first.len());
    first[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int32Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_take_turns() {
        let key = interleave_bits(&[u64::MAX, 0]);
        assert!(key.iter().all(|byte| *byte == 0b1010_1010));
        assert_eq!(interleave_bits(&[SIGN | 1])[..], (SIGN | 1).to_be_bytes());
    }

    proptest! {
        /// Of one column alone the curve is the column's own order.
        #[test]
        fn values_compare_as_they_are(mut numbers: Vec<i32>, mut floats: Vec<f64>, texts in prop::collection::vec("[a-z]{0,8}", 0..20)) {
            let sorted = |array: ArrayRef| {
                let keys = interleave(&[Arc::clone(&array)], array.len()).unwrap();
                keys.iter().flatten().map(<[u8]>::to_vec).is_sorted()
            };
            numbers.sort_unstable();
            prop_assert!(sorted(Arc::new(Int32Array::from(numbers))));
            floats.sort_unstable_by(f64::total_cmp);
            prop_assert!(sorted(Arc::new(Float64Array::from(floats))));
            let mut texts: Vec<Option<String>> = texts.into_iter().map(Some).chain([None]).collect();
            texts.sort();
            prop_assert!(sorted(Arc::new(StringArray::from(texts))));
        }
    }
}
