//! Refuses, before anything is written, tables and options this engine would get wrong.

use iceberg::spec::{DataContentType, DataFileFormat, Transform};
use snowpack_catalog::LoadedTable;
use snowpack_domain::{Compaction, PositionDeleteCompaction};

use crate::arrangement::Arrangement;
use crate::error::PlanError;
use crate::filter::FileFilter;
use crate::state::TableState;
use crate::types::LiveFile;

/// Set on encrypted tables (`TableProperties.ENCRYPTION_TABLE_KEY`).
const ENCRYPTION_KEY_PROPERTY: &str = "encryption.key-id";

/// Checks what the metadata tells of a table, for every action. Types and transforms that `iceberg` has no
/// name for (variant, geometry) never get here: the metadata file does not load.
///
/// # Errors
/// [`PlanError::Unsupported`] for encryption, and unknown partition or sort transforms.
pub fn check_metadata(table: &LoadedTable) -> Result<(), PlanError> {
    let metadata = &table.metadata;
    let has_keys = metadata.encryption_keys_iter().next().is_some();
    if has_keys || metadata.properties().contains_key(ENCRYPTION_KEY_PROPERTY) {
        return Err(unsupported(
            table,
            format!("it is encrypted ({ENCRYPTION_KEY_PROPERTY})"),
        ));
    }
    for spec in metadata.partition_specs_iter() {
        if let Some(field) = spec
            .fields()
            .iter()
            .find(|field| field.transform == Transform::Unknown)
        {
            let reason = format!(
                "partition field {} of spec {} has an unknown transform",
                field.name,
                spec.spec_id()
            );
            return Err(unsupported(table, reason));
        }
    }
    let order = metadata.default_sort_order();
    if order
        .fields
        .iter()
        .any(|field| field.transform == Transform::Unknown)
    {
        return Err(unsupported(
            table,
            format!("sort order {} has an unknown transform", order.order_id),
        ));
    }
    Ok(())
}

/// Checks the live files, for actions that read them.
///
/// # Errors
/// [`PlanError::Unsupported`] naming the first file that is not Parquet or is encrypted.
pub fn check_files(table: &LoadedTable, state: &TableState) -> Result<(), PlanError> {
    let mut files = state.data.iter().chain(&state.deletes);
    files.try_for_each(|live| check_file(table, live))
}

/// Checks the live position-delete files, for the action that reads nothing else.
///
/// # Errors
/// As [`check_files`].
pub(crate) fn check_position_delete_files(table: &LoadedTable, state: &TableState) -> Result<(), PlanError> {
    let is_read =
        |live: &&std::sync::Arc<LiveFile>| live.file.content_type() == DataContentType::PositionDeletes;
    let mut files = state.deletes.iter().filter(is_read);
    files.try_for_each(|live| check_file(table, live))
}

fn check_file(table: &LoadedTable, live: &LiveFile) -> Result<(), PlanError> {
    let file = &live.file;
    let is_vector = file.file_format() == DataFileFormat::Puffin && file.content_offset().is_some();
    if file.file_format() != DataFileFormat::Parquet && !is_vector {
        let reason = format!(
            "{} is an {} file, and only Parquet is supported",
            file.file_path(),
            file.file_format()
        );
        return Err(unsupported(table, reason));
    }
    if file.key_metadata().is_some() {
        return Err(unsupported(table, format!("{} is encrypted", file.file_path())));
    }
    Ok(())
}

/// Checks options of rewrite_position_delete_files.
///
/// # Errors
/// [`PlanError::Option`] for filters that cannot be used.
pub fn check_position_delete_settings(
    table: &LoadedTable,
    settings: &PositionDeleteCompaction,
) -> Result<(), PlanError> {
    check_filter(table, settings.filter.as_deref())
}

fn check_filter(table: &LoadedTable, filter: Option<&str>) -> Result<(), PlanError> {
    let resolved = filter.map(|text| FileFilter::resolve(text, &table.metadata));
    match resolved.transpose() {
        Ok(_) => Ok(()),
        Err(reason) => Err(PlanError::Option {
            table: table.id.to_string(),
            option: "where",
            reason,
        }),
    }
}

/// Checks options of rewrite_data_files against the table.
///
/// # Errors
/// [`PlanError::Option`] for orders that the table cannot be sorted in, filters that cannot be used, and an
/// unknown output spec.
pub fn check_settings(table: &LoadedTable, settings: &Compaction) -> Result<(), PlanError> {
    let refuse = |option, reason| {
        let table = table.id.to_string();
        Err(PlanError::Option {
            table,
            option,
            reason,
        })
    };
    if let Err((option, reason)) = Arrangement::resolve(settings, &table.metadata) {
        return refuse(option, reason);
    }
    check_filter(table, settings.filter.as_deref())?;
    match settings.output_spec_id {
        Some(id) if table.metadata.partition_spec_by_id(id).is_none() => {
            refuse("output-spec-id", format!("the table has no partition spec {id}"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn unsupported(table: &LoadedTable, reason: String) -> PlanError {
    PlanError::Unsupported {
        table: table.id.to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests;
