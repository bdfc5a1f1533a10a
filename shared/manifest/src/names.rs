//! Names of partition fields in a manifest's header.
//!
//! A partition field may have any name, and Avro allows few. Java escapes the others
//! (`AvroSchemaUtil.makeCompatibleName`) and finds fields by id. `iceberg` 0.10 finds them by name, takes those
//! it does not find for null, and refuses a dropped field of v1 that still has its column's name. So while
//! `iceberg` reads or writes, the fields are called after their ids, and the header says the real names to
//! everyone else.

use iceberg::spec::PartitionSpec;
use serde_json::{Value, json};

use crate::container::Container;

/// Header keys (specification, Manifests).
const AVRO_SCHEMA: &str = "avro.schema";
const PARTITION_SPEC: &str = "partition-spec";
const PARTITION_SPEC_ID: &str = "partition-spec-id";
/// The first id of a partition field, from which v1 counts where it left ids out.
const FIRST_PARTITION_FIELD_ID: i64 = 1000;

/// A manifest that `iceberg` can read, and the spec its header tells.
#[derive(Debug)]
pub(crate) struct Readable {
    pub(crate) bytes: Vec<u8>,
    pub(crate) spec: PartitionSpec,
}

/// Calls the partition fields of a manifest after their ids.
///
/// # Errors
/// What is wrong with the header, in one sentence.
pub(crate) fn readable(manifest: &[u8]) -> Result<Readable, String> {
    let mut container = Container::parse(manifest)?;
    let mut fields = spec_fields(&container)?;
    let spec = spec_of(&container, &fields)?;
    let mut schema = json_value(&container, AVRO_SCHEMA)?;
    rename_columns(&mut schema, &fields, |id, _| stand_in(id))?;
    for field in &mut fields {
        field["name"] = stand_in(id_of(field)?).into();
    }
    container.set(AVRO_SCHEMA, schema.to_string().into_bytes());
    container.set(PARTITION_SPEC, Value::from(fields).to_string().into_bytes());
    Ok(Readable {
        bytes: container.into_plain()?,
        spec,
    })
}

/// The spec under the names that [`readable`] gives.
pub(crate) fn stand_in_spec(spec: &PartitionSpec) -> PartitionSpec {
    let mut fields: Vec<_> = fields_json(spec);
    for (json, field) in fields.iter_mut().zip(spec.fields()) {
        json["name"] = stand_in(field.field_id.into()).into();
    }
    parse_spec(spec.spec_id().into(), &fields).expect("only names differ from a spec there is")
}

/// Puts the real names of `spec` into a manifest written with [`stand_in_spec`], and compresses it.
///
/// # Errors
/// What is wrong with the manifest, in one sentence.
pub(crate) fn finished(manifest: &[u8], spec: &PartitionSpec) -> Result<Vec<u8>, String> {
    let mut container = Container::parse(manifest)?;
    let fields = fields_json(spec);
    let mut schema = json_value(&container, AVRO_SCHEMA)?;
    rename_columns(&mut schema, &fields, |_, name| avro_name(name))?;
    container.set(AVRO_SCHEMA, schema.to_string().into_bytes());
    container.set(PARTITION_SPEC, Value::from(fields).to_string().into_bytes());
    container.into_compressed()
}

/// A name that Avro allows and no column has.
fn stand_in(field_id: i64) -> String {
    format!("_partition_field_{field_id}")
}

/// The name as Java writes it: characters that Avro does not allow become `_x` and their code, a leading digit
/// gets an underscore.
fn avro_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (index, unit) in name.encode_utf16().enumerate() {
        match char::from_u32(unit.into()).filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            Some(digit) if index == 0 && digit.is_ascii_digit() => out.extend(['_', digit]),
            Some(allowed) => out.push(allowed),
            None => out.push_str(&format!("_x{unit:X}")),
        }
    }
    out
}

