//! What the house rules look at: the workspace's files and its graph of crates.
//!
//! The rules are the tests beside this crate. Each names every offender at once and says what to do.

mod crates;
mod sources;

use std::path::{Path, PathBuf};

pub use crates::{Graph, Package};
pub use sources::{Source, files, sources};

/// The workspace's root folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate lies two folders below the root")
        .to_owned()
}

/// Fails with the rule and everything that breaks it.
///
/// # Panics
/// When there is any offender.
pub fn assert_none(rule: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{rule}\n  {}", offenders.join("\n  "));
}
