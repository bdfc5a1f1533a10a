//! The naive model of a table: files with rows, which of them are live, and commits by compare-and-set.

use std::collections::{BTreeMap, BTreeSet};

use snowpack_domain::Violation;

pub(crate) type FileId = u64;
pub(crate) type Row = u64;

/// What a commit changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) snapshot: u64,
    /// Live files that stop being live; a snapshot of the past still refers to them.
    pub(crate) removed: BTreeSet<FileId>,
    pub(crate) added: BTreeSet<FileId>,
    /// Files that no snapshot refers to any more.
    pub(crate) expired: BTreeSet<FileId>,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) version: u64,
    /// Rows of every file that was ever written: files never change.
    rows: BTreeMap<FileId, Vec<Row>>,
    existing: BTreeSet<FileId>,
    pub(crate) live: BTreeSet<FileId>,
    /// Not live, but referred to by a snapshot of the past.
    pub(crate) old: BTreeSet<FileId>,
    /// Referred to by nothing any more.
    pub(crate) expired: BTreeSet<FileId>,
    pub(crate) snapshots: BTreeSet<u64>,
    /// The rows that writers left in the table, each once.
    expected: BTreeSet<Row>,
    written: u64,
}

impl Table {
    pub(crate) fn write(&mut self, rows: Vec<Row>) -> FileId {
        self.written += 1;
        self.rows.insert(self.written, rows);
        self.existing.insert(self.written);
        self.written
    }

    /// The rows of a file, unless it was deleted.
    pub(crate) fn read(&self, file: FileId) -> Option<Vec<Row>> {
        let exists = self.existing.contains(&file);
        exists.then(|| self.rows[&file].clone())
    }

    pub(crate) fn size(&self, file: FileId) -> usize {
        self.rows[&file].len()
    }

    /// A writer outside of the system appends new rows.
    pub(crate) fn append(&mut self, count: usize) {
        let first = self
            .expected
            .last()
            .copied()
            .unwrap_or(0)
            .max(self.written * 1000)
            + 1;
        let rows: Vec<Row> = (first..).take(count).collect();
        self.expected.extend(&rows);
        let file = self.write(rows);
        let change = Change {
            added: [file].into(),
            ..Change::default()
        };
        self.apply(&change);
    }

    /// A writer outside of the system removes a live file and with it its rows.
    pub(crate) fn remove(&mut self, file: FileId) {
        for row in &self.rows[&file] {
            self.expected.remove(row);
        }
        let change = Change {
            removed: [file].into(),
            ..Change::default()
        };
        self.apply(&change);
    }

    /// Commits over the version that the caller planned on; `false` when another commit was first.
    pub(crate) fn commit(&mut self, base: u64, change: &Change) -> bool {
        let first = self.version == base;
        if first {
            self.apply(change);
        }
        first
    }

    /// Commits whatever was committed before.
    pub(crate) fn apply(&mut self, change: &Change) {
        self.version += 1;
        self.snapshots.insert(change.snapshot);
        for file in &change.removed {
            self.live.remove(file);
            self.old.insert(*file);
        }
        self.live.extend(&change.added);
        for file in &change.expired {
            self.old.remove(file);
            self.expired.insert(*file);
        }
    }

    /// Deletes a file; deleting twice is harmless.
    ///
    /// # Errors
    /// `TB-1`: something refers to it.
    pub(crate) fn delete(&mut self, file: FileId) -> Result<(), Violation> {
        self.existing.remove(&file);
        let referred = self.live.contains(&file) || self.old.contains(&file);
        ensure(!referred, "TB-1", || {
            format!("file {file} was deleted while in use")
        })
    }

    /// What must hold after every change.
    ///
    /// - `TB-4`: the live files hold every row that writers left, each once.
    /// - `TB-1`: every file that something refers to exists.
    /// - `TB-5`: what nothing refers to is either expired or was never committed.
    ///
    /// # Errors
    /// The first [`Violation`] found.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        let mut rows: Vec<Row> = self
            .live
            .iter()
            .flat_map(|file| &self.rows[file])
            .copied()
            .collect();
        rows.sort_unstable();
        let whole = rows.iter().eq(self.expected.iter());
        ensure(whole, "TB-4", || {
            let mut lost = self.expected.clone();
            rows.iter().for_each(|row| _ = lost.remove(row));
            format!(
                "{} rows, expected {}; lost {lost:?}",
                rows.len(),
                self.expected.len()
            )
        })?;
        let mut referred = self.live.union(&self.old);
        ensure(referred.all(|file| self.existing.contains(file)), "TB-1", || {
            let missing = self
                .live
                .union(&self.old)
                .filter(|file| !self.existing.contains(file));
            format!("files {:?} are missing", missing.collect::<Vec<_>>())
        })?;
        let parts = [&self.live, &self.old, &self.expired];
        let sum: usize = parts.iter().map(|part| part.len()).sum();
        let all: BTreeSet<_> = parts.into_iter().flatten().collect();
        ensure(sum == all.len(), "TB-5", || {
            format!(
                "live {:?}, old {:?}, expired {:?}",
                self.live, self.old, self.expired
            )
        })
    }
}

fn ensure(holds: bool, invariant: &'static str, seen: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            invariant,
            seen: seen(),
        })
    }
}
