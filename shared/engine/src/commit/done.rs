//! What commits of a rewrite did, in numbers.
//!
//! A job's action may take several slices or attempts, and its result tells of all of them. The memory is the
//! table: each commit states its numbers in the summary of its snapshot, which also names job and action.

use std::collections::{BTreeMap, HashSet};

use iceberg::spec::{DataFile, Summary, TableMetadata};
use snowpack_domain::{Action, JobId};
use snowpack_plan::snapshots_of;

use super::replace::Replacement;

/// What the names of our own summary properties start with.
const OURS: &str = "snowpack.";

/// The numbers of one commit, or of several added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Commits.
    pub(crate) commits: u64,
    /// File groups.
    pub(crate) groups: u64,
    /// Files replaced; a Puffin file of which vectors are replaced counts once.
    pub(crate) files_in: u64,
    /// Files written; a Puffin file counts once.
    pub(crate) files_out: u64,
    /// Bytes of the files replaced; of deletion vectors their own.
    pub(crate) bytes_in: u64,
    /// Bytes of the files written; of deletion vectors their own.
    pub(crate) bytes_out: u64,
    /// Rows or positions of the files replaced.
    pub(crate) rows_in: u64,
    /// Rows or positions of the files written.
    pub(crate) rows_out: u64,
    /// Rows that deletes removed, or positions dropped.
    pub(crate) rows_deleted: u64,
    /// Delete files replaced that applied to no live data file.
    pub(crate) dangling: u64,
    /// Delete files removed, replaced or not.
    pub(crate) delete_files_removed: u64,
    /// Deletion vectors removed.
    pub(crate) vectors_in: u64,
    /// Deletion vectors written.
    pub(crate) vectors_out: u64,
}

impl Done {
    /// One commit of `groups` that removes so many delete files. `counted` are Puffin files that earlier commits
    /// of the same run have counted.
    pub(super) fn of(groups: &[&Replacement], delete_files_removed: u64, counted: &HashSet<String>) -> Self {
        let mut done = Self {
            commits: 1,
            groups: groups.len() as u64,
            delete_files_removed,
            ..Self::default()
        };
        let mut seen = HashSet::new();
        let mut size = |file: &DataFile| {
            let is_first = match puffin_file(file) {
                Some(path) => !counted.contains(path) && seen.insert(path.to_owned()),
                None => true,
            };
            (u64::from(is_first), bytes(file))
        };
        for group in groups {
            for file in &group.replaced {
                let (files, bytes) = size(&file.file);
                done.files_in += files;
                done.bytes_in += bytes;
                done.vectors_in += u64::from(puffin_file(&file.file).is_some());
            }
            for file in &group.added {
                let (files, bytes) = size(file);
                done.files_out += files;
                done.bytes_out += bytes;
                done.vectors_out += u64::from(puffin_file(file).is_some());
            }
            done.rows_in += group.rows_in();
            done.rows_out += group.rows_out();
            done.rows_deleted += group.rows_deleted;
            done.dangling += group.dangling;
        }
        done
    }

    /// What the part of `job` that runs `action` has committed so far, as far as the metadata still has its
    /// snapshots; nothing for a run without a job.
    pub(crate) fn before(metadata: &TableMetadata, action: Action, job: Option<&JobId>) -> Self {
        let mut sum = Self::default();
        for snapshot in job
            .into_iter()
            .flat_map(|job| snapshots_of(metadata, action, job))
        {
            sum.add(Self::stated_by(snapshot.summary()));
        }
        sum
    }

    /// What a summary states. A number that is missing or cannot be read counts as none.
    fn stated_by(summary: &Summary) -> Self {
        let mut done = Self {
            commits: 1,
            ..Self::default()
        };
        for (name, count) in done.counts() {
            let stated = summary.additional_properties.get(name);
            *count = stated.and_then(|stated| stated.parse().ok()).unwrap_or(0);
        }
        done
    }

    /// The properties that state one commit, besides Iceberg's own counters. Like those, none is stated as 0.
    pub(super) fn stated(mut self) -> BTreeMap<String, String> {
        let ours = self
            .counts()
            .into_iter()
            .filter(|(name, _)| name.starts_with(OURS));
        ours.filter(|(_, count)| **count > 0)
            .map(|(name, count)| (name.to_owned(), count.to_string()))
            .collect()
    }

    /// Adds what other commits did.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.commits = self.commits.saturating_add(other.commits);
        for ((_, sum), (_, more)) in self.counts().into_iter().zip(other.counts()) {
            *sum = sum.saturating_add(*more);
        }
    }

    /// Every number but the commits, which are one for each summary, with the property that states it: Iceberg's
    /// where that says the same, else ours.
    fn counts(&mut self) -> [(&'static str, &mut u64); 12] {
        [
            ("snowpack.file-groups", &mut self.groups),
            ("snowpack.files-in", &mut self.files_in),
            ("snowpack.files-out", &mut self.files_out),
            ("snowpack.bytes-in", &mut self.bytes_in),
            ("added-files-size", &mut self.bytes_out),
            ("snowpack.rows-in", &mut self.rows_in),
            ("snowpack.rows-out", &mut self.rows_out),
            ("snowpack.rows-deleted", &mut self.rows_deleted),
            ("snowpack.dangling-files", &mut self.dangling),
            ("removed-delete-files", &mut self.delete_files_removed),
            ("removed-dvs", &mut self.vectors_in),
            ("added-dvs", &mut self.vectors_out),
        ]
    }
}

/// The Puffin file that a deletion vector is in.
pub(crate) fn puffin_file(file: &DataFile) -> Option<&str> {
    file.content_offset().map(|_| file.file_path())
}

fn bytes(file: &DataFile) -> u64 {
    let of_vector = file.content_size_in_bytes().map(u64::try_from);
    match of_vector {
        Some(Ok(bytes)) => bytes,
        _ => file.file_size_in_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use iceberg::spec::Operation;

    use super::*;

    fn summary(properties: impl IntoIterator<Item = (String, String)>) -> Summary {
        Summary {
            operation: Operation::Replace,
            additional_properties: HashMap::from_iter(properties),
        }
    }

    #[test]
    fn what_a_commit_states_is_read_back() {
        let mut done = Done {
            commits: 1,
            ..Done::default()
        };
        for (number, (_, count)) in (1..).zip(done.counts()) {
            *count = number;
        }
        let iceberg = [
            ("added-files-size", done.bytes_out),
            ("removed-delete-files", done.delete_files_removed),
            ("removed-dvs", done.vectors_in),
            ("added-dvs", done.vectors_out),
        ];
        let iceberg = iceberg.map(|(name, count)| (name.to_owned(), count.to_string()));
        assert_eq!(
            Done::stated_by(&summary(done.stated().into_iter().chain(iceberg))),
            done
        );
        let nothing = Done::default();
        assert_eq!(nothing.stated(), BTreeMap::new());
    }

    #[test]
    fn numbers_that_are_missing_or_garbled_or_huge_break_nothing() {
        let garbled = [
            ("snowpack.files-in", "-3"),
            ("snowpack.files-out", "many"),
            ("snowpack.bytes-in", ""),
            ("snowpack.rows-in", "18446744073709551616"),
            ("snowpack.rows-out", "18446744073709551615"),
            ("snowpack.from-the-future", "7"),
        ];
        let garbled = garbled.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut sum = Done::stated_by(&summary(garbled));
        let expected = Done {
            commits: 1,
            rows_out: u64::MAX,
            ..Done::default()
        };
        assert_eq!(sum, expected);
        sum.add(expected);
        assert_eq!((sum.commits, sum.rows_out), (2, u64::MAX));
    }
}
