//! The hash anti-join of data files with deleted keys that are on disk: it tells which rows of which file are
//! gone, so that afterwards such deletes are like deletes by position.
//!
//! Rows whose key may be deleted are set aside too, parted as the keys are; then each part is joined by itself.
//! Memory holds the keys of one part, and the rows found.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use roaring::RoaringTreemap;
use snowpack_plan::ScanFile;
use snowpack_service::ports::Supervisor;

use super::equality::{EqualityDeletes, KeySet};
use super::key_table::{KeyTable, key_hash};
use super::keys::Keys;
use super::spill::{PARTITIONS, Records, Sealed, Spill, SpillError, SpilledKeys};
use super::{Budget, CONCURRENT_FILES, DeleteReader};
use crate::error::EngineError;
use crate::file_error::FileError;
use crate::read::{KeyScan, from_parquet};
use crate::watch::watched;

/// Rows found to be deleted, by index of their file.
type Found = BTreeMap<usize, RoaringTreemap>;

/// Finds the rows that keys on disk delete.
///
/// # Errors
/// A data file cannot be read (named), the scratch space is too small, the rows found do not fit the budget, or
/// the supervisor says stop.
pub(super) async fn join<S: Supervisor>(
    reader: &DeleteReader,
    files: &[ScanFile],
    (deletes, keys): (&EqualityDeletes, &SpilledKeys),
    budget: &mut Budget,
    supervisor: &S,
) -> Result<Found, EngineError> {
    let rows = spill_rows(reader, files, (deletes, keys), supervisor).await?;
    let mut found = Found::new();
    let mut taken = 0;
    for partition in 0..PARTITIONS {
        supervisor.poll()?;
        let table = keys.load(partition)?;
        join_part(&table, rows.read(partition), files, &mut found)?;
        let bytes = found.values().map(|rows| rows.serialized_size() as u64).sum();
        if let Some((file, _)) = found.last_key_value() {
            budget.take(bytes - taken, files[*file].data.file.file_path())?;
        }
        taken = bytes;
    }
    Ok(found)
}

fn join_part(
    table: &KeyTable,
    mut rows: Records<'_, 2>,
    files: &[ScanFile],
    found: &mut Found,
) -> Result<(), SpillError> {
    while let Some(record) = rows.next()? {
        let [file, row] = record.numbers;
        let file = usize::try_from(file).expect("it was an index");
        let sequence_number = files[file].data.sequence_number;
        let deleted_at = table.newest(record.set, record.key);
        if deleted_at.is_some_and(|deleted_at| deleted_at > sequence_number) {
            found.entry(file).or_default().insert(row);
        }
    }
    Ok(())
}

/// Sets aside the rows that may be deleted, with their files and positions.
async fn spill_rows<S: Supervisor>(
    reader: &DeleteReader,
    files: &[ScanFile],
    (deletes, keys): (&EqualityDeletes, &SpilledKeys),
    supervisor: &S,
) -> Result<Sealed<2>, EngineError> {
    let spill = Mutex::new(Spill::create(reader.scratch_bytes)?);
    let with_sets = (0..files.len()).map(|index| (index, deletes.sets_of(&files[index])));
    let with_sets = with_sets.filter(|(_, sets)| !sets.is_empty());
    let scans = with_sets.map(|(index, sets)| {
        let suspects = Suspects {
            index,
            keys,
            spill: &spill,
        };
        suspects.of(reader, &files[index], sets)
    });
    let scans = futures::stream::iter(scans).buffer_unordered(CONCURRENT_FILES);
    watched(supervisor, scans.try_collect::<()>()).await??;
    Ok(spill
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .seal()?)
}

/// The rows of one data file that may be deleted.
struct Suspects<'a> {
    index: usize,
    keys: &'a SpilledKeys,
    spill: &'a Mutex<Spill<2>>,
}

impl Suspects<'_> {
    async fn of(
        self,
        reader: &DeleteReader,
        file: &ScanFile,
        sets: Vec<Arc<KeySet>>,
    ) -> Result<(), EngineError> {
        let path = file.data.file.file_path();
        let schema = |error| FileError::schema(path, error);
        let fields = sets.iter().map(|set| set.fields.as_slice());
        let mut scan = KeyScan::open(
            &reader.io,
            &reader.table,
            reader.name_mapping.as_ref(),
            &file.data,
            fields,
        )
        .await?;
        let columns = std::mem::take(&mut scan.columns);
        let keys = columns.into_iter().map(Keys::new).collect::<Result<Vec<_>, _>>();
        let mut keys = keys.map_err(schema)?;
        let mut first = 0;
        while let Some(batch) = scan.stream.try_next().await.map_err(|e| from_parquet(path, e))? {
            for (set, keys) in sets.iter().zip(&mut keys) {
                let rows = keys.of(&batch).map_err(schema)?;
                self.set_aside(set.number, rows.iter().map(|row| row.data()), first)?;
            }
            first += batch.num_rows() as u64;
        }
        Ok(())
    }

    fn set_aside<'k>(
        &self,
        set: u32,
        keys: impl Iterator<Item = &'k [u8]>,
        first: u64,
    ) -> Result<(), SpillError> {
        let mut spill = self.spill.lock().unwrap_or_else(PoisonError::into_inner);
        for (row, key) in (first..).zip(keys) {
            let hash = key_hash(set, key);
            if self.keys.may_have(hash) {
                spill.push(hash, set, key, [self.index as u64, row])?;
            }
        }
        Ok(())
    }
}
