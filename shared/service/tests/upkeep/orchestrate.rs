//! Runs of the orchestrator: what they submit, within which limits, and what they record.

use std::time::Duration;

use snowpack_domain::{
    Action, CacheEntry, Drain, Enrolment, Job, JobStatus, Policy, Run, RunId, RunLimits, RunStatus, TableId,
    cancel,
};
use snowpack_service::ports::{
    Clock as _, JobFilter, JobStore as _, PageRequest, RunStore as _, Versioned, Write, Written,
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
async fn what_a_table_says_is_read_before_it_is_judged() {
    let lake = Lake::new();
    for (name, property) in [
        ("db.skip", Some("compaction_skip")),
        ("db.plain", None),
        ("db.still", None),
    ] {
        lake.table(name, |made| {
            made.files_in = 100;
            made.throttled = true;
            made.properties
                .extend(property.map(|name| (name.to_owned(), "true".to_owned())));
        });
    }
    sync(&lake).await;
    assert!(lake.cached().await.iter().all(CacheEntry::is_name_only));
    for name in ["db.skip", "db.plain"] {
        lake.table(name, |made| made.throttled = false);
    }
    lake.asked();
    let ended = run(&lake).await;
    assert_eq!(
        (names(&lake).await, ended.status),
        (vec!["plain".to_owned()], RunStatus::Partial)
    );
    assert_eq!(
        (ended.tables_assessed, ended.skip_reasons["compaction_skip"]),
        (1, 1)
    );
    assert!(ended.error.unwrap().contains("db.still could not be assessed"));
    assert_eq!(lake.asked().1, 1, "health is read of what may be judged");
}

#[tokio::test]
async fn a_table_known_by_name_only_is_not_judged() {
    let lake = Lake::new();
    lake.table("db.bad", |made| made.damaged = true);
    sync(&lake).await;
    let ended = run(&lake).await;
    assert_eq!((ended.status, ended.tables_assessed), (RunStatus::Partial, 0));
    let error = ended.error.unwrap();
    assert!(
        error.contains("db.bad could not be assessed: its metadata cannot be read"),
        "{error}"
    );
    assert_eq!(lake.asked().1, 0);
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
    let of_unknown = RunRequest {
        dry_run: true,
        databases: vec![TableId::parse("none.t").unwrap().database],
        ..RunRequest::default()
    };
    let ended = run_with(&lake, Policy::default(), &of_unknown).await;
    assert_eq!((ended.status, ended.tables_assessed), (RunStatus::Partial, 0));
    assert_eq!(
        ended.error.as_deref(),
        Some("no table of the database none is known")
    );
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

#[tokio::test(start_paused = true)]
async fn the_next_run_starts_where_the_last_one_ran_out_of_time() {
    let lake = lake_of(0).await;
    for number in 1..=4 {
        lake.table(&format!("db.t{number}"), |made| made.slow = 20);
    }
    sync(&lake).await;
    let orchestrator = lake.orchestrator(Policy::default(), LIMITS);
    let started = async |request: &RunRequest| {
        lake.pass(7200);
        let limit = TimeLimit::after(Duration::from_secs(10));
        orchestrator.run(request, limit).await.unwrap()
    };
    let (all, one) = (RunRequest::default(), TableId::parse("db.t4").unwrap());
    let narrow = RunRequest {
        tables: vec![one],
        ..RunRequest::default()
    };
    let dry = RunRequest {
        dry_run: true,
        ..RunRequest::default()
    };
    for (request, looked_at) in [
        (&all, "db.t1"),
        (&all, "db.t2"),
        (&narrow, "db.t4"),
        (&dry, "db.t3"),
    ] {
        started(request).await;
        assert_eq!(lake.read_in_order(), [looked_at]);
    }
    for number in 1..=4 {
        lake.table(&format!("db.t{number}"), |made| made.slow = 0);
    }
    sync(&lake).await;
    let whole = started(&all).await;
    assert_eq!(lake.read_in_order(), ["db.t3", "db.t4", "db.t1", "db.t2"]);
    assert_eq!(
        (whole.status, whole.tables_assessed, whole.left_from),
        (RunStatus::Completed, 4, None)
    );
}

#[tokio::test(start_paused = true)]
async fn submitting_ends_in_time_too() {
    let lake = lake_of(8).await;
    let limits = RunLimits {
        max_submissions: 6,
        max_active_jobs: 6,
    };
    let orchestrator = lake.orchestrator_with_queue(Policy::default(), limits, 25);
    let limit = TimeLimit::after(Duration::from_secs(10));
    let ended = orchestrator.run(&RunRequest::default(), limit).await.unwrap();
    assert_eq!((ended.status, ended.jobs_submitted), (RunStatus::Partial, 3));
    assert_eq!(
        ended.error.as_deref(),
        Some("there was no time to submit 3 jobs that are due")
    );
}

#[tokio::test]
async fn a_table_whose_job_failed_does_not_come_first_for_ever() {
    let lake = Lake::new();
    lake.table("db.fails", |made| made.files_in = 1000);
    lake.table("db.other", |made| made.files_in = 100);
    sync(&lake).await;
    let limits = RunLimits {
        max_submissions: 1,
        max_active_jobs: 1,
    };
    let orchestrator = lake.orchestrator(Policy::default(), limits);
    for expected in ["fails", "other", "fails"] {
        orchestrator
            .run(&RunRequest::default(), TimeLimit::none())
            .await
            .unwrap();
        let job = active(&lake).await.remove(0);
        assert_eq!(job.table.table.as_str(), expected);
        lake.pass(60);
        end(&lake, &job).await;
        lake.pass(7200);
    }
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

#[tokio::test]
async fn jobs_are_settled_however_many_records_came_since() {
    let lake = lake_of(1).await;
    let first = run(&lake).await;
    let job = active(&lake).await.remove(0);
    let day = 86_400;
    for number in 0..600 {
        let posted = Run {
            id: RunId::new(snowpack_testkit::job_id(1_000_000 + number)),
            started_at: snowpack_testkit::time(60 + i64::try_from(number).unwrap()),
            open_jobs: Vec::new(),
            ..first.clone()
        };
        lake.store.put_run(&posted).await.unwrap();
    }
    end(&lake, &job).await;
    lake.pass(6 * day);
    run(&lake).await;
    let settled = lake.store.run(&first.id).await.unwrap().unwrap();
    assert_eq!((settled.jobs_failed, settled.open_jobs), (1, Vec::new()));
}

/// Cancels a job.
async fn end(lake: &Lake, job: &Job) {
    let stored = lake.store.job(&job.id).await.unwrap().unwrap();
    let lock = lake.store.lock(&job.table).await.unwrap();
    let pair = snowpack_domain::Pair {
        job: stored.value,
        lock: lock.value,
    };
    let ended = cancel(pair, lake.clock.now()).unwrap();
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
