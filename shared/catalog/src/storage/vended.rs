//! Table files reached with access that the catalog hands out: one grant for each part of the table, renewed
//! before it ends.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::list::{Listing, ObjectStorage};
use super::location::normalize_location;
use crate::port::CatalogError;

/// Access is renewed this long before it ends: longer than one request or one upload takes. Java's
/// `VendedCredentialsProvider` waits as long.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// The same for a listing and for a file written bit by bit, which keep what they began with: as long as one
/// invocation of a worker takes. What goes on for longer is for the job's next attempt.
const RENEW_BEFORE_LONG_USE: Duration = Duration::from_secs(900);
/// After a renewal failed, the access at hand is used this long before another try.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Access to what lies below a location, as properties of Iceberg's S3 storage.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// What it is for; everything when empty.
    pub(crate) prefix: String,
    /// The properties, the catalog's own among them.
    pub(crate) properties: HashMap<String, String>,
    /// When it ends; `None` for access without an end.
    pub(crate) ends: Option<SystemTime>,
}

/// Shows no property: they are credentials.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("prefix", &self.prefix)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

/// Asks the catalog for access again.
#[async_trait]
pub(crate) trait Renewal: fmt::Debug + Send + Sync {
    /// All grants of the table.
    async fn renew(&self) -> std::result::Result<Vec<Grant>, CatalogError>;
}

/// Makes storages that use the grants at hand. Cheap to clone; clones share the grants.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct VendedStorage {
    /// Absent after it was read back from its written form, which holds no credentials.
    #[serde(skip)]
    access: Option<Arc<Access>>,
}

#[derive(Debug)]
struct Access {
    objects: Arc<dyn ObjectStorage>,
    renewal: Box<dyn Renewal>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    grants: Vec<(Grant, Arc<dyn Storage>)>,
    term: Option<Term>,
    /// A renewal failed: not again before then.
    not_before: Option<SystemTime>,
}

/// From when to when access lasts.
#[derive(Clone, Copy, Debug)]
struct Term {
    begins: SystemTime,
    ends: SystemTime,
}

impl Term {
    /// When to renew it so that it outlasts a use of that length: not before half of it is over, however short it is.
    fn renewal(self, use_time: Duration) -> SystemTime {
        let life = self.ends.duration_since(self.begins).unwrap_or_default();
        self.ends.checked_sub(use_time.min(life / 2)).unwrap_or(self.ends)
    }
}

impl VendedStorage {
    /// Files of `objects`, first with these grants.
    ///
    /// # Errors
    /// When `objects` cannot use a grant.
    pub(crate) fn new(
        objects: Arc<dyn ObjectStorage>,
        grants: Vec<Grant>,
        renewal: Box<dyn Renewal>,
    ) -> Result<Self> {
        let current = Mutex::new(Current::new(objects.as_ref(), grants)?);
        let access = Access {
            objects,
            renewal,
            current,
        };
        Ok(Self {
            access: Some(Arc::new(access)),
        })
    }

    fn access(&self) -> Result<&Arc<Access>> {
        self.access.as_ref().ok_or_else(|| {
            let reason = "access that a catalog handed out is not kept: load the table again";
            Error::new(ErrorKind::FeatureUnsupported, reason)
        })
    }

    async fn storage(&self, path: &str) -> Result<Arc<dyn Storage>> {
        Ok(self.access()?.find(path, RENEW_BEFORE).await?.1)
    }
}

impl Access {
    /// The longest grant above `path`, renewed if it may end within `use_time`, and its storage.
    async fn find(&self, path: &str, use_time: Duration) -> Result<(StorageConfig, Arc<dyn Storage>)> {
        let mut current = self.current.lock().await;
        let now = SystemTime::now();
        if current.is_due(now, use_time) {
            match self.renewed().await {
                Ok(renewed) => *current = renewed,
                Err(error) => {
                    tracing::warn!(%error, "access to the table's files could not be renewed");
                    current.not_before = Some(now + RETRY_AFTER);
                }
            }
        }
        let (grant, storage) = current.above(path).ok_or_else(|| {
            let reason = format!("cannot open {path}: the catalog gave no access to it");
            Error::new(ErrorKind::Unexpected, reason)
        })?;
        Ok((
            StorageConfig::from_props(grant.properties.clone()),
            Arc::clone(storage),
        ))
    }

