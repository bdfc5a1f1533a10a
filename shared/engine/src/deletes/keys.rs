//! Rows as key bytes that can be compared, whichever file they are from.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{ArrowError, DataType, Fields};

use super::equality::KeySet;
use crate::file_error::FileError;
use crate::read::{Column, Resolver, Source, arrow_type, field_array};

/// Where a delete file has the key columns; it must have all of them.
pub(super) fn resolve(
    set: &KeySet,
    fields: &Fields,
    path: &str,
) -> Result<(Vec<Column>, Vec<usize>), FileError> {
    let partition = HashMap::new();
    let mut resolver = Resolver {
        partition: &partition,
        nested_by_position: false,
        leaves: Vec::new(),
    };
    let mut columns = Vec::with_capacity(set.fields.len());
    for field in &set.fields {
        let column = resolver
            .column(field, fields)
            .map_err(|e| FileError::schema(path, e))?;
        if !matches!(column.source, Source::File(..)) {
            let reason = format!(
                "it has no column for equality field id {} ({})",
                field.id, field.name
            );
            return Err(FileError::schema(path, reason));
        }
        columns.push(column);
    }
    Ok((columns, resolver.leaves))
}

/// Turns rows into key bytes. The bytes of two converters over the same types compare.
pub(crate) struct Keys {
    columns: Vec<Column>,
    converter: RowConverter,
}

impl Keys {
    /// A converter over these columns, which must be in the order of [`KeySet::fields`].
    ///
    /// # Errors
    /// A column's type has no equality.
    pub(crate) fn new(columns: Vec<Column>) -> Result<Self, ArrowError> {
        let fields = columns
            .iter()
            .map(|column| {
                let data_type =
                    arrow_type(&column.primitive.clone().into()).map_err(ArrowError::SchemaError)?;
                Ok(SortField::new(data_type))
            })
            .collect::<Result<Vec<_>, ArrowError>>()?;
        Ok(Self {
            columns,
            converter: RowConverter::new(fields)?,
        })
    }

    /// The keys of a batch's rows.
    ///
    /// # Errors
    /// A value does not fit the table's type.
    pub(crate) fn of(&mut self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        let arrays = self
            .columns
            .iter()
            .map(|column| Ok(one_nan(field_array(column, batch)?)))
            .collect::<Result<Vec<_>, ArrowError>>()?;
        self.converter.convert_columns(&arrays)
    }
}

/// Makes every NaN the same NaN.
pub(crate) fn one_nan(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let floats = array.as_primitive::<Float32Type>();
            Arc::new(floats.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v }))
        }
        DataType::Float64 => {
            let floats = array.as_primitive::<Float64Type>();
            Arc::new(floats.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v }))
        }
        _ => array,
    }
}
