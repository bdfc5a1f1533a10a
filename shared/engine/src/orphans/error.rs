//! Why orphans are not removed: every case in which a file in use might look like one.

/// Why the action stopped before anything was deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrphanError {
    /// Too much lives under a root to belong to one table.
    #[error(
        "table {table}: {location} is a whole bucket or file system; give a folder of the table as \
         remove_orphan_files.location"
    )]
    Root {
        /// The table.
        table: String,
        /// The location.
        location: String,
    },
    /// The location asked for is not the table's.
    #[error(
        "table {table}: remove_orphan_files.location {location} does not lie within the table's own locations: {own}"
    )]
    Outside {
        /// The table.
        table: String,
        /// The location.
        location: String,
        /// Where the table's files are.
        own: String,
    },
    /// Another table lives there too.
    #[error(
        "table {table}: {location} contains files of table {other}; give a folder that belongs to this table alone \
         as remove_orphan_files.location"
    )]
    Foreign {
        /// The table.
        table: String,
        /// The location.
        location: String,
        /// The other table.
        other: String,
    },
    /// More folders look like tables than can belong inside one.
    #[error("table {table}: {location} contains more than {most} other tables; it looks like a warehouse")]
    Warehouse {
        /// The table.
        table: String,
        /// The location.
        location: String,
        /// The limit.
        most: usize,
    },
    /// Referenced and listed files differ in scheme or authority only.
    #[error(
        "table {table}: metadata references listed files under other prefixes: {pairs}; nothing was deleted. If they \
         mean the same, say so in remove_orphan_files.equal_schemes or equal_authorities (for example s3a=s3); if \
         not, set prefix_mismatch_mode to ignore, which keeps such files, or delete"
    )]
    PrefixMismatch {
        /// The table.
        table: String,
        /// `referenced listed` pairs.
        pairs: String,
    },
    /// The brake.
    #[error(
        "table {table}: {dead} of {listed} in {location} look dead, more than remove_orphan_files.max_orphan_ratio \
         {most} allows; nothing was deleted. Check the location and with dry_run the files, then raise the ratio"
    )]
    TooManyDead {
        /// The table.
        table: String,
        /// The location.
        location: String,
        /// Bytes of orphans, for people.
        dead: String,
        /// Bytes listed, for people.
        listed: String,
        /// The option.
        most: f64,
    },
    /// The listing broke off.
    #[error("table {table}: {source}; nothing was deleted")]
    Listing {
        /// The table.
        table: String,
        /// What the storage said; names the location.
        source: Box<iceberg::Error>,
    },
}

impl OrphanError {
    /// Whether the cause may pass by itself.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Listing { source, .. } if source.retryable())
    }
}
