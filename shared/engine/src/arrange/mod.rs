//! Puts the rows of a file group in order before they are written.
//!
//! Every row gets a key of bytes that compare as the order demands (`key`, `zorder`); rows are then sorted by
//! key, on disk when they do not fit memory (`sorter`).

mod key;
mod sorter;
mod zorder;

pub(crate) use key::SortKeys;
pub(crate) use sorter::{SCRATCH_BYTES, SortedRows, Sorter};
