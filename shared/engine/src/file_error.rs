//! What can go wrong with one data or delete file, and whether trying again may help.

use snowpack_manifest::ManifestError;

/// Why a file could not be read or written. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// Opening or reading failed: missing, access denied, or the storage is not available.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the storage said.
        source: Box<iceberg::Error>,
    },
    /// A manifest or manifest list could not be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The bytes are not the Parquet file its manifest entry describes.
    #[error("{path} is truncated or corrupt: {reason}")]
    Corrupt {
        /// The file.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// The file is sound but its columns cannot be read as the table's schema.
    #[error("{path} does not fit the table's schema: {reason}")]
    Schema {
        /// The file.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// A format or feature this engine does not read.
    #[error("{path} is not supported: {reason}")]
    Unsupported {
        /// The file.
        path: String,
        /// What it is.
        reason: String,
    },
    /// The deleted positions of a group do not fit the memory given for them.
    #[error(
        "the deleted rows of a file group need more than the {budget_bytes} bytes of memory given for them, \
         counted up to {path}; lower rewrite_data_files.max-file-group-size-bytes"
    )]
    Budget {
        /// The delete or data file last counted.
        path: String,
        /// The budget.
        budget_bytes: u64,
    },
    /// Creating or writing failed.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// What the storage said.
        source: Box<iceberg::Error>,
    },
    /// Rows could not be encoded.
    #[error("cannot encode rows for {path}: {reason}")]
    Encode {
        /// The file.
        path: String,
        /// What the encoder said.
        reason: String,
    },
}

#[expect(clippy::needless_pass_by_value, reason = "callers hand over errors they own")]
impl FileError {
    pub(crate) fn read(path: &str, source: iceberg::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source: Box::new(source),
        }
    }

    pub(crate) fn corrupt(path: &str, reason: impl ToString) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn schema(path: &str, reason: impl ToString) -> Self {
        Self::Schema {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn unsupported(path: &str, reason: impl ToString) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn write(path: &str, source: iceberg::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source: Box::new(source),
        }
    }

    pub(crate) fn encode(path: &str, reason: impl ToString) -> Self {
        Self::Encode {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Whether the cause may pass by itself: only what the storage marked as worth a retry. A file that is
    /// missing or wrong stays so.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => source.retryable(),
            Self::Manifest(source) => source.is_transient(),
            _ => false,
        }
    }
}
