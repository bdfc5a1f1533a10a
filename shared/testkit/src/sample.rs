//! Sample jobs: plain ones to drive through the protocol, and arbitrary ones for lists.

use proptest::prelude::*;
use snowpack_domain::{
    Action, Duration, Fence, Job, JobId, JobOptions, JobStatus, Lease, NewJob, RemoteRun, TableId, Timestamp,
};

/// When the samples' time starts: 2026-04-25T14:30:00Z, half a day from the next one.
const START: Timestamp = Timestamp::from_micros(1_777_127_400_000_000);

/// The instant `seconds` after the samples' start.
pub fn time(seconds: i64) -> Timestamp {
    START + Duration::from_seconds(seconds)
}

/// The id of that number.
pub fn job_id(number: u128) -> JobId {
    JobId::from_u128(number)
}

/// A table by its full name.
///
/// # Panics
/// When the name is malformed.
pub fn table(full_name: &str) -> TableId {
    TableId::parse(full_name).expect("a test's table name is well formed")
}

/// A request for both actions that exist first.
pub fn new_job(number: u128, table: &TableId) -> NewJob {
    NewJob {
        id: job_id(number),
        table: table.clone(),
        actions: vec![Action::RewriteDataFiles, Action::ExpireSnapshots],
        options: JobOptions::default(),
    }
}

/// Up to 40 jobs in any state, spread over a few days and over databases and tables whose names look alike;
/// many share their instants, so that only ids tell their order.
pub fn any_jobs() -> impl Strategy<Value = Vec<Job>> {
    proptest::collection::vec(any_job(), 0..40).prop_map(|mut jobs| {
        for (number, job) in (1..).zip(&mut jobs) {
            // Ids in an order of their own: equal instants must not fall back on the order of insertion.
            job.id = job_id((number * 7919) % 1009);
        }
        jobs
    })
}

fn remote_run(started_at: Timestamp) -> RemoteRun {
    RemoteRun {
        action: Action::RewriteDataFiles,
        id: "00f1".into(),
        started_at,
        predicted: [("files_in".to_owned(), 6)].into(),
    }
}

fn any_job() -> impl Strategy<Value = Job> {
    let name = prop_oneof![
        Just("a.t"),
        Just("a.u"),
        Just("a-b.t"),
        Just("a.b.t"),
        Just("b.t")
    ];
    let status = proptest::sample::select(JobStatus::ALL.to_vec());
    (name, status, 0..60_i64, 0..20_i64, proptest::option::of(0..3_i64)).prop_map(
        |(name, status, submitted, ran, enqueued)| {
            let submitted_at = time(submitted * 3600);
            let ended = submitted_at + Duration::from_seconds(ran * 3600);
            let lease = Lease {
                worker: "w".into(),
                expires_at: ended,
            };
            let new = new_job(0, &table(name));
            Job {
                id: new.id,
                table: new.table,
                actions: new.actions,
                options: new.options,
                dry_run: false,
                status,
                submitted_at,
                started_at: (status != JobStatus::Pending).then_some(submitted_at),
                completed_at: status.is_terminal().then_some(ended),
                results: Vec::new(),
                error: None,
                attempt: 0,
                slice: 0,
                fence: Fence::new(1),
                lease: (status == JobStatus::Running && ran % 2 == 0).then_some(lease),
                progress: None,
                enqueued_at: enqueued.map(|hours| submitted_at + Duration::from_seconds(hours * 3600)),
                last_fault: None,
                remote_run: (status != JobStatus::Pending && status != JobStatus::Completed && ran % 3 == 0)
                    .then(|| remote_run(submitted_at)),
            }
        },
    )
}
