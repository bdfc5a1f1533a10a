//! Sends rows to the partition of the output spec they belong to.
//!
//! Only so many partitions are open at the same time. Rows of others are left for another pass over the same
//! input, so memory stays bounded and no partition gets more files than it needs.

use std::collections::HashMap;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::ArrowError;
use iceberg::spec::{Literal, PartitionSpec, PrimitiveType, Schema, Struct, Transform, Type};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};

use crate::deletes::one_nan;
use crate::read::{Column, Resolver, arrow_type, field_array, literal_at, table_arrow_schema};

/// Rows of one batch that belong to one open partition.
pub(crate) struct Routed {
    /// Index into [`PartitionRouter::open`].
    pub(crate) partition: usize,
    pub(crate) batch: RecordBatch,
}

/// Computes partitions and groups rows by them.
pub(crate) struct PartitionRouter {
    fields: Vec<PartitionColumn>,
    converter: RowConverter,
    places: HashMap<Box<[u8]>, Place>,
    open: Vec<Struct>,
    max_open: usize,
}

/// What became of a partition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Open(usize),
    /// Complete since an earlier pass.
    Done,
    /// Left for a later pass.
    Later,
}

/// One partition field.
struct PartitionColumn {
    /// Its source; absent for void fields, which need none.
    source: Option<Column>,
    transform: BoxedTransformFunction,
    result: PrimitiveType,
}

impl PartitionRouter {
    /// # Errors
    /// A field's source column is gone, or its transform is unknown.
    pub(crate) fn new(spec: &PartitionSpec, schema: &Schema, max_open: usize) -> Result<Self, String> {
        let arrow_schema = table_arrow_schema(schema)?;
        let types = spec.partition_type(schema).map_err(|e| e.to_string())?;
        let none = HashMap::new();
        let mut resolver = Resolver {
            partition: &none,
            nested_by_position: false,
            leaves: Vec::new(),
        };
        let mut fields = Vec::with_capacity(spec.fields().len());
        let mut sort_fields = Vec::with_capacity(spec.fields().len());
        for (field, result) in spec.fields().iter().zip(types.fields()) {
            let Type::Primitive(result) = result.field_type.as_ref() else {
                return Err(format!("partition field {} is of a nested type", field.name));
            };
            let source = match (&field.transform, schema.field_by_id(field.source_id)) {
                (Transform::Void, _) => None,
                (_, Some(source)) => Some(resolver.column(source, arrow_schema.fields())?),
                _ => {
                    return Err(format!(
                        "the source column of partition field {} is gone",
                        field.name
                    ));
                }
            };
            let transform = create_transform_function(&field.transform).map_err(|e| e.to_string())?;
            sort_fields.push(SortField::new(arrow_type(&result.clone().into())?));
            fields.push(PartitionColumn {
                source,
                transform,
                result: result.clone(),
            });
        }
        let converter = RowConverter::new(sort_fields).map_err(|e| e.to_string())?;
        Ok(Self {
            fields,
            converter,
            places: HashMap::new(),
            open: Vec::new(),
            max_open: max_open.max(1),
        })
    }

    /// The partitions of this pass, in the order they were first seen.
    pub(crate) fn open(&self) -> &[Struct] {
        &self.open
    }

    /// Splits a batch by partition; rows of partitions that are not open in this pass are left out.
    ///
    /// # Errors
    /// A transform fails on a value.
    pub(crate) fn route(&mut self, batch: &RecordBatch) -> Result<Vec<Routed>, ArrowError> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let values = self
            .fields
            .iter()
            .map(|field| field.values(batch))
            .collect::<Result<Vec<_>, ArrowError>>()?;
        let keys = self.converter.convert_columns(&values)?;
        let mut rows: Vec<Vec<u32>> = Vec::new();
        for (row, key) in keys.iter().enumerate() {
            if let Place::Open(partition) = self.place(key.as_ref(), &values, row) {
                if rows.len() <= partition {
                    rows.resize_with(partition + 1, Vec::new);
                }
                rows[partition].push(row as u32);
            }
        }
        rows.into_iter()
            .enumerate()
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(partition, rows)| {
                Ok(Routed {
                    partition,
                    batch: select(batch, rows)?,
                })
            })
            .collect()
    }

    fn place(&mut self, key: &[u8], values: &[ArrayRef], row: usize) -> Place {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        let place = if self.open.len() < self.max_open {
            let partition: Vec<Option<Literal>> = self
                .fields
                .iter()
                .zip(values)
                .map(|(field, values)| literal_at(&field.result, values, row))
                .collect();
            self.open.push(Struct::from_iter(partition));
            Place::Open(self.open.len() - 1)
        } else {
            Place::Later
        };
        self.places.insert(key.into(), place);
        place
    }

    /// Closes the partitions of this pass; whether another pass is needed.
    pub(crate) fn next_pass(&mut self) -> bool {
        self.open.clear();
        let before = self.places.len();
        self.places.retain(|_, place| *place != Place::Later);
        for place in self.places.values_mut() {
            *place = Place::Done;
        }
        self.places.len() < before
    }
}

