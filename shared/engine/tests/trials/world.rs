//! One table and everything around it in memory: its files, its metadata, and the schedule that decides at every
//! await point of an action what happens there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use iceberg::spec::TableMetadata;
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use snowpack_catalog::{ListedFile, Listing, ObjectStorage};
use snowpack_domain::Timestamp;

use crate::model::Model;
use crate::reader::Parsed;
use crate::scheduler::{Decision, Scheduler};
use crate::writers;

/// Where the table is.
pub(crate) const LOCATION: &str = "s3://lake/t";
/// Files older than this are old enough for remove_orphan_files.
pub(crate) const CUTOFF: Timestamp = Timestamp::from_micros(1_000_000);

/// A file, and whether it counts as old.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) bytes: Bytes,
    pub(crate) old: bool,
}

/// Everything there is.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) files: Mutex<BTreeMap<String, Stored>>,
    /// The metadata and its version.
    pub(crate) metadata: Mutex<Option<(u64, Arc<TableMetadata>)>>,
    pub(crate) model: Mutex<Model>,
    pub(crate) scheduler: Mutex<Scheduler>,
    pub(crate) parsed: Mutex<Parsed>,
    /// Processes started. Only what the newest one asks for happens.
    pub(crate) process: AtomicU64,
    pub(crate) crashed: tokio::sync::Notify,
    /// Its files are damaged: nobody can tell what it should hold.
    pub(crate) is_damaged: AtomicBool,
}

impl World {
    /// A copy that lives on by itself.
    pub(crate) fn fork(&self, scheduler: Scheduler) -> Arc<Self> {
        let copy = Self {
            files: Mutex::new(lock(&self.files).clone()),
            metadata: Mutex::new(lock(&self.metadata).clone()),
            model: Mutex::new(lock(&self.model).clone()),
            scheduler: Mutex::new(scheduler),
            parsed: Mutex::new(lock(&self.parsed).clone()),
            ..Self::default()
        };
        for file in lock(&copy.files).values_mut() {
            file.old = true;
        }
        Arc::new(copy)
    }

    pub(crate) fn table(&self) -> (u64, Arc<TableMetadata>) {
        lock(&self.metadata).clone().expect("the table is created")
    }

    /// Starts a process: whatever an earlier one still asks for never happens.
    pub(crate) fn start_process(&self) -> u64 {
        self.process.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// What a process sees of the files; process 0 is every other writer, which nothing interrupts.
    pub(crate) fn io(self: &Arc<Self>, process: u64) -> FileIO {
        FileIOBuilder::new(Arc::new(self.storage(process))).build()
    }

    pub(crate) fn storage(self: &Arc<Self>, process: u64) -> Scheduled {
        let world = Arc::clone(self);
        Scheduled { world, process }
    }

    /// An await point of a process.
    pub(crate) async fn point(self: &Arc<Self>, process: u64, what: &str, path: &str) {
        if process == 0 {
            return;
        }
        if process != self.process.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let decision = lock(&self.scheduler).decide(what, path);
        match decision {
            Decision::GoOn => {}
            Decision::Write(kind) => writers::act(self, kind),
            Decision::Crash => {
                self.start_process();
                self.crashed.notify_one();
                return std::future::pending().await;
            }
        }
        let yields = lock(&self.scheduler).yields();
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
    }

    fn get(&self, path: &str) -> Result<Bytes> {
        let missing = || {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
            Error::new(ErrorKind::Unexpected, format!("{path} does not exist")).with_source(source)
        };
        lock(&self.files)
            .get(path)
            .map(|file| file.bytes.clone())
            .ok_or_else(missing)
    }

    /// # Panics
    /// There is such a file already: nothing may be overwritten, others may be reading it.
    pub(crate) fn put(&self, path: &str, bytes: Bytes, old: bool) {
        let before = lock(&self.files).insert(path.to_owned(), Stored { bytes, old });
        assert!(before.is_none(), "{path} is written a second time");
    }
}

/// Locks what a failed assertion may have poisoned.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The world's files as one process sees them: an await point before and after every effect.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Scheduled {
    #[serde(skip)]
    world: Arc<World>,
    process: u64,
}

impl Scheduled {
    async fn effect<T>(&self, what: &str, path: &str, effect: impl FnOnce(&World) -> T) -> T {
        self.world.point(self.process, what, path).await;
        let done = effect(&self.world);
        self.world.point(self.process, "after", path).await;
        done
    }
}

#[typetag::serde(name = "ScheduledFactory")]
impl StorageFactory for Scheduled {
    fn build(&self, _: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

impl ObjectStorage for Scheduled {
    fn list(&self, _: &StorageConfig, folder: &str) -> Listing {
        let (this, folder) = (self.clone(), format!("{}/", folder.trim_end_matches('/')));
        let pages = async move {
            let files = this
                .effect("list", &folder, |world| lock(&world.files).clone())
                .await;
            let below = files.into_iter().filter(|(path, _)| path.starts_with(&folder));
            let listed: Vec<_> = below.map(|(path, file)| listed(path, &file)).collect();
            futures::stream::iter([Ok(listed)])
        };
        futures::stream::once(pages).flatten().boxed()
    }
}

fn listed(location: String, file: &Stored) -> ListedFile {
    let age = if file.old { -1 } else { 1 };
    ListedFile {
        location,
        bytes: file.bytes.len() as u64,
        modified: Some(Timestamp::from_micros(CUTOFF.as_micros() + age)),
    }
}

#[async_trait]
#[typetag::serde(name = "ScheduledStorage")]
impl Storage for Scheduled {
    async fn exists(&self, path: &str) -> Result<bool> {
        self.effect("exists", path, |world| Ok(world.get(path).is_ok()))
            .await
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let bytes = self.effect("size", path, |world| world.get(path)).await?;
        Ok(FileMetadata {
            size: bytes.len() as u64,
        })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        self.effect("read", path, |world| world.get(path)).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        let (storage, path) = (self.clone(), path.to_owned());
        Ok(Box::new(Reader { storage, path }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.effect("write", path, |world| world.put(path, bytes, false))
            .await;
        Ok(())
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        let (storage, path) = (self.clone(), path.to_owned());
        let written = Vec::new();
        Ok(Box::new(Writer {
            storage,
            path,
            written,
        }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.effect("delete", path, |world| drop(lock(&world.files).remove(path)))
            .await;
        Ok(())
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        panic!("nobody may delete everything below {path}")
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
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

struct Reader {
    storage: Scheduled,
    path: String,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.storage.read(&self.path).await?;
        let end = (range.end as usize).min(bytes.len());
        Ok(bytes.slice((range.start as usize).min(end)..end))
    }
}

struct Writer {
    storage: Scheduled,
    path: String,
    written: Vec<u8>,
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.written.extend_from_slice(&bytes);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let written = std::mem::take(&mut self.written);
        self.storage.write(&self.path, written.into()).await
    }
}
