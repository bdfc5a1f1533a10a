//! The naive reference of every list of jobs: filter everything, sort everything.

use std::cmp::Reverse;

use snowpack_domain::Job;
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
