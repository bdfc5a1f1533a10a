//! Settings of a deployment: `SNOWPACK_*` variables, read once at start into typed structs.
//!
//! Nothing here reads the process's environment by itself: `main` passes it in. Every bad or missing
//! value is named in one error, and every variable is a row of [`VARIABLES`], which
//! `docs/configuration.md` repeats and a test compares.

mod catalog;
mod deployment;
mod environment;
mod function;
mod policy;
mod spark;
mod store;
mod telemetry;
mod variables;

pub use catalog::catalog;
pub use deployment::deployment;
pub use environment::{Environment, Problem, SettingsError};
pub use function::{FunctionSettings, OrchestratorSettings, ServerSettings, SweeperSettings, WorkerSettings};
pub use spark::SparkSettings;
pub use store::StoreSettings;
pub use telemetry::{TelemetrySettings, log_filter};
pub use variables::{VARIABLES, Variable};
