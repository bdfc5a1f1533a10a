//! Why a table could not be planned; tells a cause that may pass from one that will not.

use snowpack_catalog::CatalogError;
use snowpack_domain::OptionError;
use snowpack_manifest::ManifestError;

use crate::expire::ExpiryError;

/// Why a table could not be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The catalog did not give the table.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A manifest or manifest list could not be read.
    #[error("{table}: {source}")]
    Manifest {
        /// The table.
        table: String,
        /// What is wrong with which file.
        source: ManifestError,
    },
    /// The table has, or the options ask for, something this engine does not do.
    #[error("{table} cannot be maintained: {reason}")]
    Unsupported {
        /// The table.
        table: String,
        /// What it is, and what to do.
        reason: String,
    },
    /// An option or a property standing in for one cannot be used.
    #[error(transparent)]
    Setting(#[from] OptionError),
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
    /// The expiry asked for is not possible.
    #[error(transparent)]
    Expiry(#[from] ExpiryError),
}

impl PlanError {
    /// Whether the cause may pass by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Catalog(error) => error.is_transient(),
            Self::Manifest { source, .. } => source.is_transient(),
            Self::Unsupported { .. } | Self::Setting(_) | Self::Option { .. } | Self::Expiry(_) => false,
        }
    }
}
