//! The files a table references, in 16 bytes each, and what they say about a listed file.

use std::collections::HashSet;

use super::identity::{FileUri, PathHash, Prefix};

/// Referenced files by prefix. A table's files have one prefix, or a few.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    by_prefix: Vec<(Prefix, HashSet<PathHash>)>,
}

/// What the references say about a listed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Something references it.
    Referenced,
    /// Something references this path under another prefix, which may or may not be the same file.
    Mismatch(Prefix),
    /// Nothing references it.
    Unreferenced,
}

impl Reached {
    pub(crate) fn insert(&mut self, file: &FileUri) {
        let known = self
            .by_prefix
            .iter()
            .position(|(prefix, _)| *prefix == file.prefix);
        let index = known.unwrap_or_else(|| {
            self.by_prefix.push((file.prefix.clone(), HashSet::new()));
            self.by_prefix.len() - 1
        });
        self.by_prefix[index].1.insert(file.path_hash());
    }

    /// Judges a listed file. A reference that matches wins over all that do not.
    pub(crate) fn judge(&self, listed: &FileUri) -> Verdict {
        let path = listed.path_hash();
        let mut verdict = Verdict::Unreferenced;
        for (prefix, files) in &self.by_prefix {
            if files.contains(&path) {
                if prefix.matches(&listed.prefix) {
                    return Verdict::Referenced;
                }
                verdict = Verdict::Mismatch(prefix.clone());
            }
        }
        verdict
    }
}
