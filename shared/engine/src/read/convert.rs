//! Carries out a projection on the batches of a file.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray, make_array,
    new_null_array,
};
use arrow_buffer::NullBuffer;
use arrow_cast::CastOptions;
use arrow_schema::{ArrowError, DataType, FieldRef, Fields, SchemaRef};

use super::constant::{arrow_type, constant_array};
use super::projection::{Column, Convert, Source, StructPlan};

/// A value that does not fit is an error, never a null.
const STRICT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: arrow_cast::display::FormatOptions::new(),
};

/// Puts a batch of the file together as a batch of the table.
///
/// # Errors
/// A value does not fit the table's type, or a required column holds a null.
pub(crate) fn project_batch(
    plan: &StructPlan,
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, ArrowError> {
    let columns = project_fields(plan, batch.columns(), batch.num_rows())?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn project_fields(plan: &StructPlan, file: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
    plan.fields
        .iter()
        .zip(&plan.sources)
        .map(|(field, source)| project(field, source, file, rows))
        .collect()
}

fn project(
    field: &FieldRef,
    source: &Source,
    file: &[ArrayRef],
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    match source {
        Source::File(index, convert) => convert_array(convert, field.data_type(), &file[*index]),
        Source::Constant(primitive, value) => constant_array(primitive, value, rows),
        Source::Null => Ok(new_null_array(field.data_type(), rows)),
    }
}

fn convert_array(convert: &Convert, target: &DataType, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match (convert, target) {
        (Convert::Relabel, target) => Ok(make_array(
            array.to_data().into_builder().data_type(target.clone()).build()?,
        )),
        (Convert::Cast, target) => arrow_cast::cast_with_options(array, target, &STRICT),
        (Convert::Struct(plan), DataType::Struct(fields)) => convert_struct(plan, fields, array),
        (Convert::List(element), DataType::List(field)) => {
            let list = array.as_list::<i32>();
            let values = convert_array(element, field.data_type(), list.values())?;
            let nulls = list.nulls().cloned();
            Ok(Arc::new(ListArray::try_new(
                Arc::clone(field),
                list.offsets().clone(),
                values,
                nulls,
            )?))
        }
        (Convert::Map(key, value), DataType::Map(entries, _)) => convert_map(key, value, entries, array),
        _ => Ok(Arc::clone(array)),
    }
}

fn convert_struct(plan: &StructPlan, fields: &Fields, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let children = array.as_struct();
    let columns = project_fields(plan, children.columns(), children.len())?;
    let nulls = children.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(
        fields.clone(),
        columns,
        nulls,
        children.len(),
    )?))
}

fn convert_map(
    key: &Convert,
    value: &Convert,
    entries: &FieldRef,
    array: &ArrayRef,
) -> Result<ArrayRef, ArrowError> {
    let map = array.as_map();
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::SchemaError("a map's entries are a struct".to_owned()));
    };
    let keys = convert_array(key, fields[0].data_type(), map.keys())?;
    let values = convert_array(value, fields[1].data_type(), map.values())?;
    let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    let nulls = map.nulls().cloned();
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(entries),
        map.offsets().clone(),
        pairs,
        nulls,
        false,
    )?))
}

/// The values of one column of a batch, flattened out of the structs around it.
///
/// # Errors
/// A value does not fit the table's type.
pub(crate) fn field_array(column: &Column, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
    let target = arrow_type(&column.primitive.clone().into()).map_err(ArrowError::SchemaError)?;
    match &column.source {
        Source::Constant(primitive, value) => constant_array(primitive, value, batch.num_rows()),
        Source::Null => Ok(new_null_array(&target, batch.num_rows())),
        Source::File(_, convert) => {
            let (first, rest) = column
                .path
                .split_first()
                .expect("a column of the file has a path");
            let array = descend(batch.column(*first), rest)?;
            convert_array(convert, &target, &array)
        }
    }
}

/// A child under a null parent may hold anything: it takes the parent's nulls.
fn descend(array: &ArrayRef, path: &[usize]) -> Result<ArrayRef, ArrowError> {
    let mut current = Arc::clone(array);
    for index in path {
        let parent = current.as_struct();
        let child = parent.column(*index);
        let nulls = NullBuffer::union(parent.nulls(), child.nulls());
        current = make_array(child.to_data().into_builder().nulls(nulls).build()?);
    }
    Ok(current)
}
