//! The state folder: the embedded store, and the file lock that keeps a second server out.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context as _, bail};
use snowpack_embedded::SqliteStore;

/// An open state folder, held by this process alone.
pub(crate) struct State {
    pub(crate) store: SqliteStore,
    // The operating system frees it when the process ends, however it ends.
    _lock: File,
}

impl State {
    /// Opens the folder, creating it if needed.
    ///
    /// # Errors
    /// When another server uses it, or it cannot be written.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("server.lock");
        let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another snowpack server uses {}: stop it or choose another --state",
                    folder.display()
                )
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the state folder"),
        }
        let store = SqliteStore::open(&folder.join("state.db")).context("cannot open the job store")?;
        Ok(Self { store, _lock: lock })
    }
}
