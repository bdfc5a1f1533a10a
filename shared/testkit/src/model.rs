//! The naive reference of every list of jobs: filter everything, sort everything.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use snowpack_domain::{Job, JobStatus, Timestamp};
use snowpack_service::ports::JobFilter;

/// Every job that matches, in the list's order.
pub fn naive_list(jobs: &[Job], filter: &JobFilter) -> Vec<Job> {
    let mut matching: Vec<Job> = jobs.iter().filter(|job| matches(job, filter)).cloned().collect();
    matching.sort_by_key(|job| {
        let time = if filter.finished_only {
            job.completed_at
        } else {
            Some(job.submitted_at)
        };
        Reverse((time, job.id.clone()))
    });
    matching
}

/// How many jobs are active, by status, and how many ended at `since` or later.
pub fn naive_counts<'a>(
    jobs: impl IntoIterator<Item = &'a Job>,
    since: Timestamp,
) -> BTreeMap<JobStatus, u64> {
    let mut counts = BTreeMap::from(JobStatus::ALL.map(|status| (status, 0)));
    for job in jobs {
        if job.completed_at.is_none_or(|ended| ended >= since) {
            *counts.entry(job.status).or_default() += 1;
        }
    }
    counts
}

fn matches(job: &Job, filter: &JobFilter) -> bool {
    filter.status.is_none_or(|status| job.status == status)
        && filter
            .database
            .as_ref()
            .is_none_or(|name| job.table.database.as_str() == name)
        && filter
            .table
            .as_ref()
            .is_none_or(|name| job.table.table.as_str() == name)
        && (!filter.finished_only || job.is_terminal())
}
