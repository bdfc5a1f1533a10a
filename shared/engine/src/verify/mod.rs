//! Checks that a rewrite wrote the rows it read (the option `verify` with the value `content`).
//!
//! Rows are hashed as a reader of the current schema sees them, row lineage included: once as they are read, without
//! the deleted ones, and once as they are read back from the new files. The sums of both have to be equal, in
//! whatever order rows were written. Values are compared bit by bit, so that -0.0 is not 0.0, and NaN only the same
//! NaN: a rewrite copies values and computes none.

mod checksum;
mod reread;

pub(crate) use checksum::{Checksum, Content, RowHasher};
pub(crate) use reread::{as_scanned, rows_of};

/// Snapshot summary property: how the commit was verified.
pub(crate) const VERIFY_SUMMARY_KEY: &str = "snowpack.verify";
/// Snapshot summary property: the sum over all rows of the files that the commit added.
pub(crate) const CHECKSUM_SUMMARY_KEY: &str = "snowpack.rows-checksum";

#[cfg(test)]
mod tests;
