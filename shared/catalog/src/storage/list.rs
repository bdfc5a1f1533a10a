//! What a listing of files says, and who can list: iceberg's storage traits cannot.

use std::fmt::Debug;

use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{StorageConfig, StorageFactory};
use iceberg::{Error, ErrorKind, Result};
use snowpack_domain::Timestamp;

use super::location::{Place, is_in_table_bucket, place};
use super::walk;

/// Most files in one page of a local listing; what one answer of S3 holds at most.
pub(super) const PAGE: usize = 1000;

/// A file that a listing showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Where it is: the folder as the caller spelled it, and the path inside it as stored.
    pub location: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written; `None` when the storage does not say.
    pub modified: Option<Timestamp>,
}

/// Pages of files, in no order. It ends after the first error: what came before is then not all there is.
pub type Listing = BoxStream<'static, Result<Vec<ListedFile>>>;

/// Object storage that can also be listed.
pub trait ObjectStorage: StorageFactory {
    /// Every object below `folder`, with the access that `config` gives. A folder that does not exist is empty;
    /// objects whose name only starts like the folder's are not below it.
    fn list(&self, config: &StorageConfig, folder: &str) -> Listing;
}

/// Every file below `folder`, a local one or one that `objects` serves. Symbolic links are neither listed nor
/// followed.
pub(crate) fn list(objects: Option<&dyn ObjectStorage>, config: &StorageConfig, folder: &str) -> Listing {
    let reason = match (place(folder), objects) {
        (Place::S3, _) if is_in_table_bucket(folder) => "S3 Tables lists no files of tables".to_owned(),
        (Place::Local(path), _) => return walk::list(folder, path),
        (Place::S3, Some(objects)) => return objects.list(config, folder),
        (Place::S3, None) => "no S3 storage is set up".to_owned(),
        (Place::Unknown(scheme), _) => format!("locations of scheme {scheme:?} are not supported"),
    };
    let error = Error::new(
        ErrorKind::FeatureUnsupported,
        format!("cannot list {folder}: {reason}"),
    );
    futures::stream::once(std::future::ready(Err(error))).boxed()
}
