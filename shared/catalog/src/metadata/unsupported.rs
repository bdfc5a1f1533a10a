//! What schemas of version 3 may have that this version of `iceberg` cannot name, or drops without a word.

use iceberg::spec::{Literal, TableMetadata};
use serde_json::Value;

/// Types of version 3 that this version of `iceberg` cannot name.
const UNSUPPORTED_TYPES: [&str; 4] = ["unknown", "variant", "geometry", "geography"];
/// Members of schemas that hold types, or fields.
const TYPE_MEMBERS: [&str; 5] = ["type", "fields", "element", "key", "value"];

/// The first field, at any depth, of a type that `iceberg` does not know, with its type. Elements of lists and maps
/// go by the name of the field `around` them.
pub(super) fn column<'a>(schema: &'a Value, around: &'a str) -> Option<(&'a str, &'a str)> {
    match schema {
        Value::Object(members) => {
            let name = members.get("name").and_then(Value::as_str).unwrap_or(around);
            let mut types = TYPE_MEMBERS.iter().filter_map(|member| members.get(*member));
            types.find_map(|kind| match kind {
                Value::String(kind) => is_unsupported(kind).then_some((name, kind.as_str())),
                nested => column(nested, name),
            })
        }
        Value::Array(elements) => elements.iter().find_map(|element| column(element, around)),
        _ => None,
    }
}

fn is_unsupported(kind: &str) -> bool {
    let name = kind.split('(').next().unwrap_or(kind);
    UNSUPPORTED_TYPES.contains(&name.trim())
}

/// The first column with an initial default that is not in the parsed metadata: such are defaults of nanosecond
/// timestamps, and of nested types. Without it rows would silently get null.
pub(super) fn lost_default<'a>(raw: &'a Value, metadata: &TableMetadata) -> Option<&'a str> {
    let schemas = raw.get("schemas")?.as_array()?;
    schemas.iter().find_map(|schema| {
        let id = i32::try_from(schema.get("schema-id")?.as_i64()?).ok()?;
        let parsed = metadata.schema_by_id(id)?;
        let is_kept = |id: i32| {
            let field = parsed.field_by_id(id);
            field.is_some_and(|field| matches!(field.initial_default, Some(Literal::Primitive(_))))
        };
        field_with_default(schema, &|id| !is_kept(id))
    })
}

/// The first field, at any depth, that has an initial default and is `wanted`.
fn field_with_default<'a>(schema: &'a Value, wanted: &impl Fn(i32) -> bool) -> Option<&'a str> {
    match schema {
        Value::Object(members) => {
            let id = members.get("id").and_then(Value::as_i64);
            let has_default = members
                .get("initial-default")
                .is_some_and(|value| !value.is_null());
            match id.and_then(|id| i32::try_from(id).ok()) {
                Some(id) if has_default && wanted(id) => members.get("name")?.as_str(),
                _ => {
                    let mut parts = TYPE_MEMBERS.iter().filter_map(|member| members.get(*member));
                    parts.find_map(|part| field_with_default(part, wanted))
                }
            }
        }
        Value::Array(elements) => elements
            .iter()
            .find_map(|element| field_with_default(element, wanted)),
        _ => None,
    }
}