impl PartitionColumn {
    fn values(&self, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        let result = arrow_type(&self.result.clone().into()).map_err(ArrowError::SchemaError)?;
        let Some(source) = &self.source else {
            return Ok(arrow_array::new_null_array(&result, batch.num_rows()));
        };
        let values = self
            .transform
            .transform(field_array(source, batch)?)
            .map_err(|e| ArrowError::ExternalError(Box::new(e)))?;
        Ok(one_nan(arrow_cast::cast(&values, &result)?))
    }
}

/// Rows of a batch, in order; the batch itself when that is all of them.
fn select(batch: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch, ArrowError> {
    if rows.len() == batch.num_rows() {
        return Ok(batch.clone());
    }
    arrow_select::take::take_record_batch(batch, &UInt32Array::from(rows))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow_array::Int32Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    use iceberg::spec::NestedField;

    use super::*;

    fn schema() -> Schema {
        let inner = vec![NestedField::optional(3, "day", PrimitiveType::Date.into()).into()];
        let inner = Type::Struct(iceberg::spec::StructType::new(inner));
        Schema::builder()
            .with_fields(vec![
                NestedField::required(1, "a", PrimitiveType::Int.into()).into(),
                NestedField::optional(2, "s", inner).into(),
            ])
            .build()
            .unwrap()
    }

    fn batch(values: &[i32]) -> RecordBatch {
        let arrow_schema = table_arrow_schema(&schema()).unwrap();
        let day = arrow_array::new_null_array(arrow_schema.field(1).data_type(), values.len());
        RecordBatch::try_new(
            arrow_schema,
            vec![Arc::new(Int32Array::from(values.to_vec())), day],
        )
        .unwrap()
    }

    fn router(max_open: usize) -> PartitionRouter {
        let spec = PartitionSpec::builder(schema())
            .with_spec_id(1)
            .add_partition_field("a", "a_trunc", Transform::Truncate(10))
            .unwrap()
            .add_partition_field("s.day", "year", Transform::Year)
            .unwrap()
            .build()
            .unwrap();
        PartitionRouter::new(&spec, &schema(), max_open).unwrap()
    }

    #[test]
    fn every_row_gets_to_its_partition_in_some_pass_exactly_once() {
        let mut router = router(2);
        let input = [batch(&[1, 15, 2, 31]), batch(&[32, 45, 16, 3])];
        let mut found: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        let mut passes = 0;
        loop {
            passes += 1;
            for batch in &input {
                for routed in router.route(batch).unwrap() {
                    let Some(Literal::Primitive(iceberg::spec::PrimitiveLiteral::Int(partition))) =
                        router.open()[routed.partition].fields()[0].clone()
                    else {
                        panic!("the first field is an int")
                    };
                    let values = routed
                        .batch
                        .column(0)
                        .as_primitive::<Int32Type>()
                        .values()
                        .to_vec();
                    found.entry(partition).or_default().extend(values);
                }
            }
            if !router.next_pass() {
                break;
            }
        }
        assert_eq!(passes, 2);
        let expected = [
            (0, vec![1, 2, 3]),
            (10, vec![15, 16]),
            (30, vec![31, 32]),
            (40, vec![45]),
        ];
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[test]
    fn a_null_source_makes_a_null_partition() {
        let mut router = router(8);
        router.route(&batch(&[1])).unwrap();
        assert!(router.open()[0].is_null_at_index(1));
    }
}
