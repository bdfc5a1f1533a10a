//! What can be wrong with a manifest or a manifest list, and whether trying again may help.

use std::fmt;

use iceberg::ErrorKind;

/// Which of the two a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataKind {
    /// Lists the manifests of one snapshot.
    ManifestList,
    /// Lists data or delete files.
    Manifest,
}

impl fmt::Display for MetadataKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ManifestList => "manifest list",
            Self::Manifest => "manifest",
        })
    }
}

/// Why a manifest or manifest list could not be read. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The storage did not give it just now.
    #[error("{kind} {location} cannot be read now: {source}")]
    Unavailable {
        /// What it is.
        kind: MetadataKind,
        /// The file, as the table spells it.
        location: String,
        /// What the storage said.
        source: Box<iceberg::Error>,
    },
    /// It is missing, cut short or not what it should be.
    #[error("{kind} {location} is damaged or missing: {reason}")]
    Damaged {
        /// What it is.
        kind: MetadataKind,
        /// The file, as the table spells it.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is encrypted, which is not supported.
    #[error("{kind} {location} is encrypted")]
    Encrypted {
        /// What it is.
        kind: MetadataKind,
        /// The file, as the table spells it.
        location: String,
    },
}

impl ManifestError {
    /// Whether the cause may pass by itself.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// The storage could not give the file: missing files will not come back, anything else may pass.
    pub(crate) fn unreadable(kind: MetadataKind, location: &str, error: iceberg::Error) -> Self {
        let permanent = snowpack_catalog::is_not_found(&error)
            || matches!(
                error.kind(),
                ErrorKind::DataInvalid | ErrorKind::FeatureUnsupported
            );
        if permanent && !error.retryable() {
            return Self::damaged(kind, location, error.to_string());
        }
        Self::Unavailable {
            kind,
            location: location.to_owned(),
            source: Box::new(error),
        }
    }

    pub(crate) fn damaged(kind: MetadataKind, location: &str, reason: impl Into<String>) -> Self {
        Self::Damaged {
            kind,
            location: location.to_owned(),
            reason: reason.into(),
        }
    }
}
