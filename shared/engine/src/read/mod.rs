//! Reading Parquet data files as rows of the table's current schema.
//!
//! A file is opened with one read of its tail, its columns are matched with the table's by field id
//! (`schema`, `projection`), deleted rows are dropped (`scan`), and what is left is converted (`convert`).

mod constant;
mod convert;
mod file;
#[cfg(test)]
mod imported_tests;
mod keys;
mod lineage;
mod prefetch;
mod projection;
mod scan;
mod schema;
mod sound;

pub(crate) use constant::{arrow_type, literal_at, table_arrow_schema};
pub(crate) use convert::field_array;
pub(crate) use file::{ParquetFile, from_parquet};
pub(crate) use keys::KeyScan;
pub(crate) use lineage::rewrite_schema;
pub(crate) use prefetch::{Chunks, PrefetchLimits};
pub(crate) use projection::{Column, Resolver, Source};
pub(crate) use scan::{Chunk, Payload, ScanContext, ScanTask};
pub(crate) use schema::{FileSchema, field_id, leaf_count};
pub(crate) use sound::{panic_text, sound};
