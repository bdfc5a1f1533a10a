//! Rows as plain values, to and from Arrow, and what schema evolution makes of them.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, MapArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Fields};
use iceberg::spec::{NestedFieldRef, PrimitiveType, StructType, Type};

use crate::read::arrow_type;

/// A value without its width: a promotion does not change it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// Whole numbers, dates and times.
    Int(i64),
    /// The bits of a double; every NaN is the same.
    Float(u64),
    Decimal(i128),
    Text(String),
    Bytes(Vec<u8>),
    Struct(Vec<Value>),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    pub(crate) fn float(value: f64) -> Self {
        Self::Float(if value.is_nan() {
            f64::NAN.to_bits()
        } else {
            value.to_bits()
        })
    }

    fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    fn double(&self) -> Option<f64> {
        match self {
            Self::Float(bits) => Some(f64::from_bits(*bits)),
            _ => None,
        }
    }
}

/// A value every type has, for required fields of absent structs.
fn placeholder(field_type: &Type) -> Value {
    match field_type {
        Type::Struct(fields) => Value::Struct(
            fields
                .fields()
                .iter()
                .map(|field| {
                    if field.required {
                        placeholder(&field.field_type)
                    } else {
                        Value::Null
                    }
                })
                .collect(),
        ),
        Type::List(_) => Value::List(Vec::new()),
        Type::Map(_) => Value::Map(Vec::new()),
        Type::Primitive(primitive) => match primitive {
            PrimitiveType::Boolean => Value::Bool(false),
            PrimitiveType::Float | PrimitiveType::Double => Value::float(0.0),
            PrimitiveType::Decimal { .. } => Value::Decimal(0),
            PrimitiveType::String => Value::Text(String::new()),
            PrimitiveType::Uuid => Value::Bytes(vec![0; 16]),
            PrimitiveType::Fixed(length) => Value::Bytes(vec![0; *length as usize]),
            PrimitiveType::Binary => Value::Bytes(Vec::new()),
            _ => Value::Int(0),
        },
    }
}

/// The values as an array of the type's Arrow type.
pub(crate) fn array_of(field_type: &Type, values: &[Value]) -> ArrayRef {
    let data_type = arrow_type(field_type).unwrap();
    let nulls = NullBuffer::from_iter(values.iter().map(|value| *value != Value::Null));
    match (field_type, &data_type) {
        (Type::Primitive(primitive), _) => primitive_array(primitive, values),
        (Type::Struct(fields), DataType::Struct(arrow)) => Arc::new(StructArray::new(
            arrow.clone(),
            columns(fields, values),
            Some(nulls),
        )),
        (Type::List(list), DataType::List(field)) => {
            let items = |value: &Value| match value {
                Value::List(items) => items.clone(),
                _ => Vec::new(),
            };
            let offsets = OffsetBuffer::from_lengths(values.iter().map(|value| items(value).len()));
            let elements: Vec<Value> = values.iter().flat_map(items).collect();
            let elements = array_of(&list.element_field.field_type, &elements);
            Arc::new(ListArray::new(field.clone(), offsets, elements, Some(nulls)))
        }
        (Type::Map(map), DataType::Map(field, _)) => {
            let pairs = |value: &Value| match value {
                Value::Map(pairs) => pairs.clone(),
                _ => Vec::new(),
            };
            let offsets = OffsetBuffer::from_lengths(values.iter().map(|value| pairs(value).len()));
            let (keys, items): (Vec<_>, Vec<_>) = values.iter().flat_map(pairs).unzip();
            let keys = array_of(&map.key_field.field_type, &keys);
            let items = array_of(&map.value_field.field_type, &items);
            let DataType::Struct(entries) = field.data_type() else {
                unreachable!()
            };
            let entries = StructArray::new(entries.clone(), vec![keys, items], None);
            Arc::new(MapArray::new(field.clone(), offsets, entries, Some(nulls), false))
        }
        _ => unreachable!("Arrow types follow Iceberg's"),
    }
}

/// The fields of structs as columns.
fn columns(fields: &StructType, rows: &[Value]) -> Vec<ArrayRef> {
    let column = |(index, field): (usize, &NestedFieldRef)| {
        let value = |row: &Value| match row {
            Value::Struct(values) => values[index].clone(),
            _ if field.required => placeholder(&field.field_type),
            _ => Value::Null,
        };
        array_of(&field.field_type, &rows.iter().map(value).collect::<Vec<_>>())
    };
    fields.fields().iter().enumerate().map(column).collect()
}

fn primitive_array(primitive: &PrimitiveType, values: &[Value]) -> ArrayRef {
    let ints = || values.iter().map(Value::int);
    let small = || ints().map(|value| value.map(|value| value as i32));
    match primitive {
        PrimitiveType::Boolean => Arc::new(BooleanArray::from_iter(values.iter().map(|value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        }))),
        PrimitiveType::Int => Arc::new(Int32Array::from_iter(small())),
        PrimitiveType::Date => Arc::new(Date32Array::from_iter(small())),
        PrimitiveType::Long => Arc::new(Int64Array::from_iter(ints())),
        PrimitiveType::Time => Arc::new(Time64MicrosecondArray::from_iter(ints())),
        PrimitiveType::Timestamp => Arc::new(TimestampMicrosecondArray::from_iter(ints())),
        PrimitiveType::Timestamptz => {
            Arc::new(TimestampMicrosecondArray::from_iter(ints()).with_timezone("+00:00"))
        }
        PrimitiveType::Float => Arc::new(Float32Array::from_iter(
            values.iter().map(|value| value.double().map(|v| v as f32)),
        )),
        PrimitiveType::Double => Arc::new(Float64Array::from_iter(values.iter().map(Value::double))),
        PrimitiveType::Decimal { precision, scale } => {
            let values = values.iter().map(|value| match value {
                Value::Decimal(value) => Some(*value),
                _ => None,
            });
            let array = Decimal128Array::from_iter(values);
            Arc::new(
                array
                    .with_precision_and_scale(*precision as u8, *scale as i8)
                    .unwrap(),
            )
        }
        PrimitiveType::String => {
            let mut builder = StringBuilder::new();
            values.iter().for_each(|value| match value {
                Value::Text(text) => builder.append_value(text),
                _ => builder.append_null(),
            });
            Arc::new(builder.finish())
        }
        PrimitiveType::Binary => {
            let mut builder = BinaryBuilder::new();
            values.iter().for_each(|value| match value {
                Value::Bytes(bytes) => builder.append_value(bytes),
                _ => builder.append_null(),
            });
            Arc::new(builder.finish())
        }
        PrimitiveType::Uuid => fixed(16, values),
        PrimitiveType::Fixed(length) => fixed(*length as i32, values),
        _ => unreachable!("no such type before format version 3"),
    }
}

