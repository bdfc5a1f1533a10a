//! Row lineage of format version 3: which row is which, and when it last changed (spec, Row Lineage).
//!
//! Rows that move to another file take both along as columns. A value that is null in the file, or a column that
//! is not in it, is inherited: the row's id from the file's first row id, the number from the file's data sequence
//! number. A file without a first row id has neither (`ParquetValueReaders.rowIds`, `lastUpdated`).

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::ArrowError;
use iceberg::spec::{FormatVersion, NestedField, PrimitiveType, SchemaRef, TableMetadata, Type};
use snowpack_plan::LiveFile;

/// Reserved field ids and names of the two columns (spec, Reserved Field IDs).
const ROW_ID: (i32, &str) = (2_147_483_540, "_row_id");
const LAST_UPDATED: (i32, &str) = (2_147_483_539, "_last_updated_sequence_number");

/// The schema data files of the table are rewritten in: its current one, and in version 3 the two columns of row
/// lineage after it.
///
/// # Errors
/// The table has a column with a reserved name.
pub(crate) fn rewrite_schema(table: &TableMetadata) -> iceberg::Result<SchemaRef> {
    let current = table.current_schema();
    if table.format_version() < FormatVersion::V3 {
        return Ok(Arc::clone(current));
    }
    let columns = [ROW_ID, LAST_UPDATED].map(|(id, name)| {
        Arc::new(NestedField::optional(
            id,
            name,
            Type::Primitive(PrimitiveType::Long),
        ))
    });
    let fields = current.as_struct().fields().iter().cloned().chain(columns);
    // A new builder: one made from the schema would keep the columns it has and take no more.
    let schema = iceberg::spec::Schema::builder()
        .with_fields(fields)
        .with_schema_id(current.schema_id())
        .with_identifier_field_ids(current.identifier_field_ids())
        .build()?;
    Ok(Arc::new(schema))
}

/// Whether a schema has the columns of row lineage.
pub(super) fn has_lineage(schema: &SchemaRef) -> bool {
    schema.field_by_id(ROW_ID.0).is_some()
}

/// What the rows of one file inherit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lineage {
    first_row_id: Option<i64>,
    sequence_number: i64,
}

impl Lineage {
    /// What rows of `file` inherit when they are read as `schema`; nothing if that has no columns for it.
    pub(super) fn of(file: &LiveFile, schema: &SchemaRef) -> Option<Self> {
        has_lineage(schema).then(|| Self {
            first_row_id: file.file.first_row_id(),
            sequence_number: file.sequence_number,
        })
    }

    /// Fills in the last two columns of a batch that was read from row `first` of the file on, and of whose rows
    /// `kept` are left.
    ///
    /// # Errors
    /// The batch does not end with the two columns.
    pub(super) fn fill(
        self,
        batch: &RecordBatch,
        first: u64,
        kept: Option<&BooleanBuffer>,
    ) -> Result<RecordBatch, ArrowError> {
        let mut columns = batch.columns().to_vec();
        let row_id = columns.len() - 2;
        let rows = batch.num_rows();
        match self.first_row_id {
            Some(base) => {
                let start = base + first as i64;
                let ids: Vec<i64> = match kept {
                    Some(kept) => kept.set_indices().map(|row| start + row as i64).collect(),
                    None => (start..).take(rows).collect(),
                };
                columns[row_id] = or_else(&columns[row_id], |row| ids[row]);
                columns[row_id + 1] = or_else(&columns[row_id + 1], |_| self.sequence_number);
            }
            None => {
                let nulls: ArrayRef = Arc::new(Int64Array::new_null(rows));
                columns[row_id] = Arc::clone(&nulls);
                columns[row_id + 1] = nulls;
            }
        }
        RecordBatch::try_new(batch.schema(), columns)
    }
}

/// The column with `inherited` in place of its nulls.
fn or_else(column: &ArrayRef, inherited: impl Fn(usize) -> i64) -> ArrayRef {
    if column.null_count() == 0 {
        return Arc::clone(column);
    }
    let values = column.as_primitive::<Int64Type>().iter().enumerate();
    let filled = values.map(|(row, value)| value.unwrap_or_else(|| inherited(row)));
    Arc::new(Int64Array::from_iter_values(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(
        first_row_id: Option<i64>,
        stored: Vec<Option<i64>>,
        kept: Option<Vec<bool>>,
    ) -> Vec<(Option<i64>, Option<i64>)> {
        let stored: ArrayRef = Arc::new(Int64Array::from(stored));
        let columns = [
            ("_row_id", Arc::clone(&stored)),
            ("_last_updated_sequence_number", stored),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)));
        let lineage = Lineage {
            first_row_id,
            sequence_number: 7,
        };
        let kept = kept.map(BooleanBuffer::from);
        let batch = lineage.fill(&batch.unwrap(), 10, kept.as_ref()).unwrap();
        let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().iter();
        column(0).zip(column(1)).collect()
    }

    #[test]
    fn nulls_are_inherited_by_position_and_stored_values_stay() {
        let kept = Some(vec![true, false, true, true]);
        assert_eq!(
            filled(Some(1000), vec![None, Some(5), None], kept),
            [(Some(1010), Some(7)), (Some(5), Some(5)), (Some(1013), Some(7))]
        );
        assert_eq!(filled(Some(0), vec![None], None), [(Some(10), Some(7))]);
    }

    #[test]
    fn without_a_first_row_id_there_is_no_lineage() {
        assert_eq!(
            filled(None, vec![None, Some(5)], None),
            [(None, None), (None, None)]
        );
    }
}
