//! Decides, from a table's metadata alone, what an action would do. Reads manifests, never data.

mod types;

pub use types::{FileGroup, LiveFile, RewritePlan, ScanFile, SkipReason};
