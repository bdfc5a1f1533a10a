//! The Parquet schema of data files (spec, Appendix A, Parquet; Java's `TypeToMessageType`).

use std::fmt::Write as _;
use std::sync::Arc;

use iceberg::spec::{NestedFieldRef, PrimitiveType, Schema, StructType, Type};
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::{SchemaDescriptor, Type as ParquetType, TypePtr};

/// Largest decimal precision kept in 32 bits.
const INT32_DIGITS: u32 = 9;
/// Largest decimal precision kept in 64 bits.
const INT64_DIGITS: u32 = 18;

/// The Parquet schema a table's rows are written with: field ids on every column, names that Avro could have.
///
/// # Errors
/// The schema has a type that Parquet files of format versions 1 and 2 cannot hold.
pub(crate) fn parquet_schema(schema: &Schema) -> Result<SchemaDescriptor> {
    let root = ParquetType::group_type_builder("table")
        .with_fields(fields(schema.as_struct())?)
        .build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn fields(fields: &StructType) -> Result<Vec<TypePtr>> {
    fields
        .fields()
        .iter()
        .map(|field| column(field, &compatible_name(&field.name)))
        .collect()
}

fn column(field: &NestedFieldRef, name: &str) -> Result<TypePtr> {
    let repetition = if field.required {
        Repetition::REQUIRED
    } else {
        Repetition::OPTIONAL
    };
    let group = |logical_type, children| {
        ParquetType::group_type_builder(name)
            .with_repetition(repetition)
            .with_logical_type(logical_type)
            .with_fields(children)
            .with_id(Some(field.id))
            .build()
            .map(Arc::new)
    };
    let repeated = |name, children| {
        ParquetType::group_type_builder(name)
            .with_repetition(Repetition::REPEATED)
            .with_fields(children)
            .build()
            .map(Arc::new)
    };
    match field.field_type.as_ref() {
        Type::Primitive(primitive) => leaf(primitive, name, repetition, field.id),
        Type::Struct(children) => group(None, fields(children)?),
        Type::List(list) => {
            let element = column(&list.element_field, "element")?;
            group(Some(LogicalType::List), vec![repeated("list", vec![element])?])
        }
        Type::Map(map) => {
            let pair = vec![column(&map.key_field, "key")?, column(&map.value_field, "value")?];
            group(Some(LogicalType::Map), vec![repeated("key_value", pair)?])
        }
    }
}

fn leaf(primitive: &PrimitiveType, name: &str, repetition: Repetition, id: i32) -> Result<TypePtr> {
    let (physical, logical, length) = physical_type(primitive)?;
    let mut builder = ParquetType::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical)
        .with_length(length)
        .with_id(Some(id));
    if let PrimitiveType::Decimal { precision, scale } = primitive {
        builder = builder
            .with_precision(number(*precision)?)
            .with_scale(number(*scale)?);
    }
    builder.build().map(Arc::new)
}

/// The physical type, its annotation, and the length of fixed-length values (else -1).
fn physical_type(primitive: &PrimitiveType) -> Result<(PhysicalType, Option<LogicalType>, i32)> {
    const NO_LENGTH: i32 = -1;
    let micros = TimeUnit::MICROS;
    let (physical, logical) = match primitive {
        PrimitiveType::Boolean => (PhysicalType::BOOLEAN, None),
        PrimitiveType::Int => (PhysicalType::INT32, None),
        PrimitiveType::Long => (PhysicalType::INT64, None),
        PrimitiveType::Float => (PhysicalType::FLOAT, None),
        PrimitiveType::Double => (PhysicalType::DOUBLE, None),
        PrimitiveType::Date => (PhysicalType::INT32, Some(LogicalType::Date)),
        PrimitiveType::Time => (
            PhysicalType::INT64,
            Some(LogicalType::Time {
                is_adjusted_to_u_t_c: false,
                unit: micros,
            }),
        ),
        PrimitiveType::Timestamp => timestamp(false, micros),
        PrimitiveType::Timestamptz => timestamp(true, micros),
        PrimitiveType::TimestampNs => timestamp(false, TimeUnit::NANOS),
        PrimitiveType::TimestamptzNs => timestamp(true, TimeUnit::NANOS),
        PrimitiveType::String => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        PrimitiveType::Binary => (PhysicalType::BYTE_ARRAY, None),
        PrimitiveType::Uuid => return Ok((PhysicalType::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid), 16)),
        PrimitiveType::Fixed(length) => {
            let length = i32::try_from(*length).map_err(|e| ParquetError::General(e.to_string()))?;
            return Ok((PhysicalType::FIXED_LEN_BYTE_ARRAY, None, length));
        }
        PrimitiveType::Decimal { precision, scale } => return decimal(*precision, *scale),
    };
    Ok((physical, logical, NO_LENGTH))
}

fn timestamp(is_adjusted_to_u_t_c: bool, unit: TimeUnit) -> (PhysicalType, Option<LogicalType>) {
    let logical = LogicalType::Timestamp {
        is_adjusted_to_u_t_c,
        unit,
    };
    (PhysicalType::INT64, Some(logical))
}

fn decimal(precision: u32, scale: u32) -> Result<(PhysicalType, Option<LogicalType>, i32)> {
    let logical = Some(LogicalType::Decimal {
        scale: number(scale)?,
        precision: number(precision)?,
    });
    Ok(match precision {
        digits if digits <= INT32_DIGITS => (PhysicalType::INT32, logical, -1),
        digits if digits <= INT64_DIGITS => (PhysicalType::INT64, logical, -1),
        _ => (
            PhysicalType::FIXED_LEN_BYTE_ARRAY,
            logical,
            decimal_bytes(precision),
        ),
    })
}

