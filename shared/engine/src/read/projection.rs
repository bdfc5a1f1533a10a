//! Matches a file's columns with the table's current schema, by field id (spec, Column Projection).
//!
//! The same resolution runs twice: over the whole file schema, to learn which Parquet columns to read, and over
//! the schema the reader then delivers, for the plan that converts its batches.

use std::collections::HashMap;

use arrow_schema::{DataType, FieldRef, Fields, TimeUnit};
use iceberg::spec::{
    ListType, Literal, MapType, NestedField, PrimitiveLiteral, PrimitiveType, StructType, Type,
};

use super::constant::{arrow_fields, arrow_type};
use super::schema::{field_id, leaf_count};

/// Where the values of one target column come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// The file's field at this index of its level.
    File(usize, Convert),
    /// Not in the file: the same value in every row.
    Constant(PrimitiveType, PrimitiveLiteral),
    /// Not in the file, and no value is known.
    Null,
}

/// How a file's array becomes one of the target type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Convert {
    /// It has the target type already.
    Keep,
    /// Same values, another label: time zone, or decimal precision.
    Relabel,
    /// Values are converted; one that does not fit is an error.
    Cast,
    /// Field by field.
    Struct(StructPlan),
    /// Element by element.
    List(Box<Convert>),
    /// Keys and values.
    Map(Box<Convert>, Box<Convert>),
}

/// How the fields of a struct, or the columns of a batch, are put together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StructPlan {
    /// The target fields.
    pub(crate) fields: Fields,
    /// Where each comes from.
    pub(crate) sources: Vec<Source>,
}

impl StructPlan {
    /// Whether both plans find the same columns in the file, at every depth.
    pub(crate) fn finds_the_same_as(&self, other: &Self) -> bool {
        self.sources.len() == other.sources.len()
            && self
                .sources
                .iter()
                .zip(&other.sources)
                .all(|sources| match sources {
                    (Source::File(_, one), Source::File(_, other)) => one.finds_the_same_as(other),
                    (one, other) => one == other,
                })
    }
}

impl Convert {
    fn finds_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Convert::Struct(one), Convert::Struct(other)) => one.finds_the_same_as(other),
            (Convert::List(one), Convert::List(other)) => one.finds_the_same_as(other),
            (Convert::Map(key, value), Convert::Map(other_key, other_value)) => {
                key.finds_the_same_as(other_key) && value.finds_the_same_as(other_value)
            }
            (one, other) => one == other,
        }
    }
}

/// One column of the table wherever it is in the file, at any depth of structs, flattened: a row has a null
/// where the column or a struct around it is null.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// Its type in the table.
    pub(crate) primitive: PrimitiveType,
    /// The position at each level, and how the array found there is converted.
    pub(crate) path: Vec<usize>,
    /// What to do at the end of the path, or instead of it.
    pub(crate) source: Source,
}

/// Resolves table columns against the fields of one file.
pub(crate) struct Resolver<'a> {
    /// Values of identity partition fields by source id, for columns the file leaves out.
    pub(crate) partition: &'a HashMap<i32, PrimitiveLiteral>,
    /// Nested fields match by position (files without ids and without a name mapping).
    pub(crate) nested_by_position: bool,
    /// The Parquet columns that are needed, by index, as resolution goes.
    pub(crate) leaves: Vec<usize>,
}

