//! Why a table could not be planned; tells a cause that may pass from one that will not.

use iceberg::ErrorKind;
use snowpack_catalog::CatalogError;

/// Why a table could not be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The catalog did not give the table.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A metadata file could not be read just now.
    #[error("{table}: {what} {location} cannot be read now: {reason}")]
    Unavailable {
        /// The table.
        table: String,
        /// `manifest` or `manifest list`.
        what: &'static str,
        /// The file, as the table spells it.
        location: String,
        /// What the storage said.
        reason: String,
    },
    /// A metadata file is missing, cut short or not what it should be.
    #[error("{table}: {what} {location} is damaged or missing: {reason}")]
    Damaged {
        /// The table.
        table: String,
        /// `manifest` or `manifest list`.
        what: &'static str,
        /// The file, as the table spells it.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The table has, or the options ask for, something this engine does not do.
    #[error("{table} cannot be maintained: {reason}")]
    Unsupported {
        /// The table.
        table: String,
        /// What it is, and what to do.
        reason: String,
    },
    /// An option names something the table does not have.
    #[error("{table}: option {option}: {reason}")]
    Option {
        /// The table.
        table: String,
        /// The option.
        option: &'static str,
        /// What is wrong with it, and what to do.
        reason: String,
    },
}

impl PlanError {
    /// Whether the cause may pass by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Catalog(error) => error.is_transient(),
            Self::Unavailable { .. } => true,
            Self::Damaged { .. } | Self::Unsupported { .. } | Self::Option { .. } => false,
        }
    }
}

/// A metadata file of a table, for errors about it.
#[derive(Clone, Debug)]
pub(crate) struct MetadataFile {
    pub(crate) table: String,
    pub(crate) what: &'static str,
    pub(crate) location: String,
}

impl MetadataFile {
    /// The storage could not give it: missing files will not come back, anything else may pass.
    pub(crate) fn unreadable(&self, error: &iceberg::Error) -> PlanError {
        let permanent = snowpack_catalog::is_not_found(error)
            || matches!(
                error.kind(),
                ErrorKind::DataInvalid | ErrorKind::FeatureUnsupported
            );
        if permanent && !error.retryable() {
            return self.damaged(error.to_string());
        }
        PlanError::Unavailable {
            table: self.table.clone(),
            what: self.what,
            location: self.location.clone(),
            reason: error.to_string(),
        }
    }

    pub(crate) fn damaged(&self, reason: impl Into<String>) -> PlanError {
        PlanError::Damaged {
            table: self.table.clone(),
            what: self.what,
            location: self.location.clone(),
            reason: reason.into(),
        }
    }
}
