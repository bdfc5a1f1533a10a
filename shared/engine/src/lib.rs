//! The maintenance engine: the five actions on Iceberg tables, natively.

mod arrange;
mod commit;
mod delete;
mod deletes;
mod error;
mod expire;
#[cfg(test)]
mod fake;
mod file_error;
mod manifests;
mod notes;
mod orphans;
pub mod points;
mod position_deletes;
mod read;
mod report;
mod rewrite;
mod run;
#[cfg(test)]
mod sample;
mod verify;
mod watch;
mod write;

pub use run::MaintenanceEngine;
