//! The option `rewrite-all`: every file whatever its size, but each at most once for a job.
//!
//! A job may take several slices or attempts, and each plans anew. Without a memory of its own it would find all its
//! files to rewrite every time and never end. The memory is the table: the summary of every snapshot of ours names the
//! job that made it, and a manifest entry the snapshot that added its file.

use std::collections::HashSet;

use iceberg::spec::TableMetadata;
use snowpack_domain::{Action, JobId};

use crate::rewrite::ACTION_SUMMARY_KEY;
use crate::types::LiveFile;

/// Snapshot summary property: the job whose commit made the snapshot.
pub const JOB_SUMMARY_KEY: &str = "snowpack.job-id";

/// What `rewrite-all` asks for, and what of it the job has done.
#[derive(Debug)]
pub(crate) struct RewriteAll {
    asked: bool,
    done: HashSet<i64>,
}

impl RewriteAll {
    /// For the part of `job` that runs `action`; a run without a job has done nothing before.
    pub(crate) fn new(asked: bool, metadata: &TableMetadata, action: Action, job: Option<&JobId>) -> Self {
        let is_ours = |name: &str, value: &str, of: &iceberg::spec::SnapshotRef| {
            let stated = of.summary().additional_properties.get(name);
            stated.is_some_and(|stated| stated == value)
        };
        let job = job.filter(|_| asked);
        let done = job.into_iter().flat_map(|job| {
            let made = metadata.snapshots().filter(move |snapshot| {
                is_ours(JOB_SUMMARY_KEY, job.as_str(), snapshot)
                    && is_ours(ACTION_SUMMARY_KEY, action.as_str(), snapshot)
            });
            made.map(|snapshot| snapshot.snapshot_id())
        });
        Self {
            asked,
            done: done.collect(),
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