/// The fewest bytes that hold every number of `precision` digits and its sign.
fn decimal_bytes(precision: u32) -> i32 {
    let bits = f64::from(precision) * std::f64::consts::LOG2_10 + 1.0;
    (bits / 8.0).ceil() as i32
}

fn number(value: u32) -> Result<i32> {
    i32::try_from(value).map_err(|e| ParquetError::General(e.to_string()))
}

/// A name that is valid in Avro: other characters are replaced by their code (`AvroSchemaUtil.makeCompatibleName`).
/// Works on UTF-16 units, as Java does.
fn compatible_name(name: &str) -> String {
    let mut compatible = String::with_capacity(name.len());
    for (index, unit) in name.encode_utf16().enumerate() {
        let character = char::from_u32(u32::from(unit));
        match character {
            Some(c) if c == '_' || c.is_alphabetic() || (index > 0 && c.is_numeric()) => compatible.push(c),
            Some(c) if c.is_ascii_digit() => {
                compatible.push('_');
                compatible.push(c);
            }
            _ => write!(compatible, "_x{unit:X}").expect("writing to a string does not fail"),
        }
    }
    compatible
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{ListType, MapType, NestedField};
    use parquet::schema::parser::parse_message_type;
    use parquet::schema::printer::print_schema;

    use super::*;

    #[test]
    fn names_are_made_compatible_as_in_java() {
        assert_eq!(compatible_name("plain_1"), "plain_1");
        assert_eq!(compatible_name("9a"), "_9a");
        assert_eq!(compatible_name("a-b c"), "a_x2Db_x20c");
        assert_eq!(compatible_name("größe"), "größe");
        assert_eq!(compatible_name("😀"), "_xD83D_xDE00");
    }

    #[test]
    fn decimals_take_as_many_bytes_as_in_java() {
        let required: Vec<i32> = (19..=38).map(decimal_bytes).collect();
        let java = [
            9, 9, 9, 10, 10, 11, 11, 11, 12, 12, 13, 13, 13, 14, 14, 15, 15, 16, 16, 16,
        ];
        assert_eq!(required, java);
    }

    #[test]
    fn every_type_has_the_parquet_type_of_the_spec() {
        let field =
            |id, name: &str, t: PrimitiveType| NestedField::optional(id, name, Type::Primitive(t)).into();
        let list = ListType {
            element_field: NestedField::list_element(31, PrimitiveType::Int.into(), true).into(),
        };
        let map = MapType {
            key_field: NestedField::map_key_element(32, PrimitiveType::String.into()).into(),
            value_field: NestedField::map_value_element(33, PrimitiveType::Uuid.into(), false).into(),
        };
        let schema = Schema::builder()
            .with_fields(vec![
                NestedField::required(1, "b", PrimitiveType::Boolean.into()).into(),
                field(
                    2,
                    "d9",
                    PrimitiveType::Decimal {
                        precision: 9,
                        scale: 2,
                    },
                ),
                field(
                    3,
                    "d18",
                    PrimitiveType::Decimal {
                        precision: 18,
                        scale: 0,
                    },
                ),
                field(
                    4,
                    "d38",
                    PrimitiveType::Decimal {
                        precision: 38,
                        scale: 38,
                    },
                ),
                field(5, "t", PrimitiveType::Time),
                field(6, "ts", PrimitiveType::Timestamp),
                field(7, "tz", PrimitiveType::Timestamptz),
                field(8, "f", PrimitiveType::Fixed(7)),
                field(9, "bin", PrimitiveType::Binary),
                NestedField::optional(10, "l", Type::List(list)).into(),
                NestedField::optional(11, "m", Type::Map(map)).into(),
            ])
            .build()
            .unwrap();
        let expected = "message table {
            REQUIRED BOOLEAN b = 1;
            OPTIONAL INT32 d9 (DECIMAL(9,2)) = 2;
            OPTIONAL INT64 d18 (DECIMAL(18,0)) = 3;
            OPTIONAL FIXED_LEN_BYTE_ARRAY (16) d38 (DECIMAL(38,38)) = 4;
            OPTIONAL INT64 t (TIME(MICROS,false)) = 5;
            OPTIONAL INT64 ts (TIMESTAMP(MICROS,false)) = 6;
            OPTIONAL INT64 tz (TIMESTAMP(MICROS,true)) = 7;
            OPTIONAL FIXED_LEN_BYTE_ARRAY (7) f = 8;
            OPTIONAL BYTE_ARRAY bin = 9;
            OPTIONAL group l (LIST) = 10 { REPEATED group list { REQUIRED INT32 element = 31; } }
            OPTIONAL group m (MAP) = 11 {
              REPEATED group key_value {
                REQUIRED BYTE_ARRAY key (STRING) = 32;
                OPTIONAL FIXED_LEN_BYTE_ARRAY (16) value (UUID) = 33;
              }
            }
          }";
        let printed = |schema: &ParquetType| {
            let mut text = Vec::new();
            print_schema(&mut text, schema);
            String::from_utf8(text).unwrap()
        };
        let actual = parquet_schema(&schema).unwrap();
        assert_eq!(
            printed(actual.root_schema()),
            printed(&parse_message_type(expected).unwrap())
        );
    }
}
