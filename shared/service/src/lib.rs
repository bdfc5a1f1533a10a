//! Snowpack's use cases over small ports: submit, cancel, execute, sweep, sync and the queries.
//!
//! A use case reads what a decision of `snowpack_domain` needs, decides, and writes once on the versions
//! read; when another writer was first, it reads and decides again.

mod apply;
mod cancel;
mod clock;
mod crash;
mod elsewhere;
mod execute;
mod failure;
mod guard;
mod health;
mod in_time;
mod orchestrate;
pub mod ports;
mod report;
mod restart;
mod send;
mod submit;
mod sweep;
mod sync;
mod sync_health;
mod tables;
mod time_limit;

pub use cancel::{CancelRefusal, cancel};
pub use clock::{SystemClock, TimeSortedIds};
pub use crash::{AFTER_CLAIM, CrashPoint};
pub use execute::{Handled, Limits, Worker};
pub use failure::Failure;
pub use health::{HealthBook, KnownTable};
pub use orchestrate::{Orchestrator, RunPorts, RunRequest, SUBMITTING_TIME};
pub use restart::abandon_leases;
pub use submit::{SubmitRefusal, SubmitRequest, Submitter};
pub use sweep::{SweepReport, sweep};
pub use sync::{SyncReport, sync_tables};
pub use sync_health::{HealthSyncReport, sync_health};
pub use tables::TableCache;
pub use time_limit::TimeLimit;
