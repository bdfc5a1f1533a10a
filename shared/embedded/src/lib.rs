//! The job store and the queue for one machine: one SQLite file, no server.
//!
//! Every write is one transaction, durable when it returns (WAL with `synchronous=FULL`), so a process that
//! is killed finds all it was told was stored.

mod database;
mod error;
mod queue;
mod schema;
mod store;

pub use error::OpenError;
pub use queue::{EmbeddedQueue, Receipt};
pub use store::SqliteStore;
