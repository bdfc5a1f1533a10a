//! Which metrics manifests keep of each column: `write.metadata.metrics.*` (Java's `MetricsConfig`).

use std::collections::HashMap;

use iceberg::spec::{Schema, StructType, TableMetadata, Type};

/// `write.metadata.metrics.max-inferred-column-defaults`.
const MAX_INFERRED_COLUMNS: usize = 100;

/// What is kept of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricsMode {
    /// Nothing.
    None,
    /// Counts only.
    Counts,
    /// Counts, and bounds with strings and binaries cut to this many characters or bytes.
    Truncate(usize),
    /// Counts and whole bounds.
    Full,
}

impl MetricsMode {
    const DEFAULT: Self = Self::Truncate(16);

    /// A mode by its name in properties; `None` when there is none of that name.
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Some(Self::None),
            "counts" => Some(Self::Counts),
            "full" => Some(Self::Full),
            text => {
                let length = text.strip_prefix("truncate(")?.strip_suffix(')')?.parse().ok()?;
                (length > 0).then_some(Self::Truncate(length))
            }
        }
    }
}

/// The mode of every column.
#[derive(Clone, Debug)]
pub(crate) struct MetricsConfig {
    default: MetricsMode,
    columns: HashMap<String, MetricsMode>,
}

impl MetricsConfig {
    /// Reads a table's properties. As in Java, a mode that cannot be understood counts as not given.
    pub(crate) fn of(table: &TableMetadata) -> Self {
        let properties = table.properties();
        let schema = table.current_schema();
        let mut columns = HashMap::new();
        let default = match properties.get("write.metadata.metrics.default") {
            Some(mode) => MetricsMode::parse(mode).unwrap_or(MetricsMode::DEFAULT),
            None => inferred_default(schema, inferred_limit(properties), &mut columns),
        };
        let sorted = match default {
            MetricsMode::None | MetricsMode::Counts => MetricsMode::DEFAULT,
            mode => mode,
        };
        for field in &table.default_sort_order().fields {
            if field.transform.preserves_order()
                && let Some(name) = schema.name_by_field_id(field.source_id)
            {
                columns.insert(name.to_owned(), sorted);
            }
        }
        for (key, mode) in properties {
            if let Some(column) = key.strip_prefix("write.metadata.metrics.column.") {
                columns.insert(column.to_owned(), MetricsMode::parse(mode).unwrap_or(default));
            }
        }
        Self { default, columns }
    }

    /// Whole bounds of every column, as position-delete files have them (`MetricsConfig.forPositionDelete`):
    /// equal bounds of the path tell which data file the deletes are about.
    pub(crate) fn full() -> Self {
        Self {
            default: MetricsMode::Full,
            columns: HashMap::new(),
        }
    }

    /// The mode of a column, by its dotted name.
    pub(crate) fn mode(&self, column: &str) -> MetricsMode {
        self.columns.get(column).copied().unwrap_or(self.default)
    }
}

fn inferred_limit(properties: &HashMap<String, String>) -> usize {
    properties
        .get("write.metadata.metrics.max-inferred-column-defaults")
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(MAX_INFERRED_COLUMNS)
}

/// Wide tables keep metrics of their first columns only.
fn inferred_default(
    schema: &Schema,
    limit: usize,
    columns: &mut HashMap<String, MetricsMode>,
) -> MetricsMode {
    let mut first = FirstColumns {
        limit: usize::MAX,
        ids: Vec::new(),
    };
    first.fields(schema.as_struct());
    if first.ids.len() <= limit {
        return MetricsMode::DEFAULT;
    }
    let mut first = FirstColumns {
        limit,
        ids: Vec::new(),
    };
    first.fields(schema.as_struct());
    for id in first.ids {
        if let Some(name) = schema.name_by_field_id(id) {
            columns.insert(name.to_owned(), MetricsMode::DEFAULT);
        }
    }
    MetricsMode::None
}

/// The first primitive columns, each level's own before those nested in it (`MetricsConfig.limitFieldIds`).
struct FirstColumns {
    limit: usize,
    ids: Vec<i32>,
}

impl FirstColumns {
    fn add(&mut self, id: i32, field_type: &Type) {
        if field_type.is_primitive() && self.ids.len() < self.limit {
            self.ids.push(id);
        }
    }

    fn fields(&mut self, fields: &StructType) {
        for field in fields.fields() {
            self.add(field.id, &field.field_type);
        }
        for field in fields.fields() {
            self.nested(&field.field_type);
        }
    }

    fn nested(&mut self, field_type: &Type) {
        match field_type {
            Type::Primitive(_) => {}
            Type::Struct(fields) => self.fields(fields),
            Type::List(list) => {
                self.add(list.element_field.id, &list.element_field.field_type);
                self.nested(&list.element_field.field_type);
            }
            Type::Map(map) => {
                for field in [&map.key_field, &map.value_field] {
                    self.add(field.id, &field.field_type);
                }
                self.nested(&map.key_field.field_type);
                self.nested(&map.value_field.field_type);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{NestedField, PrimitiveType};

    use super::*;

    #[test]
    fn modes_by_name() {
        assert_eq!(MetricsMode::parse("Truncate(7)"), Some(MetricsMode::Truncate(7)));
        assert_eq!(MetricsMode::parse("FULL"), Some(MetricsMode::Full));
        assert_eq!(MetricsMode::parse("truncate(0)"), None);
        assert_eq!(MetricsMode::parse("some"), None);
    }

    #[test]
    fn a_wide_table_keeps_metrics_of_its_first_columns_level_by_level() {
        let int = || Type::Primitive(PrimitiveType::Int);
        let inner = StructType::new(vec![NestedField::optional(4, "x", int()).into()]);
        let schema = Schema::builder()
            .with_fields(vec![
                NestedField::optional(1, "s", Type::Struct(inner)).into(),
                NestedField::optional(2, "a", int()).into(),
                NestedField::optional(3, "b", int()).into(),
            ])
            .build()
            .unwrap();
        let mut columns = HashMap::new();
        assert_eq!(inferred_default(&schema, 2, &mut columns), MetricsMode::None);
        let mut names: Vec<_> = columns.into_keys().collect();
        names.sort();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(
            inferred_default(&schema, 3, &mut HashMap::new()),
            MetricsMode::DEFAULT
        );
    }
}
