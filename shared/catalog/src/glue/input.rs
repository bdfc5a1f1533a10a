//! The `TableInput` of a commit: the Glue table as it is, pointing at new metadata.

use std::collections::HashMap;

use aws_sdk_glue::types::{Table, TableInput};

use crate::metadata::Staged;
use crate::port::CatalogError;

/// Parameter with the location of the current metadata (`BaseMetastoreTableOperations`).
pub(super) const METADATA_LOCATION: &str = "metadata_location";
const PREVIOUS_METADATA_LOCATION: &str = "previous_metadata_location";
const TABLE_TYPE: &str = "table_type";
const ICEBERG: &str = "ICEBERG";
/// Glue's kind of a table whose files it does not manage (`GLUE_EXTERNAL_TABLE_TYPE`).
const EXTERNAL_TABLE: &str = "EXTERNAL_TABLE";

/// Whether Glue holds this table for Iceberg.
pub(super) fn is_iceberg(table: &Table) -> bool {
    let kind = table
        .parameters()
        .and_then(|parameters| parameters.get(TABLE_TYPE));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(ICEBERG))
}

/// Everything of `found`, with the parameters of a commit (`prepareProperties`).
///
/// `UpdateTable` replaces the table whole, so what is left out is lost. Columns are kept as they are: they are
/// for people to look at, and maintenance never changes a schema.
pub(super) fn table_input(found: Table, staged: &Staged, previous: &str) -> Result<TableInput, CatalogError> {
    let name = found.name;
    let mut descriptor = found.storage_descriptor;
    if let Some(descriptor) = &mut descriptor {
        descriptor.location = Some(staged.metadata().location().to_owned());
    }
    TableInput::builder()
        .name(&name)
        .set_description(found.description)
        .set_owner(found.owner)
        .set_last_access_time(found.last_access_time)
        .set_last_analyzed_time(found.last_analyzed_time)
        .retention(found.retention)
        .set_storage_descriptor(descriptor)
        .set_partition_keys(found.partition_keys)
        .set_view_original_text(found.view_original_text)
        .set_view_expanded_text(found.view_expanded_text)
        .table_type(EXTERNAL_TABLE)
        .set_parameters(Some(parameters(
            found.parameters.unwrap_or_default(),
            staged.location(),
            previous,
        )))
        .set_target_table(found.target_table)
        .build()
        .map_err(|error| CatalogError::Rejected(format!("the Glue table {name} cannot be updated: {error}")))
}

fn parameters(mut all: HashMap<String, String>, location: &str, previous: &str) -> HashMap<String, String> {
    let ours = [
        (TABLE_TYPE, ICEBERG),
        (METADATA_LOCATION, location),
        (PREVIOUS_METADATA_LOCATION, previous),
    ];
    all.extend(ours.map(|(name, value)| (name.to_owned(), value.to_owned())));
    all
}