impl Resolver<'_> {
    /// Plans the table's columns.
    ///
    /// # Errors
    /// A type in the file cannot become the table's, or a required column is missing.
    pub(crate) fn columns(&mut self, target: &StructType, file: &Fields) -> Result<StructPlan, String> {
        self.fields(target, file, 0, false)
    }

    /// Plans one column by id, for delete keys.
    ///
    /// # Errors
    /// Its type in the file cannot become `field`'s.
    pub(crate) fn column(&mut self, field: &NestedField, file: &Fields) -> Result<Column, String> {
        let Type::Primitive(primitive) = field.field_type.as_ref() else {
            return Err(format!(
                "column {} is of type {}, which has no equality",
                field.name, field.field_type
            ));
        };
        let (path, source) = match find_path(file, field.id, 0) {
            Some((path, leaf, found)) => {
                self.leaves.push(leaf);
                (
                    path,
                    Source::File(0, convert_primitive(found.data_type(), primitive)?),
                )
            }
            None => (Vec::new(), self.missing(field)),
        };
        Ok(Column {
            primitive: primitive.clone(),
            path,
            source,
        })
    }

    fn fields(
        &mut self,
        target: &StructType,
        file: &Fields,
        first_leaf: usize,
        nested: bool,
    ) -> Result<StructPlan, String> {
        let needed_before = self.leaves.len();
        let mut sources = Vec::with_capacity(target.fields().len());
        for (position, field) in target.fields().iter().enumerate() {
            let found = match nested && self.nested_by_position {
                true => (position < file.len()).then_some(position),
                false => file
                    .iter()
                    .position(|candidate| field_id(candidate) == Some(field.id)),
            };
            sources.push(match found {
                Some(index) => {
                    let leaf = first_leaf + leaves_before(file, index);
                    let convert = self
                        .convert(&field.field_type, &file[index], leaf)
                        .map_err(|reason| format!("column {}: {reason}", field.name))?;
                    Source::File(index, convert)
                }
                None => self.missing_or_error(field)?,
            });
        }
        if nested && self.leaves.len() == needed_before {
            self.keep_shape(file, first_leaf);
        }
        Ok(StructPlan {
            fields: arrow_fields(target)?,
            sources,
        })
    }

    /// Nothing of a struct is wanted, but its smallest field still has to be read to know where it is null. The
    /// field is read whole: a map without its values is not read at all.
    fn keep_shape(&mut self, file: &Fields, first_leaf: usize) {
        let smallest = (0..file.len()).min_by_key(|&index| leaf_count(file[index].data_type()));
        if let Some(index) = smallest {
            let start = first_leaf + leaves_before(file, index);
            self.leaves
                .extend(start..start + leaf_count(file[index].data_type()));
        }
    }

    fn missing_or_error(&self, field: &NestedField) -> Result<Source, String> {
        match self.missing(field) {
            Source::Null if field.required => Err(format!(
                "column {} is required, has no default, and is not in the file",
                field.name
            )),
            source => Ok(source),
        }
    }

    /// Spec, Column Projection: the partition's value, else the initial default, else null.
    fn missing(&self, field: &NestedField) -> Source {
        let Type::Primitive(primitive) = field.field_type.as_ref() else {
            return Source::Null;
        };
        if let Some(value) = self.partition.get(&field.id) {
            return Source::Constant(primitive.clone(), value.clone());
        }
        match &field.initial_default {
            Some(Literal::Primitive(value)) => Source::Constant(primitive.clone(), value.clone()),
            _ => Source::Null,
        }
    }

    fn convert(&mut self, target: &Type, file: &FieldRef, leaf: usize) -> Result<Convert, String> {
        match (target, file.data_type()) {
            (Type::Primitive(primitive), found) => {
                self.leaves.push(leaf);
                convert_primitive(found, primitive)
            }
            (Type::Struct(fields), DataType::Struct(found)) => {
                Ok(Convert::Struct(self.fields(fields, found, leaf, true)?))
            }
            (Type::List(list), DataType::List(element)) => self.list(list, element, leaf),
            (Type::Map(map), DataType::Map(entries, _)) => self.map(map, entries, leaf),
            (target, found) => Err(format!("the file has {found}, the table {target}")),
        }
    }

    /// Elements, keys and values are matched by what they are: they cannot be dropped or replaced.
    fn list(&mut self, list: &ListType, element: &FieldRef, leaf: usize) -> Result<Convert, String> {
        Ok(Convert::List(Box::new(self.convert(
            &list.element_field.field_type,
            element,
            leaf,
        )?)))
    }

    fn map(&mut self, map: &MapType, entries: &FieldRef, leaf: usize) -> Result<Convert, String> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err("its map has no keys and values".to_owned());
        };
        let key = self.convert(&map.key_field.field_type, &fields[0], leaf)?;
        let value_leaf = leaf + leaf_count(fields[0].data_type());
        let value = self.convert(&map.value_field.field_type, &fields[1], value_leaf)?;
        Ok(Convert::Map(Box::new(key), Box::new(value)))
    }
}

fn leaves_before(fields: &Fields, index: usize) -> usize {
    fields[..index]
        .iter()
        .map(|field| leaf_count(field.data_type()))
        .sum()
}

/// Finds a field through structs: its path, its Parquet column, and itself.
fn find_path(fields: &Fields, id: i32, first_leaf: usize) -> Option<(Vec<usize>, usize, &FieldRef)> {
    let mut leaf = first_leaf;
    for (index, field) in fields.iter().enumerate() {
        if field_id(field) == Some(id) {
            return Some((vec![index], leaf, field));
        }
        if let DataType::Struct(children) = field.data_type()
            && let Some((mut path, leaf, found)) = find_path(children, id, leaf)
        {
            path.insert(0, index);
            return Some((path, leaf, found));
        }
        leaf += leaf_count(field.data_type());
    }
    None
}

/// What a file's type has to go through to become the table's: the spec's promotions, and the ways other
/// writers (Hive, Spark, Impala) store the same values.
fn convert_primitive(file: &DataType, target: &PrimitiveType) -> Result<Convert, String> {
    use DataType as File;
    let wanted = arrow_type(&Type::Primitive(target.clone()))?;
    if *file == wanted {
        return Ok(Convert::Keep);
    }
    match (file, target) {
        (File::Null, _)
        | (File::Int8 | File::Int16 | File::UInt8 | File::UInt16, PrimitiveType::Int)
        | (
            File::Int8 | File::Int16 | File::Int32 | File::UInt8 | File::UInt16 | File::UInt32,
            PrimitiveType::Long,
        )
        | (File::Float32, PrimitiveType::Double)
        | (File::Time32(TimeUnit::Millisecond), PrimitiveType::Time)
        | (
            File::Timestamp(TimeUnit::Millisecond, _),
            PrimitiveType::Timestamp | PrimitiveType::Timestamptz,
        )
        | (File::Binary, PrimitiveType::String)
        | (File::Utf8 | File::FixedSizeBinary(_), PrimitiveType::Binary) => Ok(Convert::Cast),
        (
            File::Timestamp(TimeUnit::Microsecond, _),
            PrimitiveType::Timestamp | PrimitiveType::Timestamptz,
        )
        | (
            File::Timestamp(TimeUnit::Nanosecond, _),
            PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs,
        ) => Ok(Convert::Relabel),
        // Promotions of version 3.
        (File::Date32, PrimitiveType::Timestamp | PrimitiveType::TimestampNs) => Ok(Convert::Cast),
        (
            File::Decimal128(precision, found),
            PrimitiveType::Decimal {
                precision: wider,
                scale,
            },
        ) if i64::from(*found) == i64::from(*scale) => {
            let widens = u32::from(*precision) <= *wider;
            Ok(if widens { Convert::Relabel } else { Convert::Cast })
        }
        (file, target) => Err(format!("the file has {file}, which cannot be read as {target}")),
    }
}
