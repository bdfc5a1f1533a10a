//! The test, by column statistics, of whether an equality-delete file can match rows of a data file
//! (Java's `DeleteFileIndex.canContainEqDeletesForFile`).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{DataFile, Datum, PrimitiveLiteral, PrimitiveType, TableMetadata};

use crate::types::LiveFile;

/// What statistics say about the equality-delete files of one list. Kept apart from the files, because a table
/// may have hundreds of millions of pairs of data and delete files to look at.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Columns that some delete compares.
    fields: Vec<ComparedField>,
    /// Of each delete file, the columns it compares by their index in `fields`.
    deletes: Vec<Vec<(usize, Statistics)>>,
}

/// A column of an equality delete.
#[derive(Debug)]
struct ComparedField {
    id: i32,
    /// Never null. A required field of a struct is null where the struct is.
    required: bool,
    is_floating: bool,
}

impl Comparison {
    /// Looks the compared columns up in the current schema, and dropped ones in older schemas. A column found
    /// nowhere says nothing about a match.
    pub(crate) fn of(deletes: &[Arc<LiveFile>], metadata: &TableMetadata) -> Self {
        let mut comparison = Self {
            fields: Vec::new(),
            deletes: Vec::with_capacity(deletes.len()),
        };
        for delete in deletes {
            let ids = delete.file.equality_ids().unwrap_or_default();
            let columns = ids.into_iter().filter_map(|id| {
                let field = comparison.field(id, metadata)?;
                Some((field, Statistics::of(&delete.file, &comparison.fields[field])))
            });
            let columns = columns.collect();
            comparison.deletes.push(columns);
        }
        comparison
    }

    fn field(&mut self, id: i32, metadata: &TableMetadata) -> Option<usize> {
        let known = self.fields.iter().position(|field| field.id == id);
        if known.is_some() {
            return known;
        }
        self.fields.push(compared_field(metadata, id)?);
        Some(self.fields.len() - 1)
    }

    /// What [`Comparison::may_match`] has to know about a data file.
    pub(crate) fn statistics_of(&self, data: &DataFile) -> Vec<Statistics> {
        self.fields
            .iter()
            .map(|field| Statistics::of(data, field))
            .collect()
    }

    /// Whether statistics leave room for a match of the delete file at this index. Missing statistics always
    /// do.
    pub(crate) fn may_match(&self, delete: usize, data: &[Statistics]) -> bool {
        self.deletes[delete]
            .iter()
            .all(|(field, deleted)| column_may_match(&data[*field], deleted))
    }
}

fn compared_field(metadata: &TableMetadata, id: i32) -> Option<ComparedField> {
    let older = || {
        metadata
            .schemas_iter()
            .find(|schema| schema.field_by_id(id).is_some())
    };
    let current = Some(metadata.current_schema()).filter(|schema| schema.field_by_id(id).is_some());
    let schema = current.or_else(older)?;
    let field = schema.field_by_id(id)?;
    let is_top_level = schema.as_struct().field_by_id(id).is_some();
    Some(ComparedField {
        id,
        required: field.required && is_top_level,
        is_floating: matches!(
            field.field_type.as_primitive_type()?,
            PrimitiveType::Float | PrimitiveType::Double
        ),
    })
}

/// The statistics of one column of one file.
#[derive(Debug)]
pub(crate) struct Statistics {
    may_have_nulls: bool,
    has_only_nulls: bool,
    /// Bounds leave NaN out.
    may_have_nans: bool,
    bounds: Option<(Datum, Datum)>,
}

impl Statistics {
    fn of(file: &DataFile, field: &ComparedField) -> Self {
        let nulls = file.null_value_counts().get(&field.id);
        let values = file.value_counts().get(&field.id);
        let bound = |bounds: &HashMap<i32, Datum>| bounds.get(&field.id).cloned();
        Self {
            may_have_nulls: !field.required && nulls != Some(&0),
            has_only_nulls: !field.required && nulls.is_some() && nulls == values,
            may_have_nans: field.is_floating && file.nan_value_counts().get(&field.id) != Some(&0),
            bounds: bound(file.lower_bounds()).zip(bound(file.upper_bounds())),
        }
    }
}

fn column_may_match(data: &Statistics, deleted: &Statistics) -> bool {
    let nulls_meet = data.may_have_nulls && deleted.may_have_nulls;
    if nulls_meet || (data.may_have_nans && deleted.may_have_nans) {
        return true;
    }
    if (data.has_only_nulls && !deleted.may_have_nulls) || (deleted.has_only_nulls && !data.may_have_nulls) {
        return false;
    }
    let (Some((data_low, data_high)), Some((low, high))) = (&data.bounds, &deleted.bounds) else {
        return true;
    };
    compare(data_low, high) != Some(Ordering::Greater) && compare(low, data_high) != Some(Ordering::Greater)
}

/// Compares bounds that may have been written before and after a promotion of their column.
fn compare(left: &Datum, right: &Datum) -> Option<Ordering> {
    if left.data_type() == right.data_type() {
        return left.partial_cmp(right);
    }
    widened(left).partial_cmp(&widened(right))
}

fn widened(datum: &Datum) -> Datum {
    match (datum.data_type(), datum.literal()) {
        (PrimitiveType::Int, PrimitiveLiteral::Int(value)) => Datum::long(i64::from(*value)),
        (PrimitiveType::Float, PrimitiveLiteral::Float(value)) => Datum::double(f64::from(value.0)),
        _ => datum.clone(),
    }
}

#[cfg(test)]
mod tests;
