//! A crash on purpose: the process kills itself at a named point, so that tests prove that jobs survive it.

use rustix::process::{Signal, getpid, kill_process};

/// The worker holds the job and has not begun its first action. The other points are the engine's.
pub const AFTER_CLAIM: &str = "after-claim";

/// Where the process is to die, as by `kill -9`: at once, with nothing cleaned up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashPoint(String);

impl CrashPoint {
    /// At the point of that name: [`AFTER_CLAIM`], or one of the engine's `points`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Dies if this is the point.
    pub(crate) fn reached(&self, point: &str) {
        if self.0 == point {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            // Until the signal arrives, nothing more may happen.
            loop {
                std::thread::park();
            }
        }
    }
}
