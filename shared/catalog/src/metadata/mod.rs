//! Table metadata files: reading them, applying a change, writing the next one.
//!
//! A commit of a catalog that keeps only a pointer (SQL, Glue) is: [`apply`](apply::apply) in memory,
//! [`Staged::write`] to a fresh file, the catalog's own compare-and-set, then [`Staged::committed`] or
//! [`Staged::discard`]. A REST server does all of that itself.

mod apply;
mod fidelity;
mod location;
mod read;
mod write;

pub(crate) use apply::apply;
pub(crate) use fidelity::Residue;
pub(crate) use read::{Document, listed_refs, load, parse};
pub(crate) use write::{Staged, write_first};

#[cfg(test)]
mod tests;
