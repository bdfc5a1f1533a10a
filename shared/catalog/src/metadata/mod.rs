//! Table metadata files: reading them, applying a change, writing the next one.
//!
//! A commit of a catalog that keeps only a pointer (SQL, Glue) is: [`Staged::prepare`], which applies the change
//! and writes a fresh file, the catalog's own compare-and-set, then [`Staged::committed`] or
//! [`Staged::discard`]. A REST server does all of that itself.

mod apply;
mod draft;
mod location;
mod read;
mod unsupported;
mod write;

pub(crate) use read::{Document, load, parse, written_form};
pub(crate) use write::{Staged, write_first};

#[cfg(test)]
mod tests;
