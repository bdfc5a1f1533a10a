//! Runs of the orchestrator: what they submit, within which limits, and what they record.

use std::time::Duration;

use snowpack_domain::{
    Action, Drain, Enrolment, Job, JobStatus, Policy, Run, RunLimits, RunStatus, TableId, cancel,
};
use snowpack_service::ports::{
    JobFilter, JobStore as _, PageRequest, RunStore as _, Versioned, Write, Written,
};
use snowpack_service::{RunRequest, TimeLimit, sync_tables};

use snowpack_telemetry::Capture;

use super::lake::{Lake, policy};

const LIMITS: RunLimits = RunLimits {
    max_submissions: 3,
    max_active_jobs: 5,
};

/// Tables `db.t1` to `db.tN`, on which a rewrite takes 10, 20, ... files.
async fn lake_of(tables: u64) -> Lake {
    let lake = Lake::new();
    for number in 1..=tables {
        lake.table(&format!("db.t{number}"), |made| made.files_in = number * 10);
    }
    sync(&lake).await;
    lake
}

async fn sync(lake: &Lake) {
    sync_tables(&*lake.store, lake, &lake.clock, TimeLimit::none())
        .await
        .unwrap();
}

async fn run_with(lake: &Lake, policy: Policy, request: &RunRequest) -> Run {
    let orchestrator = lake.orchestrator(policy, LIMITS);
    orchestrator.run(request, TimeLimit::none()).await.unwrap()
}

async fn run(lake: &Lake) -> Run {
    run_with(lake, Policy::default(), &RunRequest::default()).await
}

async fn active(lake: &Lake) -> Vec<Job> {
    let filter = JobFilter {
        status: Some(JobStatus::Pending),
        ..JobFilter::default()
    };
    let page = PageRequest {
        limit: 500,
        cursor: None,
    };
    let mut jobs = lake.store.jobs(&filter, &page).await.unwrap().items;
    jobs.sort_by(|a, b| a.table.cmp(&b.table));
    jobs
}

async fn names(lake: &Lake) -> Vec<String> {
    active(lake)
        .await
        .iter()
        .map(|job| job.table.table.to_string())
        .collect()
}

#[tokio::test]
async fn the_tables_with_most_to_gain_come_first_within_the_limits() {
    let lake = lake_of(8).await;
    lake.table("db.healthy", |_| ());
    sync(&lake).await;
    let first = run(&lake).await;
    assert_eq!((first.status, first.jobs_submitted), (RunStatus::Completed, 3));
    assert_eq!(
        (first.tables_assessed, first.tables_healthy, first.tables_skipped),
        (9, 1, 0)
    );
    assert_eq!(names(&lake).await, ["t6", "t7", "t8"]);
    assert_eq!(active(&lake).await[0].actions, [Action::RewriteDataFiles]);
    let second = run(&lake).await;
    assert_eq!(
        (second.jobs_submitted, second.skip_reasons["active_job"]),
        (2, 3),
        "five may be active"
    );
    assert_eq!(names(&lake).await, ["t4", "t5", "t6", "t7", "t8"]);
    assert_eq!(run(&lake).await.jobs_submitted, 0);
}

#[tokio::test]
async fn one_bad_table_stops_nothing() {
    let lake = lake_of(2).await;
    lake.table("db.bad", |made| made.damaged = true);
    sync(&lake).await;
    let ended = run(&lake).await;
    assert_eq!((ended.status, ended.jobs_submitted), (RunStatus::Partial, 2));
    assert!(ended.error.unwrap().contains("db.bad could not be assessed"));
}

#[tokio::test]
async fn tables_are_left_alone_for_the_causes_that_are_counted() {
    let lake = lake_of(1).await;
    for (name, property, value) in [
        ("db.skip", "compaction_skip", "true"),
        ("db.out", "snowpack.maintenance_enabled", "false"),
        ("db.in", "snowpack.maintenance_enabled", "true"),
        ("db.bad", "snowpack.max_manifest_count", "many"),
    ] {
        lake.table(name, |made| {
            made.files_in = 100;
            made.properties.insert(property.to_owned(), value.to_owned());
        });
    }
    sync(&lake).await;
    let opt_in = Policy {
        enrolment: Enrolment::OptIn,
        ..Policy::default()
    };
    let ended = run_with(&lake, opt_in, &RunRequest::default()).await;
    let causes: Vec<_> = ended
        .skip_reasons
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    let expected = [
        ("bad_property", 1),
        ("compaction_skip", 1),
        ("not_opted_in", 1),
        ("opted_out", 1),
    ];
    assert_eq!(causes, expected);
    assert_eq!(names(&lake).await, ["in"]);
}

#[tokio::test]
async fn under_drain_nothing_is_looked_at() {
    let lake = lake_of(4).await;
    let drain = Drain {
        enabled: true,
        reason: None,
    };
    lake.store.set_drain(&drain).await.unwrap();
    let ended = run(&lake).await;
    assert_eq!((ended.jobs_submitted, ended.skip_reasons["draining"]), (0, 4));
    assert_eq!(lake.asked().1, 0);
}

