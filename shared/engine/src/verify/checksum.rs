//! A sum over rows that does not depend on their order: each row's 128-bit hash, added up modulo 2^128.
//!
//! Unlike exclusive or, a sum tells a row that is there twice from one that is not there at all.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, StructArray};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema};
use siphasher::sip128::SipHasher13;

/// Any fixed key: the sum of the same rows is to be the same in every run.
const KEYS: (u64, u64) = (0x736e_6f77_7061_636b, 0x726f_7773_2063_6865);

/// The sum of some rows' hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checksum(u128);

impl Checksum {
    /// Adds the rows of another sum.
    pub(crate) fn add(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    /// Adds a deleted position.
    pub(crate) fn add_position(&mut self, path: &str, position: i64) {
        // The position has a fixed length, so that no two pairs make the same bytes.
        let bytes = [position.to_le_bytes().as_slice(), path.as_bytes()].concat();
        self.add(hash(&bytes));
    }
}

/// The sums over a group's live rows as they were read, and over those of its new files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) read: Checksum,
    pub(crate) written: Checksum,
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn hash(bytes: &[u8]) -> Checksum {
    Checksum(SipHasher13::new_with_keys(KEYS.0, KEYS.1).hash(bytes).as_u128())
}

/// Hashes rows of one schema.
#[derive(Debug)]
pub(crate) struct RowHasher {
    converter: RowConverter,
}

impl RowHasher {
    /// # Errors
    /// The schema has a type whose values have no canonical bytes.
    pub(crate) fn new(schema: &Schema) -> Result<Self, ArrowError> {
        let columns = schema.fields().iter();
        let columns = columns.map(|field| SortField::new(without_maps(field.data_type())));
        Ok(Self {
            converter: RowConverter::new(columns.collect())?,
        })
    }

    /// The sum over a batch of the hasher's schema.
    ///
    /// # Errors
    /// A value has no canonical bytes.
    pub(crate) fn sum(&self, batch: &RecordBatch) -> Result<Checksum, ArrowError> {
        let columns = batch.columns().iter().map(maps_as_lists);
        let rows = self
            .converter
            .convert_columns(&columns.collect::<Result<Vec<_>, _>>()?)?;
        let mut sum = Checksum::default();
        for row in &rows {
            sum.add(hash(row.as_ref()));
        }
        Ok(sum)
    }
}

/// The type with every map as the list of its entries: the row format knows no maps.
fn without_maps(kind: &DataType) -> DataType {
    match kind {
        DataType::Map(entries, _) | DataType::List(entries) => DataType::List(field_without_maps(entries)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field_without_maps).collect()),
        kind => kind.clone(),
    }
}

fn field_without_maps(field: &FieldRef) -> FieldRef {
    let kind = without_maps(field.data_type());
    Arc::new(Field::new(field.name(), kind, field.is_nullable()))
}

fn maps_as_lists(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Map(entries, _) => {
            let map = array.as_map();
            let values: ArrayRef = Arc::new(map.entries().clone());
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let values = maps_as_lists(&values)?;
            Ok(Arc::new(ListArray::try_new(
                field_without_maps(entries),
                offsets,
                values,
                nulls,
            )?))
        }
        DataType::List(items) => {
            let list = array.as_list::<i32>();
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            let values = maps_as_lists(list.values())?;
            Ok(Arc::new(ListArray::try_new(
                field_without_maps(items),
                offsets,
                values,
                nulls,
            )?))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().map(maps_as_lists);
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let fields = fields.iter().map(field_without_maps).collect();
            let nulls = array.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(
                fields,
                columns,
                nulls,
                array.len(),
            )?))
        }
        _ => Ok(Arc::clone(array)),
    }
}

#[cfg(test)]
mod tests;
