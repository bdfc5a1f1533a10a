//! Row-level deletes of one file group: loaded once, asked for every batch.
//!
//! Which delete files apply to a data file is the planner's decision (`ScanFile`); here they are only read and
//! applied. Memory is bounded by a budget in bytes.

mod equality;
mod filter;
mod position;
pub(crate) mod vector;

use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{NestedFieldRef, TableMetadata};
use roaring::RoaringTreemap;
use snowpack_plan::ScanFile;
use snowpack_service::ports::Supervisor;

use crate::error::EngineError;
use crate::file_error::FileError;

pub(crate) use equality::{EqualityDeletes, one_nan};
pub(crate) use filter::RowFilter;
pub(crate) use position::{FILE_PATH, POS, column};

/// Memory the deletes of one group may take, in bytes; what does not fit fails the group with a clear error
/// instead of the process.
pub(crate) const DELETE_BUDGET_BYTES: u64 = 256 * 1024 * 1024;

/// The deletes of a group's data files.
pub(crate) struct GroupDeletes {
    /// Deleted positions, by index of the data file in the group.
    positions: Vec<Arc<RoaringTreemap>>,
    equality: EqualityDeletes,
}

impl GroupDeletes {
    /// Reads every delete file that applies to a file of the group, once.
    ///
    /// # Errors
    /// A delete file cannot be read (named), the budget is exceeded, or the supervisor says stop.
    pub(crate) async fn load<S: Supervisor>(
        io: &FileIO,
        table: &TableMetadata,
        files: &[ScanFile],
        budget_bytes: u64,
        supervisor: &S,
    ) -> Result<Self, EngineError> {
        let mut budget = Budget::new(budget_bytes);
        let positions = position::load(io, files, &mut budget, supervisor).await?;
        let equality = EqualityDeletes::load(io, table, files, &mut budget, supervisor).await?;
        Ok(Self {
            positions: positions.into_iter().map(Arc::new).collect(),
            equality,
        })
    }

    /// The deleted positions of one data file of the group.
    pub(crate) fn positions(&self, file: usize) -> Arc<RoaringTreemap> {
        Arc::clone(&self.positions[file])
    }

    /// The equality deletes of the group.
    pub(crate) fn equality(&self) -> &EqualityDeletes {
        &self.equality
    }
}

/// Memory taken and allowed, in bytes.
pub(crate) struct Budget {
    limit_bytes: u64,
    used_bytes: u64,
}

impl Budget {
    /// A budget of which nothing is taken yet.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            used_bytes: 0,
        }
    }

    /// Takes memory for what is read from a delete file.
    ///
    /// # Errors
    /// [`FileError::Budget`] naming the file when there is not so much left.
    pub(crate) fn take(&mut self, bytes: u64, path: &str) -> Result<(), FileError> {
        self.used_bytes += bytes;
        if self.used_bytes > self.limit_bytes {
            return Err(FileError::Budget {
                path: path.to_owned(),
                budget_bytes: self.limit_bytes,
            });
        }
        Ok(())
    }
}

/// A column by id: of the current schema, else of the newest schema that has it, since equality deletes on a
/// dropped column still hold.
fn field_of_any_schema(table: &TableMetadata, id: i32) -> Option<NestedFieldRef> {
    if let Some(field) = table.current_schema().field_by_id(id) {
        return Some(Arc::clone(field));
    }
    table
        .schemas_iter()
        .filter(|schema| schema.field_by_id(id).is_some())
        .max_by_key(|schema| schema.schema_id())
        .and_then(|schema| schema.field_by_id(id).cloned())
}
