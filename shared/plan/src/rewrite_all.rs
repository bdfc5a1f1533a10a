//! The option `rewrite-all`: every file whatever its size, but each at most once for a job.
//!
//! A job may take several slices or attempts, and each plans anew. Without a memory of its own it would find all its
//! files to rewrite every time and never end. The memory is the table: the summary of every snapshot of ours names the
//! job that made it, and a manifest entry the snapshot that added its file.

use std::collections::HashSet;

use iceberg::spec::{SnapshotRef, TableMetadata};
use snowpack_domain::{Action, JobId};

use crate::rewrite::ACTION_SUMMARY_KEY;
use crate::types::LiveFile;

/// Snapshot summary property: the job whose commit made the snapshot.
pub const JOB_SUMMARY_KEY: &str = "snowpack.job-id";

/// The snapshots that the part of `job` that runs `action` has made and that the metadata still has, whether or not
/// they are in the history of a branch.
pub fn snapshots_of<'a>(
    metadata: &'a TableMetadata,
    action: Action,
    job: &'a JobId,
) -> impl Iterator<Item = &'a SnapshotRef> {
    let stated = [
        (JOB_SUMMARY_KEY, job.as_str()),
        (ACTION_SUMMARY_KEY, action.as_str()),
    ];
    metadata.snapshots().filter(move |snapshot| {
        let summary = &snapshot.summary().additional_properties;
        let says = |name: &str, value: &str| summary.get(name).is_some_and(|found| found == value);
        stated.iter().all(|(name, value)| says(name, value))
    })
}

/// What `rewrite-all` asks for, and what of it the job has done.
#[derive(Debug)]
pub(crate) struct RewriteAll {
    asked: bool,
    done: HashSet<i64>,
}

impl RewriteAll {
    /// For the part of `job` that runs `action`; a run without a job has done nothing before.
    pub(crate) fn new(asked: bool, metadata: &TableMetadata, action: Action, job: Option<&JobId>) -> Self {
        let job = job.filter(|_| asked);
        let done = job
            .into_iter()
            .flat_map(|job| snapshots_of(metadata, action, job));
        Self {
            asked,
            done: done.map(|snapshot| snapshot.snapshot_id()).collect(),
        }
    }

    /// Whether size and deletes do not matter.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Whether the job wrote this file, so that it is not to be rewritten again.
    pub(crate) fn wrote(&self, file: &LiveFile) -> bool {
        self.done.contains(&file.snapshot_id)
    }
}

#[cfg(test)]
mod tests;
