//! Iceberg types and single values as Arrow has them, and back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, UInt32Array,
};
use arrow_schema::{
    ArrowError, DataType, Field, FieldRef, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit,
};
use iceberg::spec::{Literal, NestedFieldRef, PrimitiveLiteral, PrimitiveType, Schema, StructType, Type};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

/// The zone of `timestamptz` values: Iceberg stores them in UTC.
const UTC: &str = "+00:00";

/// The Arrow schema rows of the table have between reader and writer.
///
/// # Errors
/// The schema has a type that files of format versions 1 and 2 cannot hold.
pub(crate) fn table_arrow_schema(schema: &Schema) -> Result<SchemaRef, String> {
    Ok(Arc::new(ArrowSchema::new(arrow_fields(schema.as_struct())?)))
}

/// The Arrow fields of a struct, each with its field id in the metadata.
pub(crate) fn arrow_fields(fields: &StructType) -> Result<Fields, String> {
    fields.fields().iter().map(arrow_field).collect()
}

fn arrow_field(field: &NestedFieldRef) -> Result<FieldRef, String> {
    let data_type = arrow_type(&field.field_type).map_err(|e| format!("column {}: {e}", field.name))?;
    let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), field.id.to_string())]);
    Ok(Arc::new(
        Field::new(&field.name, data_type, !field.required).with_metadata(metadata),
    ))
}

/// The Arrow type of an Iceberg type.
pub(crate) fn arrow_type(field_type: &Type) -> Result<DataType, String> {
    Ok(match field_type {
        Type::Primitive(primitive) => primitive_arrow_type(primitive)?,
        Type::Struct(fields) => DataType::Struct(arrow_fields(fields)?),
        Type::List(list) => DataType::List(arrow_field(&list.element_field)?),
        Type::Map(map) => {
            let entries = Fields::from(vec![arrow_field(&map.key_field)?, arrow_field(&map.value_field)?]);
            DataType::Map(
                Arc::new(Field::new("key_value", DataType::Struct(entries), false)),
                false,
            )
        }
    })
}

fn primitive_arrow_type(primitive: &PrimitiveType) -> Result<DataType, String> {
    Ok(match primitive {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal { precision, scale } => {
            let bad = |_| format!("decimal({precision}, {scale}) is out of range");
            DataType::Decimal128(
                u8::try_from(*precision).map_err(bad)?,
                i8::try_from(*scale).map_err(bad)?,
            )
        }
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Time => DataType::Time64(TimeUnit::Microsecond),
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        PrimitiveType::String => DataType::Utf8,
        PrimitiveType::Uuid => DataType::FixedSizeBinary(16),
        PrimitiveType::Fixed(length) => DataType::FixedSizeBinary(
            i32::try_from(*length).map_err(|_| format!("fixed({length}) is too long"))?,
        ),
        PrimitiveType::Binary => DataType::Binary,
        PrimitiveType::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        PrimitiveType::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
    })
}

/// An array of `rows` times the same value of a primitive type; a value of a type the column was promoted
/// from is promoted.
pub(crate) fn constant_array(
    primitive: &PrimitiveType,
    value: &PrimitiveLiteral,
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    let one = single_value(primitive, value)?;
    arrow_select::take::take(&one, &UInt32Array::from_value(0, rows), None)
}

fn single_value(primitive: &PrimitiveType, value: &PrimitiveLiteral) -> Result<ArrayRef, ArrowError> {
    use PrimitiveLiteral as Value;
    use PrimitiveType as Of;
    Ok(match (primitive, value) {
        (Of::Boolean, Value::Boolean(v)) => Arc::new(BooleanArray::from(vec![*v])),
        (Of::Int, Value::Int(v)) => Arc::new(Int32Array::from(vec![*v])),
        (Of::Long, Value::Int(v)) => Arc::new(Int64Array::from(vec![i64::from(*v)])),
        (Of::Long, Value::Long(v)) => Arc::new(Int64Array::from(vec![*v])),
        (Of::Float, Value::Float(v)) => Arc::new(Float32Array::from(vec![v.0])),
        (Of::Double, Value::Float(v)) => Arc::new(Float64Array::from(vec![f64::from(v.0)])),
        (Of::Double, Value::Double(v)) => Arc::new(Float64Array::from(vec![v.0])),
        (Of::Date, Value::Int(v)) => Arc::new(Date32Array::from(vec![*v])),
        (Of::Time, Value::Long(v)) => Arc::new(Time64MicrosecondArray::from(vec![*v])),
        (Of::Timestamp, Value::Long(v)) => Arc::new(TimestampMicrosecondArray::from(vec![*v])),
        (Of::Timestamptz, Value::Long(v)) => {
            Arc::new(TimestampMicrosecondArray::from(vec![*v]).with_timezone(UTC))
        }
        (Of::TimestampNs, Value::Long(v)) => Arc::new(TimestampNanosecondArray::from(vec![*v])),
        (Of::TimestamptzNs, Value::Long(v)) => {
            Arc::new(TimestampNanosecondArray::from(vec![*v]).with_timezone(UTC))
        }
        (Of::String, Value::String(v)) => Arc::new(StringArray::from(vec![v.as_str()])),
        (Of::Binary, Value::Binary(v)) => Arc::new(BinaryArray::from(vec![v.as_slice()])),
        (Of::Fixed(_), Value::Binary(v)) => fixed(v)?,
        (Of::Uuid, Value::UInt128(v)) => fixed(&v.to_be_bytes())?,
        (Of::Decimal { precision, scale }, Value::Int128(v)) => {
            let array = Decimal128Array::from(vec![*v]);
            Arc::new(array.with_precision_and_scale(*precision as u8, *scale as i8)?)
        }
        _ => {
            return Err(ArrowError::CastError(format!(
                "{value:?} is no value of type {primitive}"
            )));
        }
    })
}

