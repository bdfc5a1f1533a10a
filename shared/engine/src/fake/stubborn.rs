//! Storage in memory that does not delete everything: a batch with such a file fails as a whole.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, MemoryStorage, OutputFile, Storage,
    StorageConfig, StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The storage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stubborn {
    files: MemoryStorage,
    #[serde(skip)]
    refused: Arc<Mutex<HashSet<String>>>,
    #[serde(skip)]
    unreadable: Arc<Mutex<HashSet<String>>>,
    #[serde(skip)]
    asked: Arc<AtomicU64>,
}

/// A storage, and how the engine sees it.
pub(crate) fn stubborn() -> (FileIO, Stubborn) {
    let storage = Stubborn::default();
    (FileIOBuilder::new(Arc::new(storage.clone())).build(), storage)
}

impl Stubborn {
    /// This file is not deleted.
    pub(crate) fn refuse(&self, path: &str) {
        self.refused.lock().unwrap().insert(path.to_owned());
    }

    /// This file cannot be read for now.
    pub(crate) fn throttle(&self, path: &str) {
        self.unreadable.lock().unwrap().insert(path.to_owned());
    }

    /// Everything is read and deleted again.
    pub(crate) fn relent(&self) {
        self.refused.lock().unwrap().clear();
        self.unreadable.lock().unwrap().clear();
    }

    /// Deletes asked for.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

#[typetag::serde(name = "StubbornFactory")]
impl StorageFactory for Stubborn {
    fn build(&self, _: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
#[typetag::serde(name = "StubbornStorage")]
impl Storage for Stubborn {
    async fn exists(&self, path: &str) -> Result<bool> {
        self.files.exists(path).await
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        self.files.metadata(path).await
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        if self.unreadable.lock().unwrap().contains(path) {
            return Err(Error::new(ErrorKind::Unexpected, "slow down").with_retryable(true));
        }
        self.files.read(path).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        self.files.reader(path).await
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.files.write(path, bytes).await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        self.files.writer(path).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.refused.lock().unwrap().contains(path) {
            return Err(Error::new(ErrorKind::Unexpected, "access denied"));
        }
        self.files.delete(path).await
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        panic!("nobody may delete everything below {path}")
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let paths: Vec<_> = paths.collect().await;
        if paths
            .iter()
            .any(|path| self.refused.lock().unwrap().contains(path))
        {
            return Err(Error::new(ErrorKind::Unexpected, "access denied for one of them"));
        }
        for path in paths {
            self.files.delete(&path).await?;
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
