//! The maintenance engine: rewrite_data_files, expire_snapshots and remove_orphan_files on Iceberg tables, natively.

mod commit;
mod delete;
mod deletes;
mod error;
mod expire;
#[cfg(test)]
mod fake;
mod file_error;
mod orphans;
pub mod points;
mod read;
mod report;
mod rewrite;
mod run;
#[cfg(test)]
mod sample;
mod watch;
mod write;

pub use run::MaintenanceEngine;
