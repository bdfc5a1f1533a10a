//! Large rewrites and refused tables, handed to Spark: the statement, the script that runs it, what it returned, and
//! the engine that decides between the native one and such a run.

mod conf;
mod engine;
mod literal;
mod nowhere;
mod order;
mod output;
mod statement;

pub use conf::{CATALOG, UnfitCatalog, session_conf};
pub use engine::HandingOver;
pub use nowhere::Nowhere;
pub use order::{OrderError, SCRIPT, order};
pub use output::{OutputError, read_output};
