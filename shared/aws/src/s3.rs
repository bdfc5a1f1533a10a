//! Table files in S3, behind iceberg's storage traits.
//!
//! Rules: an object appears whole or not at all; errors name the file; a missing file, a file shorter than
//! asked for and a denied one carry an `io::Error` that says so.

mod delete;
mod failure;
mod list;
mod location;
mod ranges;
mod read;
mod settings;
mod small;
mod storage;
mod write;

pub(crate) use small::{get_text, put_text};
pub use storage::S3StorageFactory;
