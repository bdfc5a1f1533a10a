//! The key of a row: bytes that compare like the rows' order.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{ArrowError, Schema as ArrowSchema, SortOptions};
use iceberg::spec::NestedFieldRef;
use iceberg::transform::{BoxedTransformFunction, create_transform_function};
use snowpack_plan::{Arrangement, SortTerm};

use super::zorder::interleave;
use crate::read::{Column, Resolver, arrow_type, field_array};

/// Computes the keys of batches in the table's schema.
pub(crate) enum SortKeys {
    /// Values of the terms, one after the other (`arrow_row`).
    Terms(Vec<(Column, BoxedTransformFunction)>, RowConverter),
    /// Bits of the columns in turn.
    ZOrder(Vec<Column>),
}

impl SortKeys {
    /// The keys of an arrangement; `None` for rows that stay as they are read.
    ///
    /// # Errors
    /// A column is not in the schema, or its transform has no values to compare.
    pub(crate) fn new(arrangement: &Arrangement, schema: &ArrowSchema) -> Result<Option<Self>, String> {
        match arrangement {
            Arrangement::AsRead => Ok(None),
            Arrangement::Sorted { terms, .. } => terms_of(terms, schema).map(Some),
            Arrangement::ZOrder(fields) => {
                let columns = fields.iter().map(|field| column(field, schema));
                Ok(Some(Self::ZOrder(columns.collect::<Result<_, _>>()?)))
            }
        }
    }

    /// One key for each row.
    ///
    /// # Errors
    /// A transform fails on a value.
    pub(crate) fn of(&self, batch: &RecordBatch) -> Result<BinaryArray, ArrowError> {
        match self {
            Self::Terms(terms, converter) => {
                let values = terms.iter().map(|(column, transform)| {
                    let values = field_array(column, batch)?;
                    transform
                        .transform(values)
                        .map_err(|error| ArrowError::ComputeError(error.to_string()))
                });
                let values: Vec<ArrayRef> = values.collect::<Result<_, _>>()?;
                let rows = converter.convert_columns(&values)?;
                Ok(BinaryArray::from_iter_values(rows.iter()))
            }
            Self::ZOrder(columns) => {
                let values = columns.iter().map(|column| field_array(column, batch));
                interleave(&values.collect::<Result<Vec<_>, _>>()?, batch.num_rows())
            }
        }
    }
}

fn terms_of(terms: &[SortTerm], schema: &ArrowSchema) -> Result<SortKeys, String> {
    let mut columns = Vec::with_capacity(terms.len());
    let mut fields = Vec::with_capacity(terms.len());
    for term in terms {
        let transform = create_transform_function(&term.transform).map_err(|error| error.to_string())?;
        let compared = term
            .transform
            .result_type(&term.field.field_type)
            .map_err(|error| error.to_string())?;
        let options = SortOptions {
            descending: term.descending,
            nulls_first: term.nulls_first,
        };
        fields.push(SortField::new_with_options(arrow_type(&compared)?, options));
        columns.push((column(&term.field, schema)?, transform));
    }
    let converter = RowConverter::new(fields).map_err(|error| error.to_string())?;
    Ok(SortKeys::Terms(columns, converter))
}

fn column(field: &NestedFieldRef, schema: &ArrowSchema) -> Result<Column, String> {
    let none = HashMap::new();
    let mut resolver = Resolver {
        partition: &none,
        nested_by_position: false,
        leaves: Vec::new(),
    };
    resolver.column(field, schema.fields())
}

/// The schema with the key after its columns.
pub(super) fn with_key(schema: &ArrowSchema) -> Arc<ArrowSchema> {
    let key = arrow_schema::Field::new("key", arrow_schema::DataType::Binary, false);
    let fields = schema.fields().iter().cloned().chain([Arc::new(key)]);
    Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
}
