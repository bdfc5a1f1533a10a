//! Counts what a rewrite did, and says it.

use std::collections::{BTreeMap, HashSet};

use snowpack_domain::{Metric, TableId};
use snowpack_plan::{Numbers, SkipReason};
use snowpack_telemetry::events::COMMIT_CONFLICT;

use crate::commit::{Conflict, Done, Replacement, puffin_file};
use crate::report::{Report, counted};

/// Files of groups that were dropped because other writers changed them, as a skip reason.
const CONFLICT: &str = "conflict";

/// What was committed so far, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// What earlier slices and attempts of the same job committed.
    before: Done,
    /// What this run committed.
    pub(crate) done: Done,
    /// Puffin files counted in it.
    pub(crate) counted: HashSet<String>,
    groups_failed: u64,
    /// New vectors of committed groups that other writers made superfluous.
    left_out: u64,
    /// Commits given up.
    pub(crate) commits_failed: u64,
    /// Compare-and-sets lost.
    pub(crate) conflicts: u64,
    skipped: BTreeMap<&'static str, u64>,
    /// What the plan of this run expected.
    forecast: Numbers,
}

impl Tally {
    /// Starts with what the plan left alone and expects, and what the job's earlier commits did.
    pub(crate) fn new(skipped: &BTreeMap<SkipReason, u64>, forecast: Numbers, before: Done) -> Self {
        Self {
            before,
            forecast,
            skipped: skipped
                .iter()
                .map(|(reason, count)| (reason.as_str(), *count))
                .collect(),
            ..Self::default()
        }
    }

    /// Whether the job has committed anything, in this run or before.
    pub(crate) fn has_commits(&self) -> bool {
        self.whole().commits > 0
    }

    fn whole(&self) -> Done {
        let mut whole = self.before;
        whole.add(self.done);
        whole
    }

    /// Notes a committed group, of which `whole` was to be committed.
    pub(crate) fn committed(&mut self, group: &Replacement, whole: &Replacement) {
        let replaced = group.replaced.iter().map(|file| &file.file);
        let paths = replaced.chain(&group.added).filter_map(puffin_file);
        self.counted.extend(paths.map(str::to_owned));
        let left_out = (whole.added.len() - group.added.len()) as u64;
        if left_out > 0 {
            self.left_out += left_out;
            *self.skipped.entry(CONFLICT).or_default() += left_out;
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
        let whole = self.whole();
        self.report(format!(
            "Compacted {} files into {} files",
            whole.files_in, whole.files_out
        ))
    }

    /// The result of a rewrite of position-delete files that ran. Dangling are those of the files read in which
    /// no position applied to a live data file.
    pub(crate) fn packed(&self) -> Report {
        let whole = self.whole();
        let files = counted(whole.files_in, "position delete file");
        let dropped = match whole.dangling {
            0 => String::new(),
            dangling => format!(", dropped {dangling} dangling"),
        };
        self.report(format!("Rewrote {files} into {}{dropped}", whole.files_out))
            .with("dangling_files", whole.dangling)
            .with("vectors_in", whole.vectors_in)
            .with("vectors_out", whole.vectors_out)
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
        let mut report = Report::new(message, self.counts()).predicted(self.expected());
        for (reason, count) in &self.skipped {
            report
                .metrics
                .insert(format!("skipped.{reason}"), Metric::Count(*count));
        }
        report
    }

    /// The result when the plan was empty and the job has committed nothing.
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

    /// What failed and what was lost is this run's alone: a later slice takes it up again.
    /// What was expected when this run began: what the job had done, and the rest as planned.
    fn expected(&self) -> Numbers {
        let mut expected = self.forecast.clone();
        let done = [
            ("files_in", self.before.files_in),
            ("files_out", self.before.files_out),
            ("bytes_in", self.before.bytes_in),
            ("rows_in", self.before.rows_in),
            ("file_groups", self.before.groups),
        ];
        for (name, done) in done {
            if let Some(Some(planned)) = expected.get_mut(name) {
                *planned = planned.saturating_add(done);
            }
        }
        expected
    }

    fn counts(&self) -> [(&'static str, u64); 12] {
        let whole = self.whole();
        [
            ("files_in", whole.files_in),
            ("files_out", whole.files_out),
            ("delete_files_removed", whole.delete_files_removed),
            ("bytes_in", whole.bytes_in),
            ("bytes_out", whole.bytes_out),
            ("rows_in", whole.rows_in),
            ("rows_out", whole.rows_out),
            ("rows_deleted", whole.rows_deleted),
            ("file_groups", whole.groups),
            ("file_groups_failed", self.groups_failed),
            ("commits", whole.commits),
            ("conflicts", self.conflicts),
        ]
    }
}