    async fn renewed(&self) -> std::result::Result<Current, String> {
        let grants = self.renewal.renew().await.map_err(|error| error.to_string())?;
        if grants.is_empty() {
            return Err("the catalog handed out none".to_owned());
        }
        Current::new(self.objects.as_ref(), grants).map_err(|error| error.to_string())
    }
}

impl Current {
    fn new(objects: &dyn ObjectStorage, grants: Vec<Grant>) -> Result<Self> {
        let ends = grants.iter().filter_map(|grant| grant.ends).min();
        let built = grants.into_iter().map(|grant| {
            let storage = objects.build(&StorageConfig::from_props(grant.properties.clone()))?;
            Ok((grant, storage))
        });
        Ok(Self {
            grants: built.collect::<Result<_>>()?,
            term: ends.map(|ends| Term {
                begins: SystemTime::now(),
                ends,
            }),
            not_before: None,
        })
    }

    fn is_due(&self, now: SystemTime, use_time: Duration) -> bool {
        self.term.is_some_and(|term| term.renewal(use_time) <= now)
            && self.not_before.is_none_or(|earliest| earliest <= now)
    }

    /// The storage of the longest prefix of `path` that there is a grant for.
    fn above(&self, path: &str) -> Option<&(Grant, Arc<dyn Storage>)> {
        let path = normalize_location(path);
        let above = self
            .grants
            .iter()
            .filter(|(grant, _)| path.starts_with(normalize_location(&grant.prefix).as_ref()));
        above.max_by_key(|(grant, _)| grant.prefix.len())
    }
}

#[typetag::serde(name = "SnowpackVendedStorageFactory")]
impl StorageFactory for VendedStorage {
    /// The grants say everything: `config` is left aside.
    fn build(&self, _config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

impl ObjectStorage for VendedStorage {
    fn list(&self, _config: &StorageConfig, folder: &str) -> Listing {
        let (storage, folder) = (self.clone(), folder.to_owned());
        let listing = async move {
            let found = match storage.access() {
                Ok(access) => {
                    let found = access.find(&folder, RENEW_BEFORE_LONG_USE).await;
                    found.map(|(config, _)| (access, config))
                }
                Err(error) => Err(error),
            };
            match found {
                Ok((access, config)) => access.objects.list(&config, &folder),
                Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
            }
        };
        futures::stream::once(listing).flatten().boxed()
    }
}

#[async_trait]
#[typetag::serde(name = "SnowpackVendedStorage")]
impl Storage for VendedStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        self.storage(path).await?.exists(path).await
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        self.storage(path).await?.metadata(path).await
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        self.storage(path).await?.read(path).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        self.access()?;
        Ok(Box::new(Reader {
            storage: self.clone(),
            path: path.to_owned(),
        }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.storage(path).await?.write(path, bytes).await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let (_, storage) = self.access()?.find(path, RENEW_BEFORE_LONG_USE).await?;
        storage.writer(path).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.storage(path).await?.delete(path).await
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        self.storage(path).await?.delete_prefix(path).await
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        let mut by_grant: BTreeMap<usize, (Arc<dyn Storage>, Vec<String>)> = BTreeMap::new();
        while let Some(path) = paths.next().await {
            let storage = self.storage(&path).await?;
            let key = Arc::as_ptr(&storage).cast::<()>() as usize;
            by_grant
                .entry(key)
                .or_insert_with(|| (storage, Vec::new()))
                .1
                .push(path);
        }
        for (storage, paths) in by_grant.into_values() {
            storage
                .delete_stream(futures::stream::iter(paths).boxed())
                .await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

/// A file that is read for longer than one grant may last.
struct Reader {
    storage: VendedStorage,
    path: String,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let storage = self.storage.storage(&self.path).await?;
        storage.reader(&self.path).await?.read(range).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_for_long_is_renewed_sooner() {
        let begins = SystemTime::UNIX_EPOCH;
        let renewed_after = |life: u64, use_time| {
            let ends = begins + Duration::from_secs(life);
            Term { begins, ends }
                .renewal(use_time)
                .duration_since(begins)
                .unwrap()
                .as_secs()
        };
        assert_eq!(renewed_after(3600, RENEW_BEFORE), 3300);
        assert_eq!(renewed_after(3600, RENEW_BEFORE_LONG_USE), 2700);
        // The shortest session AWS gives is still used for half of its time.
        assert_eq!(renewed_after(900, RENEW_BEFORE), 600);
        assert_eq!(renewed_after(900, RENEW_BEFORE_LONG_USE), 450);
        assert_eq!(renewed_after(0, RENEW_BEFORE), 0);
    }
}