/// The spec's fields as the header has them, with the ids that old v1 manifests leave out.
fn spec_fields(container: &Container<'_>) -> Result<Vec<Value>, String> {
    let Value::Array(mut fields) = json_value(container, PARTITION_SPEC)? else {
        return Err(format!("{PARTITION_SPEC} in its header is not a list"));
    };
    for (id, field) in (FIRST_PARTITION_FIELD_ID..).zip(&mut fields) {
        let Value::Object(field) = field else {
            return Err(format!(
                "{PARTITION_SPEC} in its header lists something that is no field"
            ));
        };
        field.entry("field-id").or_insert_with(|| id.into());
    }
    Ok(fields)
}

fn spec_of(container: &Container<'_>, fields: &[Value]) -> Result<PartitionSpec, String> {
    let id = match container.get(PARTITION_SPEC_ID) {
        Some(id) => serde_json::from_slice(id)
            .map_err(|error| format!("{PARTITION_SPEC_ID} in its header is not a number: {error}"))?,
        None => 0,
    };
    parse_spec(id, fields)
}

/// Unlike `PartitionSpec::builder` this takes every spec that a table's metadata may have.
fn parse_spec(id: i64, fields: &[Value]) -> Result<PartitionSpec, String> {
    serde_json::from_value(json!({"spec-id": id, "fields": fields}))
        .map_err(|error| format!("{PARTITION_SPEC} in its header is not valid: {error}"))
}

fn fields_json(spec: &PartitionSpec) -> Vec<Value> {
    let fields = spec.fields().iter().map(serde_json::to_value);
    fields
        .collect::<Result<_, _>>()
        .expect("a partition field is plain JSON")
}

/// Renames the columns of the Avro schema that hold partition values. They are found by field id, and by
/// their place where a writer left the ids out.
fn rename_columns(
    schema: &mut Value,
    fields: &[Value],
    name: impl Fn(i64, &str) -> String,
) -> Result<(), String> {
    let partition = record_fields(schema)
        .and_then(|entry| type_of(entry, "data_file"))
        .and_then(record_fields)
        .and_then(|file| type_of(file, "partition"))
        .and_then(record_fields)
        .ok_or("its Avro schema has no record data_file.partition")?;
    for (place, field) in fields.iter().enumerate() {
        let id = id_of(field)?;
        let by_id = partition.iter().position(|column| column["field-id"] == id);
        let by_place = partition
            .get(place)
            .is_some_and(|column| column["field-id"].is_null())
            .then_some(place);
        let column = by_id
            .or(by_place)
            .ok_or_else(|| format!("its Avro schema has no partition field {id}"))?;
        let real = field["name"].as_str().unwrap_or_default();
        partition[column]["name"] = name(id, real).into();
    }
    Ok(())
}

fn record_fields(record: &mut Value) -> Option<&mut Vec<Value>> {
    record.get_mut("fields")?.as_array_mut()
}

fn type_of<'a>(fields: &'a mut [Value], name: &str) -> Option<&'a mut Value> {
    fields
        .iter_mut()
        .find(|field| field["name"] == name)?
        .get_mut("type")
}

fn id_of(field: &Value) -> Result<i64, String> {
    field["field-id"]
        .as_i64()
        .ok_or_else(|| format!("{PARTITION_SPEC} in its header has a field whose id is not a number"))
}

fn json_value(container: &Container<'_>, key: &str) -> Result<Value, String> {
    let value = container
        .get(key)
        .ok_or_else(|| format!("it has no {key} in its header"))?;
    serde_json::from_slice(value).map_err(|error| format!("{key} in its header is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_java_does() {
        assert_eq!(avro_name("the key"), "the_x20key");
        assert_eq!(avro_name("9lives"), "_9lives");
        assert_eq!(avro_name("a9_B"), "a9_B");
        assert_eq!(avro_name("-x"), "_x2Dx");
        assert_eq!(avro_name("\u{1F600}"), "_xD83D_xDE00");
    }
}
