//! Lists of jobs against a naive model, under change, and with cursors that are not theirs.

use std::collections::BTreeSet;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use snowpack_domain::{Job, JobId, JobStatus, needs_message};
use snowpack_service::TimeLimit;
use snowpack_service::ports::{JobFilter, JobStore, ListError, PageRequest, Versioned, Write, Written};

use super::steps::{all_pages, put_jobs};
use crate::model::{naive_counts, naive_list};
use crate::sample::{any_jobs, job_id, time};

/// Random sets of jobs to list; each is stored in a fresh store.
const SETS: usize = 6;

/// Sets of jobs that are the same in every run, so that a failure can be looked at again.
fn sets_of_jobs() -> Vec<Vec<Job>> {
    let mut runner = TestRunner::deterministic();
    let jobs = any_jobs();
    (0..SETS)
        .map(|_| {
            jobs.new_tree(&mut runner)
                .expect("no filter to exhaust")
                .current()
        })
        .collect()
}

fn every_filter() -> Vec<JobFilter> {
    let statuses = || std::iter::once(None).chain(JobStatus::ALL.map(Some));
    let mut filters = Vec::new();
    for status in statuses() {
        for database in [None, Some("a"), Some("a.b"), Some("none")] {
            for table in [None, Some("t")] {
                filters.extend([false, true].map(|finished_only| JobFilter {
                    status,
                    database: database.map(str::to_owned),
                    table: table.map(str::to_owned),
                    finished_only,
                }));
            }
        }
    }
    filters
}

pub(super) async fn pages_agree_with_the_naive_model<S: JobStore>(fresh: &impl AsyncFn() -> S) {
    for jobs in sets_of_jobs() {
        let store = fresh().await;
        put_jobs(&store, &jobs).await;
        for (number, filter) in every_filter().iter().enumerate() {
            let limit = [1, 3, 500][number % 3];
            let listed = all_pages(&store, filter, limit, None).await;
            assert_eq!(listed, naive_list(&jobs, filter), "{filter:?} at limit {limit}");
        }
    }
}

/// While a list is followed, jobs end and new ones arrive: what was there all along appears exactly once.
pub(super) async fn a_list_that_changes_repeats_nothing<S: JobStore>(store: &S) {
    let template = sets_of_jobs().into_iter().flatten().next().expect("a job");
    let pending = |number: u128| {
        let mut job = template.clone();
        job.id = job_id(number);
        job.submitted_at = time(i64::try_from(number).expect("small"));
        (job.status, job.completed_at, job.lease) = (JobStatus::Pending, None, None);
        job
    };
    let jobs: Vec<Job> = (1..=9).map(pending).collect();
    put_jobs(store, &jobs).await;
    let all = JobFilter::default();
    let first = store
        .jobs(
            &all,
            &PageRequest {
                limit: 4,
                cursor: None,
            },
        )
        .await
        .expect("list");
    put_jobs(store, &[pending(10)]).await;
    end(store, &jobs[1]).await;
    end(store, &jobs[8]).await;
    let rest = all_pages(store, &all, 2, first.next).await;
    let seen: Vec<JobId> = first.items.into_iter().chain(rest).map(|job| job.id).collect();
    assert_eq!(seen, (1..=9).rev().map(job_id).collect::<Vec<_>>());
}

async fn end(store: &impl JobStore, job: &Job) {
    let mut job = job.clone();
    (job.status, job.completed_at) = (JobStatus::Completed, Some(time(100)));
    let job = Some(Versioned {
        value: job,
        version: 1,
    });
    let write = Write {
        job,
        ..Write::default()
    };
    assert_eq!(store.write(&write).await.expect("write"), Written::Applied);
}

pub(super) async fn foreign_cursors_are_refused<S: JobStore>(store: &S) {
    let jobs = sets_of_jobs().remove(0);
    put_jobs(store, &jobs).await;
    let list = async |finished_only, cursor: Option<&str>| {
        let filter = JobFilter {
            finished_only,
            ..JobFilter::default()
        };
        let page = PageRequest {
            limit: 1,
            cursor: cursor.map(str::to_owned),
        };
        store.jobs(&filter, &page).await
    };
    let by_submission = list(false, None)
        .await
        .expect("list")
        .next
        .expect("a second page");
    let by_completion = list(true, None).await.expect("list").next.expect("a second page");
    for (finished_only, cursor) in [
        (false, by_completion.as_str()),
        (true, by_submission.as_str()),
        (false, ""),
        (true, "garbage"),
        (false, "s.1.'; DROP TABLE jobs"),
    ] {
        let refused = list(finished_only, Some(cursor)).await;
        assert!(matches!(refused, Err(ListError::BadCursor)), "{cursor:?}");
    }
    let page = PageRequest {
        limit: 1,
        cursor: Some(by_submission),
    };
    assert!(matches!(
        store.cache_entries(None, &page).await,
        Err(ListError::BadCursor)
    ));
}

pub(super) async fn jobs_needing_a_message_are_found<S: JobStore>(fresh: &impl AsyncFn() -> S) {
    for jobs in sets_of_jobs() {
        let store = fresh().await;
        put_jobs(&store, &jobs).await;
        for now in [0, 3600, 30 * 3600, 1_000_000].map(time) {
            let expected: BTreeSet<_> = jobs
                .iter()
                .filter(|job| needs_message(job, now))
                .map(|job| job.id.clone())
                .collect();
            let found = store.jobs_needing_message(now, 500).await.expect("list");
            assert_eq!(found.len(), expected.len());
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
            let some = store.jobs_needing_message(now, 2).await.expect("list");
            assert_eq!(some.len(), expected.len().min(2));
            assert!(some.iter().all(|id| expected.contains(id)));
        }
    }
}

pub(super) async fn jobs_are_counted<S: JobStore>(fresh: &impl AsyncFn() -> S) {
    for jobs in sets_of_jobs() {
        let store = fresh().await;
        put_jobs(&store, &jobs).await;
        for since in [0, 20 * 3600, 50 * 3600, 1_000_000].map(time) {
            let counts = store.job_counts(since).await.expect("count");
            assert_eq!(counts, naive_counts(&jobs, since), "since {since:?}");
        }
    }
}

pub(super) async fn a_purge_takes_only_old_finished_jobs<S: JobStore>(store: &S) {
    let jobs = sets_of_jobs().into_iter().max_by_key(Vec::len).expect("a set");
    put_jobs(store, &jobs).await;
    let all = JobFilter::default();
    let mut left = jobs;
    for before in [0, 24, 50, 1000].map(|hours| time(hours * 3600)) {
        let (kept, old): (Vec<Job>, Vec<Job>) = left
            .into_iter()
            .partition(|job| job.completed_at.is_none_or(|ended| ended >= before));
        assert_eq!(
            store.purge(before, TimeLimit::none()).await.expect("purge"),
            old.len() as u64
        );
        left = kept;
        assert_eq!(all_pages(store, &all, 500, None).await, naive_list(&left, &all));
    }
    assert!(left.iter().all(|job| !job.is_terminal()), "active jobs stay");
    let again = left.first().expect("an active job");
    assert!(store.job(&again.id).await.expect("read").is_some());
}