#[tokio::test]
async fn a_dry_run_counts_and_submits_nothing() {
    let lake = lake_of(8).await;
    let request = RunRequest {
        dry_run: true,
        ..RunRequest::default()
    };
    let ended = run_with(&lake, Policy::default(), &request).await;
    assert_eq!(
        (ended.dry_run, ended.jobs_submitted, ended.open_jobs.len()),
        (true, 3, 0)
    );
    assert!(active(&lake).await.is_empty());
}

#[tokio::test]
async fn a_request_narrows_it_down() {
    let lake = lake_of(2).await;
    lake.table("other.t", |made| made.files_in = 100);
    sync(&lake).await;
    let of_database = RunRequest {
        databases: vec![TableId::parse("other.t").unwrap().database],
        ..RunRequest::default()
    };
    let ended = run_with(&lake, Policy::default(), &of_database).await;
    assert_eq!(
        (ended.tables_assessed, names(&lake).await),
        (1, vec!["t".to_owned()])
    );
    let named = RunRequest {
        tables: vec![
            TableId::parse("db.t1").unwrap(),
            TableId::parse("db.none").unwrap(),
        ],
        ..RunRequest::default()
    };
    let ended = run_with(&lake, Policy::default(), &named).await;
    assert_eq!((ended.status, ended.jobs_submitted), (RunStatus::Partial, 1));
    assert!(ended.error.unwrap().contains("no table db.none"));
}

#[tokio::test]
async fn two_runs_at_once_submit_each_table_once() {
    let lake = lake_of(3).await;
    let (one, other) = (
        lake.orchestrator(Policy::default(), LIMITS),
        lake.orchestrator(policy(&[]), LIMITS),
    );
    let request = RunRequest::default();
    let (one, other) = tokio::join!(
        one.run(&request, TimeLimit::none()),
        other.run(&request, TimeLimit::none())
    );
    let submitted = one.unwrap().jobs_submitted + other.unwrap().jobs_submitted;
    assert_eq!((submitted, names(&lake).await.len()), (3, 3));
}

#[tokio::test]
async fn without_time_the_run_says_how_many_tables_were_left() {
    let lake = lake_of(4).await;
    let orchestrator = lake.orchestrator(Policy::default(), LIMITS);
    let limit = TimeLimit::after(Duration::ZERO);
    let ended = orchestrator.run(&RunRequest::default(), limit).await.unwrap();
    assert_eq!((ended.status, ended.jobs_submitted), (RunStatus::Partial, 0));
    assert_eq!(ended.error.as_deref(), Some("there was no time for 4 tables"));
}

#[tokio::test]
async fn runs_are_recorded_and_learn_how_their_jobs_ended() {
    let lake = lake_of(2).await;
    let first = run(&lake).await;
    assert_eq!(lake.store.run(&first.id).await.unwrap(), Some(first.clone()));
    let job = active(&lake).await.remove(0);
    end(&lake, &job).await;
    run(&lake).await;
    let settled = lake.store.run(&first.id).await.unwrap().unwrap();
    assert_eq!(
        (
            settled.jobs_failed,
            settled.jobs_completed,
            settled.open_jobs.len()
        ),
        (1, 0, 1)
    );
    assert_eq!(settled.jobs_submitted, 2);
}

/// Cancels a job.
async fn end(lake: &Lake, job: &Job) {
    let stored = lake.store.job(&job.id).await.unwrap().unwrap();
    let lock = lake.store.lock(&job.table).await.unwrap();
    let pair = snowpack_domain::Pair {
        job: stored.value,
        lock: lock.value,
    };
    let ended = cancel(pair, snowpack_testkit::time(1)).unwrap();
    let write = Write {
        job: Some(Versioned {
            value: ended.job,
            version: stored.version,
        }),
        lock: Some((
            job.table.clone(),
            Versioned {
                value: ended.lock,
                version: lock.version,
            },
        )),
        ..Write::default()
    };
    assert_eq!(lake.store.write(&write).await.unwrap(), Written::Applied);
}

#[tokio::test]
async fn kept_health_is_used_while_it_is_fresh() {
    let lake = lake_of(3).await;
    let dry_run = RunRequest {
        dry_run: true,
        ..RunRequest::default()
    };
    let look = async || {
        run_with(&lake, Policy::default(), &dry_run).await;
        lake.asked().1
    };
    assert_eq!(look().await, 3);
    assert_eq!(look().await, 0);
    lake.pass(3600);
    lake.table("db.t1", |made| made.files_in = 0);
    sync(&lake).await;
    assert_eq!(look().await, 1, "the one that changed");
    lake.pass(6 * 3600 + 1);
    assert_eq!(look().await, 3);
}

#[tokio::test]
async fn the_log_tells_what_a_run_came_to() {
    let (lake, capture) = (lake_of(4).await, Capture::start());
    let run = run(&lake).await;
    capture.check().unwrap();
    assert_eq!(capture.named("job_submitted").len(), 3);
    let told = &capture.named("orchestrator_run_completed")[0];
    assert_eq!(told.get("run_id").unwrap(), run.id.as_str());
    assert_eq!(told.get("jobs_submitted").unwrap(), 3);
    let lines = capture.metrics();
    let of_run = lines.iter().find(|line| line["OrchestratorRuns"] == 1).unwrap();
    assert_eq!(of_run["status"], run.status.as_str());
    assert_eq!(of_run["OrchestratorTablesAssessed"], run.tables_assessed);
    assert_eq!(of_run["OrchestratorJobsSubmitted"], 3);
}
