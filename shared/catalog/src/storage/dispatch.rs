//! The storage every table uses: picks disk or object storage by the location's scheme.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::local;
use super::location::{Place, is_in_table_bucket, place};

/// Builds the storage of a catalog's tables: local files, and whatever `objects` serves for `s3`, `s3a` and
/// `s3n`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DispatchFactory {
    objects: Option<Arc<dyn StorageFactory>>,
}

impl DispatchFactory {
    /// Local files, and `objects` for S3. Without it, S3 locations give an error that says so.
    pub fn new(objects: Option<Arc<dyn StorageFactory>>) -> Self {
        Self { objects }
    }
}

#[typetag::serde(name = "SnowpackDispatchFactory")]
impl StorageFactory for DispatchFactory {
    fn build(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        let objects = self
            .objects
            .as_ref()
            .map(|factory| factory.build(config))
            .transpose()?;
        Ok(Arc::new(DispatchStorage { objects }))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DispatchStorage {
    objects: Option<Arc<dyn Storage>>,
}

/// A location with the storage that serves it.
enum Target<'a> {
    Local(&'a str),
    Objects(&'a dyn Storage),
}

impl DispatchStorage {
    fn target<'a>(&'a self, location: &'a str) -> Result<Target<'a>> {
        let reason = match (place(location), &self.objects) {
            (Place::Local(path), _) => return Ok(Target::Local(path)),
            (Place::S3, Some(objects)) => return Ok(Target::Objects(objects.as_ref())),
            (Place::S3, None) => "no S3 storage is set up".to_owned(),
            (Place::Unknown(scheme), _) => format!("locations of scheme {scheme:?} are not supported"),
        };
        Err(Error::new(
            ErrorKind::FeatureUnsupported,
            format!("cannot open {location}: {reason}"),
        ))
    }
}

impl DispatchStorage {
    /// As [`DispatchStorage::target`], for a file that may be deleted at all.
    fn deletable<'a>(&'a self, location: &'a str) -> Result<Target<'a>> {
        if is_in_table_bucket(location) {
            let reason = "S3 Tables removes files by itself and lets nobody else";
            return Err(Error::new(
                ErrorKind::FeatureUnsupported,
                format!("cannot delete {location}: {reason}"),
            ));
        }
        self.target(location)
    }
}

#[async_trait]
#[typetag::serde(name = "SnowpackDispatchStorage")]
impl Storage for DispatchStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        match self.target(path)? {
            Target::Local(file) => local::exists(file).await,
            Target::Objects(storage) => storage.exists(path).await,
        }
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        match self.target(path)? {
            Target::Local(file) => local::size(file).await.map(|size| FileMetadata { size }),
            Target::Objects(storage) => storage.metadata(path).await,
        }
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        match self.target(path)? {
            Target::Local(file) => local::read(file).await,
            Target::Objects(storage) => storage.read(path).await,
        }
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        match self.target(path)? {
            Target::Local(file) => Ok(Box::new(local::Reader::open(file).await?)),
            Target::Objects(storage) => storage.reader(path).await,
        }
    }

    async fn write(&self, path: &str, bs: Bytes) -> Result<()> {
        match self.target(path)? {
            Target::Local(file) => {
                let mut writer = local::Writer::create(file).await?;
                writer.write(bs).await?;
                writer.close().await
            }
            Target::Objects(storage) => storage.write(path, bs).await,
        }
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        match self.target(path)? {
            Target::Local(file) => Ok(Box::new(local::Writer::create(file).await?)),
            Target::Objects(storage) => storage.writer(path).await,
        }
    }

    async fn delete(&self, path: &str) -> Result<()> {
        match self.deletable(path)? {
            Target::Local(file) => local::delete(file).await,
            Target::Objects(storage) => storage.delete(path).await,
        }
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        match self.target(path)? {
            // Maintenance deletes files it can name, never a folder with whatever is in it.
            Target::Local(file) => Err(Error::new(
                ErrorKind::FeatureUnsupported,
                format!("refusing to delete everything under {file}"),
            )),
            Target::Objects(storage) => storage.delete_prefix(path).await,
        }
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        let mut objects = Vec::new();
        while let Some(path) = paths.next().await {
            match self.deletable(&path)? {
                Target::Local(file) => local::delete(file).await?,
                Target::Objects(_) => objects.push(path),
            }
        }
        match &self.objects {
            Some(storage) if !objects.is_empty() => {
                storage
                    .delete_stream(futures::stream::iter(objects).boxed())
                    .await
            }
            _ => Ok(()),
        }
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        self.target(path)?;
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        self.target(path)?;
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

#[cfg(test)]
mod tests;