fn fixed(length: i32, values: &[Value]) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::new(length);
    values.iter().for_each(|value| match value {
        Value::Bytes(bytes) => builder.append_value(bytes).unwrap(),
        _ => builder.append_null(),
    });
    Arc::new(builder.finish())
}

/// An array as values, going by the Iceberg type.
pub(crate) fn values_of(field_type: &Type, array: &ArrayRef) -> Vec<Value> {
    (0..array.len())
        .map(|row| value_at(field_type, array, row))
        .collect()
}

fn value_at(field_type: &Type, array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match field_type {
        Type::Primitive(primitive) => primitive_at(primitive, array, row),
        Type::Struct(fields) => Value::Struct(
            fields
                .fields()
                .iter()
                .zip(array.as_struct().columns())
                .map(|(field, column)| value_at(&field.field_type, column, row))
                .collect(),
        ),
        Type::List(list) => Value::List(values_of(
            &list.element_field.field_type,
            &array.as_list::<i32>().value(row),
        )),
        Type::Map(map) => {
            let entries = array.as_map().value(row);
            let keys = values_of(&map.key_field.field_type, entries.column(0));
            let values = values_of(&map.value_field.field_type, entries.column(1));
            Value::Map(keys.into_iter().zip(values).collect())
        }
    }
}

fn primitive_at(primitive: &PrimitiveType, array: &ArrayRef, row: usize) -> Value {
    match primitive {
        PrimitiveType::Boolean => Value::Bool(array.as_boolean().value(row)),
        PrimitiveType::Int => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
        PrimitiveType::Date => Value::Int(array.as_primitive::<Date32Type>().value(row).into()),
        PrimitiveType::Long => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        PrimitiveType::Time => Value::Int(array.as_primitive::<Time64MicrosecondType>().value(row)),
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => {
            Value::Int(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        PrimitiveType::Float => Value::float(array.as_primitive::<Float32Type>().value(row).into()),
        PrimitiveType::Double => Value::float(array.as_primitive::<Float64Type>().value(row)),
        PrimitiveType::Decimal { .. } => Value::Decimal(array.as_primitive::<Decimal128Type>().value(row)),
        PrimitiveType::String => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        PrimitiveType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        _ => Value::Bytes(array.as_fixed_size_binary().value(row).to_vec()),
    }
}

/// What a value written under one type is read as under a later one, by field id.
pub(crate) fn evolve(old: &Type, new: &Type, value: &Value) -> Value {
    match (old, new, value) {
        (Type::Struct(old), Type::Struct(new), Value::Struct(values)) => {
            let field = |field: &NestedFieldRef| {
                let found = old.fields().iter().position(|candidate| candidate.id == field.id);
                found.map_or(Value::Null, |index| {
                    evolve(&old.fields()[index].field_type, &field.field_type, &values[index])
                })
            };
            Value::Struct(new.fields().iter().map(field).collect())
        }
        (Type::List(old), Type::List(new), Value::List(items)) => {
            let (old, new) = (&old.element_field.field_type, &new.element_field.field_type);
            Value::List(items.iter().map(|item| evolve(old, new, item)).collect())
        }
        (Type::Map(old), Type::Map(new), Value::Map(pairs)) => {
            let (old, new) = (&old.value_field.field_type, &new.value_field.field_type);
            Value::Map(
                pairs
                    .iter()
                    .map(|(key, item)| (key.clone(), evolve(old, new, item)))
                    .collect(),
            )
        }
        (_, _, value) => value.clone(),
    }
}

/// The value of a field, by id, wherever it is in structs; null where it or a struct around it is.
pub(crate) fn key_of(fields: &StructType, id: i32, row: &Value) -> Value {
    let Value::Struct(values) = row else {
        return Value::Null;
    };
    for (field, value) in fields.fields().iter().zip(values) {
        if field.id == id {
            return value.clone();
        }
        if let Type::Struct(children) = field.field_type.as_ref()
            && contains(children, id)
        {
            return key_of(children, id, value);
        }
    }
    Value::Null
}

fn contains(fields: &StructType, id: i32) -> bool {
    fields.fields().iter().any(|field| {
        field.id == id
            || matches!(field.field_type.as_ref(), Type::Struct(children) if contains(children, id))
    })
}

/// The Arrow fields of a struct.
pub(super) fn fields_of(fields: &StructType) -> Fields {
    match arrow_type(&Type::Struct(fields.clone())).unwrap() {
        DataType::Struct(fields) => fields,
        _ => unreachable!(),
    }
}
