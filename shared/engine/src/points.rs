//! Names of the engine's fault points: where a kill test may stop the process
//! ([`snowpack_service::ports::Supervisor::reached`]).

/// A file group's inputs are being read; nothing is complete yet.
pub const MID_READ: &str = "mid-read";
/// A file group's new data files are complete and nothing refers to them.
pub const FILES_WRITTEN: &str = "files-written";
/// A file group's new data files are complete and about to be read back.
pub const BEFORE_VERIFY: &str = "before-verify";
/// Manifests and manifest list are written; the compare-and-set comes next.
pub const BEFORE_COMMIT: &str = "before-commit";
/// The compare-and-set was applied; nobody was told yet.
pub const AFTER_COMMIT: &str = "after-commit";
/// A batch of deletes is done and another one follows.
pub const MID_DELETE: &str = "mid-delete";
