//! The Arrow schema of one Parquet file, with every column's Iceberg field id.
//!
//! Follows Java's `ReadConf`: ids of the file itself if it has any, else the table's name mapping
//! (`schema.name-mapping.default`), else top-level columns are numbered by their position.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema, TimeUnit};
use iceberg::spec::{MappedField, NameMapping};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::ParquetMetaData;

/// A file's footer with the Arrow schema its columns are read as.
pub(crate) struct FileSchema {
    /// What parquet's readers take.
    pub(crate) reader: ArrowReaderMetadata,
    /// Fields inside top-level columns have no ids and match the table's by position.
    pub(crate) nested_by_position: bool,
}

impl FileSchema {
    /// Resolves the ids of a file's columns.
    ///
    /// # Errors
    /// The Parquet schema has a construct that cannot be read.
    pub(crate) fn resolve(
        metadata: &Arc<ParquetMetaData>,
        name_mapping: Option<&NameMapping>,
    ) -> Result<Self, String> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let plain =
            ArrowReaderMetadata::try_new(Arc::clone(metadata), options.clone()).map_err(|e| e.to_string())?;
        let ids = match name_mapping {
            _ if has_ids(plain.schema().fields()) => Ids::Own,
            Some(mapping) => Ids::Mapped(mapping.fields().iter().collect()),
            None => Ids::Position,
        };
        let nested_by_position = matches!(ids, Ids::Position);
        let mut walk = Walk {
            metadata,
            next_leaf: 0,
        };
        let fields = walk.fields(plain.schema().fields(), &ids);
        if &fields == plain.schema().fields() {
            return Ok(Self {
                reader: plain,
                nested_by_position,
            });
        }
        let options = options.with_schema(Arc::new(ArrowSchema::new(fields)));
        let reader =
            ArrowReaderMetadata::try_new(Arc::clone(metadata), options).map_err(|e| e.to_string())?;
        Ok(Self {
            reader,
            nested_by_position,
        })
    }
}

/// The field id of an Arrow field, if it has one.
pub(crate) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()
}

/// How many Parquet columns hold an Arrow type.
pub(crate) fn leaf_count(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaf_count(field.data_type())).sum(),
        DataType::List(field) | DataType::Map(field, _) => leaf_count(field.data_type()),
        _ => 1,
    }
}

fn has_ids(fields: &Fields) -> bool {
    fields
        .iter()
        .any(|field| field_id(field).is_some() || nested_has_ids(field.data_type()))
}

fn nested_has_ids(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => has_ids(fields),
        DataType::List(field) | DataType::Map(field, _) => {
            field_id(field).is_some() || nested_has_ids(field.data_type())
        }
        _ => false,
    }
}

/// Where the ids of a group of fields come from.
enum Ids<'a> {
    /// They are in the file.
    Own,
    /// The name mapping of this level.
    Mapped(Vec<&'a MappedField>),
    /// The position, counted from 1.
    Position,
    /// They have none: nested fields under [`Ids::Position`].
    Absent,
}

impl<'a> Ids<'a> {
    fn find(&self, name: &str) -> Option<&'a MappedField> {
        match self {
            Ids::Mapped(fields) => fields
                .iter()
                .copied()
                .find(|f| f.names().iter().any(|n| n == name)),
            _ => None,
        }
    }

    /// The id of the field at `position`, and where its children's ids come from.
    fn of(&self, name: &str, position: usize) -> (Option<i32>, Ids<'a>) {
        match self {
            Ids::Own => (None, Ids::Own),
            Ids::Mapped(_) => {
                let field = self.find(name);
                let children = field.map_or(Vec::new(), |f| f.fields().iter().map(AsRef::as_ref).collect());
                (field.and_then(MappedField::field_id), Ids::Mapped(children))
            }
            Ids::Position => (i32::try_from(position + 1).ok(), Ids::Absent),
            Ids::Absent => (None, Ids::Absent),
        }
    }
}

/// Walks the fields in the order of the file's Parquet columns.
struct Walk<'a> {
    metadata: &'a ParquetMetaData,
    next_leaf: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &Fields, ids: &Ids<'_>) -> Fields {
        fields
            .iter()
            .enumerate()
            .map(|(position, field)| self.field(field, ids, position))
            .collect()
    }

    fn field(&mut self, field: &FieldRef, ids: &Ids<'_>, position: usize) -> FieldRef {
        let (id, children) = ids.of(field.name(), position);
        let mut changed = field
            .as_ref()
            .clone()
            .with_data_type(self.data_type(field.data_type(), &children));
        if let Some(id) = id {
            changed.set_metadata(HashMap::from([(
                PARQUET_FIELD_ID_META_KEY.to_owned(),
                id.to_string(),
            )]));
        }
        Arc::new(changed)
    }

    /// A list's element, or a map's key or value: only fields inside it need ids. `name` is what name
    /// mappings call it, whatever the file does.
    fn part(&mut self, field: &FieldRef, ids: &Ids<'_>, name: &str) -> FieldRef {
        let (_, children) = ids.of(name, 0);
        Arc::new(
            field
                .as_ref()
                .clone()
                .with_data_type(self.data_type(field.data_type(), &children)),
        )
    }

    fn data_type(&mut self, data_type: &DataType, ids: &Ids<'_>) -> DataType {
        match data_type {
            DataType::Struct(fields) => DataType::Struct(self.fields(fields, ids)),
            DataType::List(element) => DataType::List(self.part(element, ids, "element")),
            DataType::Map(entries, sorted) => {
                let DataType::Struct(fields) = entries.data_type() else {
                    return data_type.clone();
                };
                let key = self.part(&fields[0], ids, "key");
                let value = self.part(&fields[1], ids, "value");
                let key_value = DataType::Struct(Fields::from(vec![key, value]));
                DataType::Map(
                    Arc::new(entries.as_ref().clone().with_data_type(key_value)),
                    *sorted,
                )
            }
            leaf => self.leaf(leaf),
        }
    }

    /// INT96 holds more years than nanoseconds in 64 bits: it is read as microseconds, as Iceberg does.
    fn leaf(&mut self, data_type: &DataType) -> DataType {
        let leaf = self.next_leaf;
        self.next_leaf += 1;
        let schema = self.metadata.file_metadata().schema_descr();
        if schema.column(leaf).physical_type() == PhysicalType::INT96 {
            return DataType::Timestamp(TimeUnit::Microsecond, None);
        }
        data_type.clone()
    }
}
