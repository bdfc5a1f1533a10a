//! Where table files live: one iceberg `Storage` that sends local paths to disk and `s3:` paths to a factory
//! given by the caller.

mod dispatch;
mod list;
mod local;
mod location;
mod own;
mod vended;
mod walk;

use std::io;

pub use dispatch::DispatchFactory;
pub(crate) use list::list;
pub use list::{ListedFile, Listing, ObjectStorage};
pub use location::{is_in_table_bucket, normalize_location};
pub use own::{OwnPlaces, write_locations};
pub(crate) use vended::{Grant, Renewal, VendedStorage};

/// Whether a storage error says that the file does not exist.
///
/// Holds for local files, and for any storage that puts an [`io::Error`] of kind `NotFound` into the error's
/// chain of sources.
pub fn is_not_found(error: &iceberg::Error) -> bool {
    io_kind(error) == Some(io::ErrorKind::NotFound)
}

/// Whether a storage error says that the caller may not touch the file.
pub(crate) fn is_denied(error: &iceberg::Error) -> bool {
    io_kind(error) == Some(io::ErrorKind::PermissionDenied)
}

fn io_kind(error: &iceberg::Error) -> Option<io::ErrorKind> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}
