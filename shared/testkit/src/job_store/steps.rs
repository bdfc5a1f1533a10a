//! Steps the scenarios share: read, decide, write, and check the protocol's invariants around every write.

use snowpack_domain::{
    CacheEntry, Job, JobId, NewJob, Pair, SubmitRefused, TableId, Timestamp, check_pair, check_step, submit,
};
use snowpack_service::ports::{JobFilter, JobStore, PageRequest, Versioned, Write, Written};

use crate::sample::new_job;

/// A job and its table's lock as one store had them.
pub(super) struct Stored {
    pub(super) pair: Pair,
    job_version: u64,
    lock_version: u64,
}

impl Stored {
    /// The write that puts `after` over what was read.
    pub(super) fn replaced_by(&self, after: Pair) -> Write {
        Write {
            lock: Some((
                after.job.table.clone(),
                Versioned {
                    value: after.lock,
                    version: self.lock_version,
                },
            )),
            job: Some(Versioned {
                value: after.job,
                version: self.job_version,
            }),
            ..Write::default()
        }
    }
}

pub(super) fn entry(table: &TableId, generation: u64) -> CacheEntry {
    CacheEntry {
        table: table.clone(),
        location: Some(format!("s3://bucket/{table}")),
        metadata_location: Some(format!("s3://bucket/{table}/metadata/1.metadata.json")),
        format_version: Some(2),
        properties: [("snowpack.maintenance_enabled".to_owned(), "true".to_owned())].into(),
        generation,
    }
}

pub(super) async fn cached(store: &impl JobStore, table: &TableId) {
    store
        .put_cache_entries(&[entry(table, 1)])
        .await
        .expect("put a cache entry");
}

/// Reads a job and then its lock. With another writer at work the two may be of different instants.
pub(super) async fn load(store: &impl JobStore, id: &JobId) -> Stored {
    let job = store
        .job(id)
        .await
        .expect("read a job")
        .expect("the job is stored");
    let lock = store.lock(&job.value.table).await.expect("read a lock");
    Stored {
        pair: Pair {
            job: job.value,
            lock: lock.value,
        },
        job_version: job.version,
        lock_version: lock.version,
    }
}

/// Reads a job and its lock that nobody else writes to, and checks what must hold between them.
pub(super) async fn read(store: &impl JobStore, id: &JobId) -> Stored {
    let stored = load(store, id).await;
    check_pair(&stored.pair).expect("invariants of what is stored");
    stored
}

/// Reads, decides, writes and reads back; the step must keep the invariants and be stored whole.
pub(super) async fn step(store: &impl JobStore, id: &JobId, decide: impl FnOnce(Pair) -> Pair) -> Pair {
    let before = read(store, id).await;
    let after = decide(before.pair.clone());
    check_step(&before.pair, &after).expect("invariants of the step");
    let written = store
        .write(&before.replaced_by(after.clone()))
        .await
        .expect("write");
    assert_eq!(written, Written::Applied);
    let stored = read(store, id).await;
    assert_eq!(stored.pair, after, "what was written is what is read");
    assert_eq!(stored.job_version, before.job_version + 1);
    assert_eq!(stored.lock_version, before.lock_version + 1);
    after
}

/// The write that accepts a job on what the store says now.
pub(super) async fn submit_write(
    store: &impl JobStore,
    new: NewJob,
    now: Timestamp,
) -> Result<Write, SubmitRefused> {
    let context = store
        .submit_context(&new.table, None, now)
        .await
        .expect("read what a submit needs");
    let table = new.table.clone();
    let known = context.entry.is_some();
    let pair = submit(new, known, &context.drain.value, &context.lock.value, now)?;
    Ok(Write {
        job: Some(Versioned {
            value: pair.job,
            version: 0,
        }),
        lock: Some((
            table.clone(),
            Versioned {
                value: pair.lock,
                version: context.lock.version,
            },
        )),
        expect_drain: Some(context.drain.version),
        expect_cached: Some(table),
        idempotency: None,
    })
}

/// Submits a job that nothing stands against.
pub(super) async fn submitted(store: &impl JobStore, number: u128, table: &TableId, now: Timestamp) -> JobId {
    let new = new_job(number, table);
    let id = new.id.clone();
    let write = submit_write(store, new, now)
        .await
        .expect("nothing stands against the job");
    assert_eq!(store.write(&write).await.expect("write"), Written::Applied);
    read(store, &id).await;
    id
}

/// Puts jobs as they are, without locks.
pub(super) async fn put_jobs(store: &impl JobStore, jobs: &[Job]) {
    for job in jobs {
        let job = Some(Versioned {
            value: job.clone(),
            version: 0,
        });
        let write = Write {
            job,
            ..Write::default()
        };
        assert_eq!(store.write(&write).await.expect("write"), Written::Applied);
    }
}

/// Follows a list of jobs from `cursor` to its end; no page may be longer than asked.
pub(super) async fn all_pages(
    store: &impl JobStore,
    filter: &JobFilter,
    limit: usize,
    mut cursor: Option<String>,
) -> Vec<Job> {
    let mut all = Vec::new();
    loop {
        let page = store
            .jobs(filter, &PageRequest { limit, cursor })
            .await
            .expect("list jobs");
        assert!(
            page.items.len() <= limit,
            "a page of {} at limit {limit}",
            page.items.len()
        );
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}
