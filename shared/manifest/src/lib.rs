//! Manifest lists and manifests: read with everything inherited, written so that every reader finds its way.
//!
//! - [`read_manifest_list`] and [`read_manifest`] are the only ways to read them. Decoding runs off the async
//!   threads, and a file that is cut, corrupt or encrypted is an error that names it, never a panic.
//! - [`ManifestSink`] writes a manifest. `iceberg` writes the Avro; what it gets wrong (names that Avro does
//!   not allow, no compression) is put right in the container ([`container`](self), [`names`](self)).

mod container;
mod data_file;
mod error;
mod names;
mod read;
mod row_ids;
mod shape;
mod write;

pub use data_file::{to_builder, without_statistics};
pub use error::{ManifestError, MetadataKind};
pub use read::{decode_manifest, decode_manifest_list, read_manifest, read_manifest_list};
pub use write::{EncodedManifest, ManifestSink};
