//! Counts what a rewrite did, and says it.

use std::collections::{BTreeMap, HashSet};

use iceberg::spec::DataFile;
use snowpack_domain::{Metric, TableId};
use snowpack_plan::SkipReason;
use snowpack_telemetry::events::COMMIT_CONFLICT;

use crate::commit::{Conflict, Replacement};
use crate::report::{Report, counted};

/// Files of groups that were dropped because other writers changed them, as a skip reason.
const CONFLICT: &str = "conflict";

fn vectors<'a>(files: impl IntoIterator<Item = &'a DataFile>) -> u64 {
    let is_vector = |file: &&DataFile| file.content_offset().is_some();
    files.into_iter().filter(is_vector).count() as u64
}

/// What was committed so far, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    files_in: u64,
    files_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    rows_in: u64,
    rows_out: u64,
    rows_deleted: u64,
    groups: u64,
    groups_failed: u64,
    /// New vectors of committed groups that other writers made superfluous.
    left_out: u64,
    dangling: u64,
    vectors_in: u64,
    vectors_out: u64,
    /// Puffin files that were counted.
    puffin_files: HashSet<String>,
    /// Delete files removed by the commits.
    pub(crate) delete_files_removed: u64,
    /// Commits applied.
    pub(crate) commits: u64,
    /// Commits given up.
    pub(crate) commits_failed: u64,
    /// Compare-and-sets lost.
    pub(crate) conflicts: u64,
    skipped: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Starts with what the plan left alone.
    pub(crate) fn new(skipped: &BTreeMap<SkipReason, u64>) -> Self {
        Self {
            skipped: skipped
                .iter()
                .map(|(reason, count)| (reason.as_str(), *count))
                .collect(),
            ..Self::default()
        }
    }

    /// Counts a committed group, of which `whole` was to be committed.
    pub(crate) fn committed(&mut self, group: &Replacement, whole: &Replacement) {
        for file in &group.replaced {
            let (files, bytes) = self.size(&file.file);
            self.files_in += files;
            self.bytes_in += bytes;
        }
        for file in &group.added {
            let (files, bytes) = self.size(file);
            self.files_out += files;
            self.bytes_out += bytes;
        }
        self.vectors_in += vectors(group.replaced.iter().map(|file| &file.file));
        self.vectors_out += vectors(&group.added);
        let left_out = (whole.added.len() - group.added.len()) as u64;
        if left_out > 0 {
            self.left_out += left_out;
            *self.skipped.entry(CONFLICT).or_default() += left_out;
        }
        self.rows_in += group.rows_in();
        self.rows_out += group.rows_out();
        self.rows_deleted += group.rows_deleted;
        self.dangling += group.dangling;
        self.groups += 1;
    }

    /// How many files, of how many bytes, one entry stands for. Deletion vectors count with their own bytes, and
    /// the Puffin file that holds many counts once.
    fn size(&mut self, file: &DataFile) -> (u64, u64) {
        match file.content_size_in_bytes().map(u64::try_from) {
            Some(Ok(bytes)) => {
                let is_first = self.puffin_files.insert(file.file_path().to_owned());
                (u64::from(is_first), bytes)
            }
            _ => (1, file.file_size_in_bytes()),
        }
    }

    /// Counts a group dropped for a conflict.
    pub(crate) fn dropped(&mut self, table: &TableId, group: &Replacement, conflict: &Conflict) {
        tracing::info!(event = COMMIT_CONFLICT.name, %table, group = group.group, cause = %conflict);
        self.failed(group);
    }

    /// Counts a group whose commit was given up.
    pub(crate) fn failed(&mut self, group: &Replacement) {
        self.groups_failed += 1;
        *self.skipped.entry(CONFLICT).or_default() += group.replaced.len() as u64;
    }

    /// The result of a rewrite of data files that ran.
    pub(crate) fn compacted(&self) -> Report {
        self.report(format!(
            "Compacted {} files into {} files",
            self.files_in, self.files_out
        ))
    }

    /// The result of a rewrite of position-delete files that ran. Dangling are those of the files read in which
    /// no position applied to a live data file.
    pub(crate) fn packed(&self) -> Report {
        let files = counted(self.files_in, "position delete file");
        let dropped = match self.dangling {
            0 => String::new(),
            dangling => format!(", dropped {dangling} dangling"),
        };
        self.report(format!("Rewrote {files} into {}{dropped}", self.files_out))
            .with("dangling_files", self.dangling)
            .with("vectors_in", self.vectors_in)
            .with("vectors_out", self.vectors_out)
    }

    fn report(&self, mut message: String) -> Report {
        let left = [
            (self.groups_failed, "file group"),
            (self.left_out, "deletion vector"),
        ];
        for (count, noun) in left.into_iter().filter(|(count, _)| *count > 0) {
            let left = counted(count, noun);
            message.push_str(&format!("; left {left} that other writers changed meanwhile"));
        }
        let mut report = Report::new(message, self.counts());
        for (reason, count) in &self.skipped {
            report
                .metrics
                .insert(format!("skipped.{reason}"), Metric::Count(*count));
        }
        report
    }

    /// The result when the plan was empty.
    pub(crate) fn nothing_to_do(&self, files_considered: u64, noun: &str) -> Report {
        let reasons: Vec<_> = self
            .skipped
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(why, count)| format!("{why} {count}"))
            .collect();
        let message = match (files_considered, reasons.is_empty()) {
            (0, _) => format!("Nothing to do: the table has no {noun}s"),
            (files, true) => format!("Nothing to do: none of {} needs a rewrite", counted(files, noun)),
            (files, false) => {
                let files = counted(files, noun);
                format!(
                    "Nothing to do: none of {files} needs a rewrite ({})",
                    reasons.join(", ")
                )
            }
        };
        self.report(message)
    }

    fn counts(&self) -> [(&'static str, u64); 12] {
        [
            ("files_in", self.files_in),
            ("files_out", self.files_out),
            ("delete_files_removed", self.delete_files_removed),
            ("bytes_in", self.bytes_in),
            ("bytes_out", self.bytes_out),
            ("rows_in", self.rows_in),
            ("rows_out", self.rows_out),
            ("rows_deleted", self.rows_deleted),
            ("file_groups", self.groups),
            ("file_groups_failed", self.groups_failed),
            ("commits", self.commits),
            ("conflicts", self.conflicts),
        ]
    }
}
