//! The table that `infra/template.yaml` deploys is the one the store's code asks for.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{GlobalSecondaryIndex, KeySchemaElement, Projection};
use snowpack_aws::table_definition;

/// What the template says about the table.
fn deployed() -> &'static str {
    let template = include_str!("../../../infra/template.yaml");
    let (_, table) = template
        .split_once("\n  StateTable:\n")
        .expect("the template has a StateTable");
    table.split("\n\n").next().unwrap_or(table)
}

#[test]
fn keys_and_their_types_agree() {
    let definition = table_definition("any");
    let attributes = definition
        .get_attribute_definitions()
        .as_deref()
        .unwrap_or_default();
    let coded: BTreeSet<_> = attributes
        .iter()
        .map(|attribute| {
            let (name, kind) = (attribute.attribute_name(), attribute.attribute_type().as_str());
            format!("- {{ AttributeName: {name}, AttributeType: {kind} }}")
        })
        .collect();
    let lines = deployed().lines().map(str::trim);
    let templated: BTreeSet<_> = lines
        .filter(|line| line.contains("AttributeType"))
        .map(str::to_owned)
        .collect();
    assert_eq!(coded, templated);

    for key in definition.get_key_schema().as_deref().unwrap_or_default() {
        assert!(
            deployed().contains(&format!("        - {}\n", key_element(key))),
            "{key:?}"
        );
    }
}

#[test]
fn indexes_agree() {
    let definition = table_definition("any");
    let indexes = definition
        .get_global_secondary_indexes()
        .as_deref()
        .unwrap_or_default();
    assert_eq!(indexes.len(), deployed().matches("IndexName:").count());
    for index in indexes {
        let written = written_index(index);
        assert!(
            deployed().contains(&written),
            "infra/template.yaml lacks\n{written}"
        );
    }
}

/// An index as the template writes it.
fn written_index(index: &GlobalSecondaryIndex) -> String {
    let keys: Vec<_> = index.key_schema().iter().map(key_element).collect();
    let projection = index.projection().map(written_projection).unwrap_or_default();
    let name = index.index_name();
    let keys = keys.join(", ");
    format!("- IndexName: {name}\n          KeySchema: [{keys}]\n          Projection: {projection}\n")
}

fn key_element(key: &KeySchemaElement) -> String {
    let (name, kind) = (key.attribute_name(), key.key_type().as_str());
    format!("{{ AttributeName: {name}, KeyType: {kind} }}")
}

fn written_projection(projection: &Projection) -> String {
    let kind = projection.projection_type().map_or("", |kind| kind.as_str());
    match projection.non_key_attributes() {
        [] => format!("{{ ProjectionType: {kind} }}"),
        members => format!(
            "{{ ProjectionType: {kind}, NonKeyAttributes: [{}] }}",
            members.join(", ")
        ),
    }
}
