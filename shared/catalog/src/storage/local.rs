//! Files on this machine. A file appears under its name only whole and synced, or not at all.
//!
//! Every call that touches the disk runs on the blocking pool, so that a slow disk never stalls a task.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::io::{FileRead, FileWrite};
use iceberg::{Error, ErrorKind, Result};
use uuid::Uuid;

pub(super) async fn exists(path: &str) -> Result<bool> {
    blocking("look for", Path::new(path), |path| path.try_exists()).await
}

pub(super) async fn size(path: &str) -> Result<u64> {
    blocking("stat", Path::new(path), |path| {
        fs::metadata(path).map(|found| found.len())
    })
    .await
}

pub(super) async fn read(path: &str) -> Result<Bytes> {
    blocking("read", Path::new(path), |path| fs::read(path).map(Bytes::from)).await
}

/// Deletes a file; one that is gone already is fine.
pub(super) async fn delete(path: &str) -> Result<()> {
    blocking("delete", Path::new(path), |path| match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    })
    .await
}

/// Reads ranges without a shared position, so that several tasks may read one file at once.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    file: Arc<File>,
    path: PathBuf,
}

impl Reader {
    pub(super) async fn open(path: &str) -> Result<Self> {
        let file = blocking("open", Path::new(path), |path| File::open(path)).await?;
        Ok(Self {
            file: Arc::new(file),
            path: PathBuf::from(path),
        })
    }
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let file = Arc::clone(&self.file);
        blocking("read", &self.path, move |_| {
            let length = range.end.saturating_sub(range.start);
            // Checked before allocating: a corrupt footer may ask for any length.
            if range.end > file.metadata()?.len() {
                let short = format!("bytes {}..{} lie past the end", range.start, range.end);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, short));
            }
            let length = usize::try_from(length).map_err(io::Error::other)?;
            let mut buffer = vec![0; length];
            file.read_exact_at(&mut buffer, range.start)?;
            Ok(Bytes::from(buffer))
        })
        .await
    }
}

/// Writes to a hidden file beside the target, which takes the target's name when closed.
#[derive(Debug)]
pub(super) struct Writer {
    target: PathBuf,
    /// Absent once closed, and while a write is under way.
    open: Option<Unfinished>,
}

/// A temporary file that disappears unless it is finished.
#[derive(Debug)]
struct Unfinished {
    file: File,
    temporary: PathBuf,
    finished: bool,
}

impl Unfinished {
    fn create(target: &Path) -> io::Result<Self> {
        let folder = parent(target);
        fs::create_dir_all(folder)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder.join(format!(".{name}.{}.tmp", Uuid::new_v4().simple()));
        Ok(Self {
            file: File::options().write(true).create_new(true).open(&temporary)?,
            temporary,
            finished: false,
        })
    }

    fn finish(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, target)?;
        self.finished = true;
        // The name itself must survive a power cut before a catalog may point at it.
        File::open(parent(target))?.sync_all()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // Nobody is left to tell; a hidden leftover harms no reader.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

impl Writer {
    pub(super) async fn create(path: &str) -> Result<Self> {
        let target = PathBuf::from(path);
        let open = blocking("create", &target, Unfinished::create).await?;
        Ok(Self {
            target,
            open: Some(open),
        })
    }

    fn take(&mut self) -> Result<Unfinished> {
        self.open.take().ok_or_else(|| {
            let message = format!(
                "cannot write {}: it is closed or failed before",
                self.target.display()
            );
            Error::new(ErrorKind::Unexpected, message)
        })
    }
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bs: Bytes) -> Result<()> {
        let mut open = self.take()?;
        let open = blocking("write", &self.target, move |_| {
            open.file.write_all(&bs)?;
            Ok(open)
        })
        .await?;
        self.open = Some(open);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let open = self.take()?;
        blocking("write", &self.target, move |target| open.finish(target)).await
    }
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Runs `work` on the blocking pool and names the file in whatever goes wrong.
pub(super) async fn blocking<T: Send + 'static>(
    verb: &str,
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let owned = path.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&owned)).await;
    done.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
        .map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => ErrorKind::DataInvalid,
                _ => ErrorKind::Unexpected,
            };
            Error::new(kind, format!("cannot {verb} {}", path.display())).with_source(error)
        })
}
