//! Sifts a listing: what is old, visible, of this table and unreferenced stays as a candidate.

use std::collections::{BTreeSet, HashSet};

use snowpack_catalog::{ListedFile, LoadedTable};
use snowpack_domain::{OrphanRemoval, PrefixMismatch, Timestamp};

use super::error::OrphanError;
use super::identity::FileUri;
use super::places::Place;
use super::plan::{Orphan, human_bytes};
use super::reachable::Reachability;
use super::reached::Verdict;
use super::visible::{Visibility, own_roots, table_of};

/// Most files removed by one run, which holds their names in memory. The next run finds the rest.
pub(crate) const MOST_ORPHANS: usize = 1_000_000;
/// Most other tables recognised inside a location.
const MOST_TABLES_INSIDE: usize = 10_000;
/// Prefix pairs named in an error; more would not be read.
const PAIRS_NAMED: usize = 10;

/// The sifting of one place.
#[derive(Debug)]
pub(crate) struct Sieve<'a> {
    table: String,
    place: &'a Place,
    settings: &'a OrphanRemoval,
    visibility: Visibility,
    own_roots: HashSet<FileUri>,
    most_orphans: usize,
    seen: Seen,
}

/// What a listing showed.
#[derive(Debug, Default)]
struct Seen {
    files: u64,
    bytes: u64,
    dead_bytes: u64,
    candidates: Vec<Orphan>,
    /// More candidates than are held.
    overflowed: bool,
    tables: HashSet<FileUri>,
    mismatches: BTreeSet<(String, String)>,
}

/// What is left of a listing.
#[derive(Debug, Default)]
pub(crate) struct Sifted {
    /// Files listed, hidden ones left out.
    pub(crate) listed: u64,
    pub(crate) orphans: Vec<Orphan>,
    /// There are more orphans than one run removes.
    pub(crate) overflowed: bool,
}

impl<'a> Sieve<'a> {
    pub(crate) fn new(
        table: &LoadedTable,
        place: &'a Place,
        settings: &'a OrphanRemoval,
        reach: &Reachability,
    ) -> Self {
        Self {
            table: table.id.to_string(),
            place,
            settings,
            visibility: Visibility::of(&table.metadata),
            own_roots: own_roots(&table.metadata, &table.metadata_location, reach.names()),
            most_orphans: MOST_ORPHANS,
            seen: Seen::default(),
        }
    }

    /// Takes one page of the listing.
    ///
    /// # Errors
    /// [`OrphanError::Warehouse`].
    pub(crate) fn take(&mut self, page: Vec<ListedFile>, reach: &Reachability) -> Result<(), OrphanError> {
        for file in page {
            let inside = file.location.strip_prefix(&self.place.spelled);
            if inside.is_none_or(|path| self.visibility.is_hidden(path)) {
                continue;
            }
            self.seen.files += 1;
            self.seen.bytes += file.bytes;
            self.visit(file, reach);
        }
        if self.seen.tables.len() > MOST_TABLES_INSIDE {
            return Err(OrphanError::Warehouse {
                table: self.table.clone(),
                location: self.place.spelled.clone(),
                most: MOST_TABLES_INSIDE,
            });
        }
        Ok(())
    }

    fn visit(&mut self, file: ListedFile, reach: &Reachability) {
        let uri = reach.names().place(&file.location);
        if let Some(root) = table_of(&uri).filter(|root| !self.own_roots.contains(root)) {
            self.seen.tables.insert(root);
        }
        // What does not say how old it is may be new.
        let old = |modified: &Timestamp| *modified < self.settings.older_than;
        let Some(modified) = file.modified.filter(old) else {
            return;
        };
        let orphan = Orphan {
            location: file.location,
            bytes: file.bytes,
            modified,
        };
        match reach.judge(&uri) {
            Verdict::Referenced => {}
            Verdict::Unreferenced => self.keep(orphan),
            Verdict::Mismatch(prefix) => match self.settings.prefix_mismatch {
                PrefixMismatch::Ignore => {}
                PrefixMismatch::Delete => self.keep(orphan),
                PrefixMismatch::Error => {
                    let pair = (prefix.to_string(), uri.prefix.to_string());
                    if self.seen.mismatches.len() < PAIRS_NAMED {
                        self.seen.mismatches.insert(pair);
                    }
                }
            },
        }
    }

    fn keep(&mut self, orphan: Orphan) {
        self.seen.dead_bytes += orphan.bytes;
        if self.seen.candidates.len() < self.most_orphans {
            self.seen.candidates.push(orphan);
        } else {
            self.seen.overflowed = true;
        }
    }

    /// What is left once the whole place was listed and `reach` knows the newest metadata.
    ///
    /// # Errors
    /// [`OrphanError::PrefixMismatch`], and [`OrphanError::TooManyDead`].
    pub(crate) fn finish(self, reach: &Reachability) -> Result<Sifted, OrphanError> {
        let Self {
            table,
            place,
            settings,
            seen,
            ..
        } = self;
        if !seen.mismatches.is_empty() {
            let pairs = seen
                .mismatches
                .iter()
                .map(|(valid, listed)| format!("{valid} {listed}"));
            let pairs = pairs.collect::<Vec<_>>().join(", ");
            return Err(OrphanError::PrefixMismatch { table, pairs });
        }
        let (mut listed_bytes, mut dead_bytes) = (seen.bytes, seen.dead_bytes);
        let mut orphans = seen.candidates;
        orphans.retain(|orphan| {
            let uri = reach.names().place(&orphan.location);
            let is_foreign = is_inside(&seen.tables, &uri);
            if is_foreign {
                listed_bytes -= orphan.bytes;
            }
            let is_orphan = !is_foreign && is_unreferenced(reach, &uri, settings);
            if !is_orphan {
                dead_bytes -= orphan.bytes;
            }
            is_orphan
        });
        if dead_bytes as f64 > settings.max_orphan_ratio * listed_bytes as f64 {
            return Err(OrphanError::TooManyDead {
                table,
                location: place.spelled.clone(),
                dead: human_bytes(dead_bytes),
                listed: human_bytes(listed_bytes),
                most: settings.max_orphan_ratio,
            });
        }
        Ok(Sifted {
            listed: seen.files,
            orphans,
            overflowed: seen.overflowed,
        })
    }
}

#[cfg(test)]
impl Sieve<'_> {
    /// Holds no more candidates than this.
    pub(crate) fn holding(mut self, most: usize) -> Self {
        self.most_orphans = most;
        self
    }

    /// Sees what this shows.
    pub(crate) fn seeing(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }
}

/// Whether nothing references a file, or only under another prefix where that does not count.
pub(crate) fn is_unreferenced(reach: &Reachability, file: &FileUri, settings: &OrphanRemoval) -> bool {
    match reach.judge(file) {
        Verdict::Unreferenced => true,
        Verdict::Mismatch(_) => settings.prefix_mismatch == PrefixMismatch::Delete,
        Verdict::Referenced => false,
    }
}

/// Whether a file lies in the location of one of the tables.
fn is_inside(tables: &HashSet<FileUri>, file: &FileUri) -> bool {
    if tables.is_empty() {
        return false;
    }
    let mut folder = file.clone();
    while let Some(slash) = folder.path.rfind('/') {
        folder.path.truncate(slash.max(1));
        if tables.contains(&folder) {
            return true;
        }
        if slash == 0 {
            return false;
        }
    }
    false
}