fn fixed(bytes: &[u8]) -> Result<ArrayRef, ArrowError> {
    let width = i32::try_from(bytes.len()).map_err(|e| ArrowError::CastError(e.to_string()))?;
    let mut builder = FixedSizeBinaryBuilder::with_capacity(1, width);
    builder.append_value(bytes)?;
    Ok(Arc::new(builder.finish()))
}

/// The value at `row` of an array whose type is [`arrow_type`] of `primitive`; `None` where it is null.
pub(crate) fn literal_at(primitive: &PrimitiveType, array: &ArrayRef, row: usize) -> Option<Literal> {
    if array.is_null(row) {
        return None;
    }
    let value = match primitive {
        PrimitiveType::Boolean => PrimitiveLiteral::Boolean(array.as_boolean().value(row)),
        PrimitiveType::Int => PrimitiveLiteral::Int(array.as_primitive::<Int32Type>().value(row)),
        PrimitiveType::Date => PrimitiveLiteral::Int(array.as_primitive::<Date32Type>().value(row)),
        PrimitiveType::Long => PrimitiveLiteral::Long(array.as_primitive::<Int64Type>().value(row)),
        PrimitiveType::Time => {
            PrimitiveLiteral::Long(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => {
            PrimitiveLiteral::Long(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => {
            PrimitiveLiteral::Long(array.as_primitive::<TimestampNanosecondType>().value(row))
        }
        PrimitiveType::Float => {
            PrimitiveLiteral::Float(array.as_primitive::<Float32Type>().value(row).into())
        }
        PrimitiveType::Double => {
            PrimitiveLiteral::Double(array.as_primitive::<Float64Type>().value(row).into())
        }
        PrimitiveType::Decimal { .. } => {
            PrimitiveLiteral::Int128(array.as_primitive::<Decimal128Type>().value(row))
        }
        PrimitiveType::String => PrimitiveLiteral::String(array.as_string::<i32>().value(row).to_owned()),
        PrimitiveType::Binary => PrimitiveLiteral::Binary(array.as_binary::<i32>().value(row).to_vec()),
        PrimitiveType::Fixed(_) => PrimitiveLiteral::Binary(array.as_fixed_size_binary().value(row).to_vec()),
        PrimitiveType::Uuid => {
            let bytes = array.as_fixed_size_binary().value(row);
            PrimitiveLiteral::UInt128(u128::from_be_bytes(bytes.try_into().expect("a uuid is 16 bytes")))
        }
    };
    Some(Literal::Primitive(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type_survive_the_way_to_arrow_and_back() {
        let cases = [
            (PrimitiveType::Boolean, PrimitiveLiteral::Boolean(true)),
            (PrimitiveType::Int, PrimitiveLiteral::Int(i32::MIN)),
            (PrimitiveType::Long, PrimitiveLiteral::Long(i64::MAX)),
            (PrimitiveType::Float, PrimitiveLiteral::Float((-0.0f32).into())),
            (PrimitiveType::Double, PrimitiveLiteral::Double(f64::NAN.into())),
            (PrimitiveType::Date, PrimitiveLiteral::Int(-1)),
            (PrimitiveType::Time, PrimitiveLiteral::Long(86_399_999_999)),
            (PrimitiveType::Timestamp, PrimitiveLiteral::Long(i64::MIN)),
            (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(1)),
            (PrimitiveType::TimestampNs, PrimitiveLiteral::Long(i64::MAX)),
            (PrimitiveType::TimestamptzNs, PrimitiveLiteral::Long(-1)),
            (PrimitiveType::String, PrimitiveLiteral::String("ü".into())),
            (PrimitiveType::Binary, PrimitiveLiteral::Binary(vec![0, 255])),
            (PrimitiveType::Fixed(3), PrimitiveLiteral::Binary(vec![1, 2, 3])),
            (PrimitiveType::Uuid, PrimitiveLiteral::UInt128(u128::MAX - 1)),
            (
                PrimitiveType::Decimal {
                    precision: 38,
                    scale: 2,
                },
                PrimitiveLiteral::Int128(-10i128.pow(37)),
            ),
        ];
        for (primitive, value) in cases {
            let array = constant_array(&primitive, &value, 3).unwrap();
            assert_eq!(array.len(), 3);
            assert_eq!(array.data_type(), &primitive_arrow_type(&primitive).unwrap());
            assert_eq!(literal_at(&primitive, &array, 2), Some(Literal::Primitive(value)));
        }
    }

    #[test]
    fn a_value_from_before_a_promotion_is_promoted_and_a_foreign_one_refused() {
        let long = constant_array(&PrimitiveType::Long, &PrimitiveLiteral::Int(7), 1).unwrap();
        assert_eq!(long.as_primitive::<Int64Type>().value(0), 7);
        assert!(constant_array(&PrimitiveType::Date, &PrimitiveLiteral::Boolean(true), 1).is_err());
    }
}
