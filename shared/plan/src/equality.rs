//! An equality-delete file and the test, by column statistics, of whether it can match rows of a data file
//! (Java's `DeleteFileIndex.canContainEqDeletesForFile`).

use std::cmp::Ordering;
use std::sync::Arc;

use iceberg::spec::{DataFile, Datum, PrimitiveLiteral, PrimitiveType, TableMetadata};

use crate::types::LiveFile;

/// An equality-delete file with the columns it compares.
#[derive(Debug)]
pub(crate) struct EqualityDelete {
    delete: Arc<LiveFile>,
    fields: Vec<ComparedField>,
}

/// A column of an equality delete.
#[derive(Debug)]
struct ComparedField {
    id: i32,
    /// Never null. A required field of a struct is null where the struct is.
    required: bool,
    is_floating: bool,
}

impl EqualityDelete {
    /// Looks the compared columns up in the current schema, and dropped ones in older schemas. A column found
    /// nowhere says nothing about a match.
    pub(crate) fn new(delete: Arc<LiveFile>, metadata: &TableMetadata) -> Self {
        let ids = delete.file.equality_ids().unwrap_or_default();
        let fields = ids
            .into_iter()
            .filter_map(|id| compared_field(metadata, id))
            .collect();
        Self { delete, fields }
    }

    pub(crate) fn file(&self) -> &Arc<LiveFile> {
        &self.delete
    }

    /// Whether statistics leave room for a match. Missing statistics always do.
    pub(crate) fn may_match(&self, data: &DataFile) -> bool {
        self.fields.iter().all(|field| {
            let data = Column { file: data, field };
            let deleted = Column {
                file: &self.delete.file,
                field,
            };
            column_may_match(&data, &deleted)
        })
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
struct Column<'a> {
    file: &'a DataFile,
    field: &'a ComparedField,
}

impl Column<'_> {
    fn nulls(&self) -> Option<u64> {
        self.file.null_value_counts().get(&self.field.id).copied()
    }

    fn may_have_nulls(&self) -> bool {
        !self.field.required && self.nulls() != Some(0)
    }

    fn has_no_nulls(&self) -> bool {
        self.field.required || self.nulls() == Some(0)
    }

    fn has_only_nulls(&self) -> bool {
        let values = self.file.value_counts().get(&self.field.id).copied();
        !self.field.required && self.nulls().is_some() && self.nulls() == values
    }

    /// Bounds leave NaN out.
    fn may_have_nans(&self) -> bool {
        self.field.is_floating && self.file.nan_value_counts().get(&self.field.id) != Some(&0)
    }

    fn bounds(&self) -> Option<(&Datum, &Datum)> {
        Some((
            self.file.lower_bounds().get(&self.field.id)?,
            self.file.upper_bounds().get(&self.field.id)?,
        ))
    }
}

fn column_may_match(data: &Column<'_>, deleted: &Column<'_>) -> bool {
    let nulls_meet = data.may_have_nulls() && deleted.may_have_nulls();
    if nulls_meet || (data.may_have_nans() && deleted.may_have_nans()) {
        return true;
    }
    if (data.has_only_nulls() && deleted.has_no_nulls()) || (deleted.has_only_nulls() && data.has_no_nulls())
    {
        return false;
    }
    let (Some((data_low, data_high)), Some((low, high))) = (data.bounds(), deleted.bounds()) else {
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
