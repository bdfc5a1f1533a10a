//! Counts what a table holds and hashes its rows, reading through the `iceberg` crate's own scan: a reader
//! that shares nothing with the engine.

use arrow_array::RecordBatch;
use arrow_row::{RowConverter, SortField};
use futures::TryStreamExt as _;
use iceberg::spec::{DataContentType, ManifestStatus};
use iceberg::table::Table;
use snowpack_catalog::LoadedTable;

/// A table at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) data_files: u64,
    pub(super) delete_files: u64,
    pub(super) bytes: u64,
    pub(super) snapshots: u64,
    pub(super) rows: u64,
    /// Sum over all rows of a hash of the row: the same for the same rows in any order.
    pub(super) checksum: u64,
}

/// Reads the table's current snapshot.
pub(super) async fn take(loaded: &LoadedTable) -> anyhow::Result<Census> {
    let mut census = Census {
        snapshots: loaded.metadata.snapshots().len() as u64,
        ..Census::default()
    };
    count_files(loaded, &mut census).await?;
    let table = Table::builder()
        .file_io(loaded.io.clone())
        .metadata(loaded.metadata.clone())
        .metadata_location(loaded.metadata_location.clone())
        .identifier(iceberg::TableIdent::from_strs([
            loaded.id.database.as_str(),
            loaded.id.table.as_str(),
        ])?)
        .runtime(iceberg::Runtime::current())
        .build()?;
    let mut batches = table.scan().select_all().build()?.to_arrow().await?;
    while let Some(batch) = batches.try_next().await? {
        hash_rows(&batch, &mut census)?;
    }
    Ok(census)
}

async fn count_files(loaded: &LoadedTable, census: &mut Census) -> anyhow::Result<()> {
    let Some(snapshot) = loaded.metadata.current_snapshot() else {
        return Ok(());
    };
    let bytes = loaded.io.new_input(snapshot.manifest_list())?.read().await?;
    let list = iceberg::spec::ManifestList::parse_with_version(&bytes, loaded.metadata.format_version())?;
    for manifest in list.entries() {
        for entry in manifest.load_manifest(&loaded.io).await?.entries() {
            if entry.status() == ManifestStatus::Deleted {
                continue;
            }
            census.bytes += entry.file_size_in_bytes();
            match entry.content_type() {
                DataContentType::Data => census.data_files += 1,
                _ => census.delete_files += 1,
            }
        }
    }
    Ok(())
}

fn hash_rows(batch: &RecordBatch, census: &mut Census) -> anyhow::Result<()> {
    let fields = batch
        .columns()
        .iter()
        .map(|column| SortField::new(column.data_type().clone()))
        .collect();
    let rows = RowConverter::new(fields)?.convert_columns(batch.columns())?;
    census.rows += batch.num_rows() as u64;
    for row in &rows {
        census.checksum = census.checksum.wrapping_add(fnv1a(row.as_ref()));
    }
    Ok(())
}

/// 64-bit FNV-1a (Fowler, Noll and Vo).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
