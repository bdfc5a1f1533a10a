//! Iceberg's storage traits over S3.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use futures::stream::BoxStream;
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use snowpack_catalog::{Listing, ObjectStorage};

use super::failure::describe;
use super::location::Location;
use super::settings::ClientSettings;
use super::{delete, list, read, write};

/// Makes storages for `s3`, `s3a` and `s3n` locations.
///
/// A table's own properties (`s3.endpoint`, `s3.region`, `s3.path-style-access`, credentials that its catalog
/// vends) win over the process's client. The default factory makes that client when the first S3 file is
/// touched, from where [`AwsClients::load`](crate::AwsClients::load) looks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct S3StorageFactory {
    #[serde(skip)]
    client: Option<Client>,
}

impl S3StorageFactory {
    /// Storages that use this client.
    pub fn new(client: Client) -> Self {
        Self { client: Some(client) }
    }
}

#[typetag::serde(name = "SnowpackS3StorageFactory")]
impl StorageFactory for S3StorageFactory {
    fn build(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(S3Storage {
            settings: ClientSettings::new(self.client.clone(), config.clone()),
        }))
    }
}

impl ObjectStorage for S3StorageFactory {
    fn list(&self, config: &StorageConfig, folder: &str) -> Listing {
        let settings = ClientSettings::new(self.client.clone(), config.clone());
        list::below(settings, folder)
    }
}

/// Files in S3.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct S3Storage {
    settings: ClientSettings,
}

#[async_trait]
#[typetag::serde(name = "SnowpackS3Storage")]
impl Storage for S3Storage {
    async fn exists(&self, path: &str) -> Result<bool> {
        let location = Location::parse(path)?;
        Ok(read::size(self.settings.client().await, &location)
            .await?
            .is_some())
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let location = Location::parse(path)?;
        match read::size(self.settings.client().await, &location).await? {
            Some(size) => Ok(FileMetadata { size }),
            None => {
                let cause = io::Error::new(io::ErrorKind::NotFound, "it does not exist");
                Err(describe("stat", path, cause))
            }
        }
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        read::get(self.settings.client().await, &Location::parse(path)?, None).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        let location = Location::parse(path)?;
        let client = self.settings.client().await.clone();
        Ok(Box::new(read::Reader { client, location }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        let mut writer = self.writer(path).await?;
        writer.write(bytes).await?;
        writer.close().await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let location = Location::parse(path)?;
        let client = self.settings.client().await.clone();
        Ok(Box::new(write::Writer::new(client, location)))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        delete::one(self.settings.client().await, &Location::parse(path)?).await
    }

    /// Refused: maintenance deletes files it can name, never a prefix with whatever is in it.
    async fn delete_prefix(&self, path: &str) -> Result<()> {
        Err(Error::new(
            ErrorKind::FeatureUnsupported,
            format!("refusing to delete everything under {path}"),
        ))
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        delete::many(self.settings.client().await, paths).await
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Location::parse(path)?;
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Location::parse(path)?;
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}
