//! Why an action of the engine could not finish, and whether another attempt may help.

use std::any::Any;

use datafusion_common::DataFusionError;
use snowpack_catalog::CatalogError;
use snowpack_domain::{Action, OptionError, TableId};
use snowpack_manifest::ManifestError;
use snowpack_plan::{ExpiryError, PlanError};
use snowpack_service::ports::ActionStop;

use crate::deletes::SpillError;
use crate::file_error::FileError;
use crate::orphans::OrphanError;
use crate::read::panic_text;
use crate::verify::Checksum;

/// Why an action stopped. Every message names the table, file or option.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The supervisor said stop: fence lost, out of time, or its store failed.
    #[error("stopped by the supervisor")]
    Stopped(ActionStop),
    /// The catalog could not answer.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// An option or a property standing in for one cannot be used.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The table could not be planned, or is not supported.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The expiry asked for is not possible.
    #[error(transparent)]
    Expiry(#[from] ExpiryError),
    /// Orphans could not be told apart safely.
    #[error(transparent)]
    Orphans(#[from] OrphanError),
    /// The table was dropped and created anew while the action ran.
    #[error("table {0} was dropped and created again while it was being maintained; submit the job again")]
    TableReplaced(String),
    /// Other writers kept winning.
    #[error("table {table}: gave up after {attempts} commits lost to other writers; last: {last}")]
    Contended {
        /// The table.
        table: String,
        /// Compare-and-sets tried.
        attempts: u32,
        /// What the catalog said last.
        last: String,
    },
    /// The catalog did not say whether it applied a commit, and reading back did not tell either.
    #[error("table {table}: it is unknown whether a commit was applied ({cause}); no file was deleted")]
    Unknown {
        /// The table.
        table: String,
        /// What the catalog said.
        cause: String,
    },
    /// A rewrite would lose or invent rows: a bug, or files that do not hold what their manifests say.
    #[error(
        "table {table}: {what} read {rows_in} rows, of which {rows_deleted} are deleted, but \
         wrote {rows_out}; nothing of it was committed"
    )]
    RowCount {
        /// The table.
        table: String,
        /// The file group, or the commit as a whole.
        what: String,
        /// Rows in the manifests of the files read.
        rows_in: u64,
        /// Rows that deletes removed.
        rows_deleted: u64,
        /// Rows in the manifests-to-be of the files written.
        rows_out: u64,
    },
    /// What was written, read back, is not what was read: a bug, or a storage that does not keep what it is given.
    #[error(
        "table {table}: {what} read rows with the checksum {read}, but the files it wrote hold rows with the \
         checksum {written}; nothing of it was committed"
    )]
    Content {
        /// The table.
        table: String,
        /// The file group.
        what: String,
        /// The sum over the live rows of the files read.
        read: Checksum,
        /// The sum over the rows of the files written.
        written: Checksum,
    },
    /// A rewrite of manifests would lose or invent files: a bug.
    #[error(
        "table {table}: {read} live entries were read from manifests, but {written} were written; nothing \
         was committed"
    )]
    EntryCount {
        /// The table.
        table: String,
        /// Live entries of the manifests read.
        read: u64,
        /// Entries of the manifests written.
        written: u64,
    },
    /// What was committed is done, and what follows from it is not.
    #[error("{done}; then: {cause}")]
    Unfinished {
        /// What was done, in words.
        done: String,
        /// What came between.
        cause: Box<EngineError>,
    },
    /// A whole slice of the job went by without one commit.
    #[error(
        "table {table}: no file group was committed in the time given; lower \
         {action}.max-file-group-size-bytes, turn {action}.partial-progress.enabled on, or give more time"
    )]
    TooSlow {
        /// The table.
        table: String,
        /// The action.
        action: Action,
    },
    /// Rows could not be sorted.
    #[error(
        "rows could not be sorted: {0}; lower rewrite_data_files.max-file-group-size-bytes if memory or disk is short"
    )]
    Sort(#[from] DataFusionError),
    /// Deletes that do not fit memory could not be set aside.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// An assertion of the engine failed: a bug.
    #[error("table {table}: the engine failed an assertion ({reason}); what it had committed before stays")]
    Panicked {
        /// The table.
        table: String,
        /// What the assertion said.
        reason: String,
    },
    /// A task of this process ended without an answer.
    #[error("a task of the engine ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl From<ManifestError> for EngineError {
    fn from(error: ManifestError) -> Self {
        Self::File(error.into())
    }
}

impl From<ActionStop> for EngineError {
    fn from(stop: ActionStop) -> Self {
        Self::Stopped(stop)
    }
}

impl EngineError {
    /// The error of an action that panicked.
    pub(crate) fn panicked(table: &TableId, panic: &(dyn Any + Send)) -> Self {
        Self::Panicked {
            table: table.to_string(),
            reason: panic_text(panic).to_owned(),
        }
    }

    /// Whether the cause may pass by itself.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Catalog(error) => error.is_transient(),
            Self::File(error) => error.is_transient(),
            Self::Plan(error) => error.is_transient(),
            Self::Orphans(error) => error.is_transient(),
            Self::Unfinished { cause, .. } => cause.is_transient(),
            Self::Contended { .. } | Self::Unknown { .. } | Self::TooSlow { .. } => true,
            _ => false,
        }
    }

    /// As the port reports it.
    pub(crate) fn into_stop(self) -> ActionStop {
        match self {
            Self::Stopped(stop) => stop,
            error => ActionStop::Failed {
                retry: error.is_transient(),
                cause: error.to_string(),
            },
        }
    }
}
