//! First row ids that data files inherit (specification, First Row ID Inheritance; format version 3).

use iceberg::spec::{DataFile, DataFileBuilder, ManifestEntry, ManifestFile};

/// Gives each live entry without a first row id the next one of its manifest. A manifest that has none, because
/// it is older than the table's version 3 or not committed yet, gives none.
pub(crate) fn inherit_first_row_ids(
    entries: &mut [ManifestEntry],
    manifest: &ManifestFile,
) -> Result<(), String> {
    let Some(first) = manifest.first_row_id else {
        return Ok(());
    };
    let too_large = || format!("its first row id {first} is too large for its rows");
    let mut next = i64::try_from(first).map_err(|_| too_large())?;
    let lacking = entries
        .iter_mut()
        .filter(|entry| entry.is_alive() && entry.data_file.first_row_id().is_none());
    for entry in lacking {
        entry.data_file = with_first_row_id(&entry.data_file, manifest.partition_spec_id, next);
        let rows = i64::try_from(entry.record_count()).map_err(|_| too_large())?;
        next = next.checked_add(rows).ok_or_else(too_large)?;
    }
    Ok(())
}

fn with_first_row_id(file: &DataFile, spec_id: i32, first_row_id: i64) -> DataFile {
    let mut copy = DataFileBuilder::default();
    copy.content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .partition_spec_id(spec_id)
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .first_row_id(Some(first_row_id));
    if let Some(order) = file.sort_order_id() {
        copy.sort_order_id(order);
    }
    copy.build().expect("every required field is set")
}
