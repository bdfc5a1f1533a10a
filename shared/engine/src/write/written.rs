//! A log of the files an action created, so that what is not committed can be removed.

use std::sync::Mutex;

/// Every location written to, in order. A location is noted before its file is created, so that a crash
/// or an error in between can not hide a file.
#[derive(Debug, Default)]
pub(crate) struct WrittenFiles {
    locations: Mutex<Vec<String>>,
}

impl WrittenFiles {
    /// Notes a location that is about to be created.
    pub(crate) fn register(&self, location: &str) {
        self.lock().push(location.to_owned());
    }

    /// Everything noted so far.
    pub(crate) fn locations(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.locations
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
