//! Decides, batch by batch, which rows of one data file are left.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_schema::ArrowError;
use roaring::RoaringTreemap;

use super::KeyLookup;
use super::keys::Keys;
use crate::read::Column;

/// The deletes of one data file, in the terms of its batches.
pub(crate) struct RowFilter {
    positions: Arc<RoaringTreemap>,
    equality: Vec<(Keys, KeyLookup)>,
    data_sequence_number: i64,
}

impl RowFilter {
    /// `equality` gives each set of deleted keys with where the file's batches have its columns.
    ///
    /// # Errors
    /// A key column's type has no equality.
    pub(crate) fn new(
        positions: Arc<RoaringTreemap>,
        equality: Vec<(Vec<Column>, KeyLookup)>,
        data_sequence_number: i64,
    ) -> Result<Self, ArrowError> {
        let equality = equality
            .into_iter()
            .map(|(columns, lookup)| Ok((Keys::new(columns)?, lookup)))
            .collect::<Result<Vec<_>, ArrowError>>()?;
        Ok(Self {
            positions,
            equality,
            data_sequence_number,
        })
    }

    /// Which rows to keep of a batch that starts at row `first` of the file; `None` means all.
    ///
    /// # Errors
    /// A key value does not fit the table's type.
    pub(crate) fn keep(
        &mut self,
        first: u64,
        batch: &RecordBatch,
    ) -> Result<Option<BooleanBuffer>, ArrowError> {
        let rows = batch.num_rows();
        let mut keep = BooleanBufferBuilder::new(rows);
        keep.append_n(rows, true);
        let mut deleted = false;
        let mut positions = self.positions.iter();
        positions.advance_to(first);
        for position in positions.take_while(|position| *position < first + rows as u64) {
            keep.set_bit(
                usize::try_from(position - first).expect("within the batch"),
                false,
            );
            deleted = true;
        }
        for (keys, lookup) in &mut self.equality {
            for (row, key) in keys.of(batch)?.iter().enumerate() {
                if lookup.deletes(key.as_ref(), self.data_sequence_number) {
                    keep.set_bit(row, false);
                    deleted = true;
                }
            }
        }
        Ok(deleted.then(|| keep.finish()))
    }
}
