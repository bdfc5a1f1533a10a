//! First row ids that data files inherit (specification, First Row ID Inheritance; format version 3).

use iceberg::spec::{ManifestEntry, ManifestFile};

use crate::data_file::to_builder;

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
        entry.data_file = to_builder(&entry.data_file)
            .partition_spec_id(manifest.partition_spec_id)
            .first_row_id(Some(next))
            .build()
            .expect("every required field is set");
        let rows = i64::try_from(entry.record_count()).map_err(|_| too_large())?;
        next = next.checked_add(rows).ok_or_else(too_large)?;
    }
    Ok(())
}
