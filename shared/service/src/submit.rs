//! Submit: accept a job and lock its table in one write, then put its message in the queue.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use snowpack_domain as domain;
use snowpack_domain::{Action, Duration, Job, JobId, JobOptions, NewJob, SubmitRefused, TableId, Timestamp};
use snowpack_telemetry::events::JOB_SUBMITTED;

use crate::apply::Writes;
use crate::failure::Failure;
use crate::ports::{
    Clock, HealthStore, IdempotencyRecord, Ids, JobQueue, JobStore, SubmitContext, Tables, Versioned, Write,
};
use crate::send::send;
use crate::tables::TableCache;

/// How long an idempotency key stands for its first request (api.md, Jobs).
const IDEMPOTENCY_HOURS: i64 = 24;

/// A checked request to maintain a table.
#[derive(Clone, Debug)]
pub struct SubmitRequest {
    /// The table.
    pub table: TableId,
    /// In order of execution, without repeats, not empty.
    pub actions: Vec<Action>,
    /// Checked options.
    pub options: JobOptions,
    /// Only preview.
    pub dry_run: bool,
    /// The caller's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

/// Why a submit was refused. Nothing was left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitRefusal {
    /// By the protocol.
    Protocol(SubmitRefused),
    /// The idempotency key was used for another request.
    IdempotencyMismatch,
}

/// Accepts jobs.
#[derive(Debug)]
pub struct Submitter<S, Q, T, C, I> {
    store: Arc<S>,
    queue: Arc<Q>,
    cache: Arc<TableCache<S, T, C>>,
    clock: C,
    ids: I,
}

impl<S, Q, T, C, I> Submitter<S, Q, T, C, I>
where
    S: JobStore + HealthStore,
    Q: JobQueue,
    T: Tables,
    C: Clock,
    I: Ids,
{
    /// A submitter over these ports.
    pub fn new(store: Arc<S>, queue: Arc<Q>, cache: Arc<TableCache<S, T, C>>, clock: C, ids: I) -> Self {
        Self {
            store,
            queue,
            cache,
            clock,
            ids,
        }
    }

    /// Accepts the job, or says why not. Once accepted it is durable, even if its message could not be sent.
    ///
    /// # Errors
    /// [`Failure`] when a port failed; the request may be sent again.
    pub async fn submit(&self, request: SubmitRequest) -> Result<Result<Job, SubmitRefusal>, Failure> {
        let request_hash = hash(&request);
        let id = self.ids.job_id(self.clock.now());
        let mut writes = Writes::default();
        loop {
            let now = self.clock.now();
            let key = request.idempotency_key.as_deref();
            let context = self.store.submit_context(&request.table, key, now).await?;
            if let Some(record) = &context.idempotency {
                if record.request_hash != request_hash {
                    return Ok(Err(SubmitRefusal::IdempotencyMismatch));
                }
                if let Some(first) = self.store.job(&record.job).await? {
                    return Ok(Ok(first.value));
                }
            }
            let context = self.look_the_table_up(context, &request.table).await?;
            let record = self.idempotency_record(&request, &context, &request_hash, &id, now);
            let decided = match self.decide(&request, &context, id.clone(), now).await {
                Ok(write) => Write {
                    idempotency: record,
                    ..write
                },
                Err(refused) => return Ok(Err(SubmitRefusal::Protocol(refused))),
            };
            if writes.apply(&*self.store, &decided).await? {
                let Versioned { value: job, version } = decided.job.expect("a submit writes its job");
                if request.dry_run {
                    return Ok(Ok(job));
                }
                return Ok(Ok(self.enqueue(job, version + 1).await));
            }
        }
    }

    /// A table that is not cached is asked for once at the catalog, unless drain mode answers first.
    async fn look_the_table_up(
        &self,
        mut context: SubmitContext,
        table: &TableId,
    ) -> Result<SubmitContext, Failure> {
        if context.entry.is_none() && !context.drain.value.enabled {
            let found = self.cache.read_through(table).await?;
            context.entry = found.map(|value| Versioned { value, version: 0 });
        }
        Ok(context)
    }

    async fn decide(
        &self,
        request: &SubmitRequest,
        context: &SubmitContext,
        id: JobId,
        now: Timestamp,
    ) -> Result<Write, SubmitRefused> {
        let new = NewJob {
            id,
            table: request.table.clone(),
            actions: request.actions.clone(),
            options: request.options.clone(),
        };
        let known = context.entry.is_some();
        let drain = &context.drain.value;
        let guards = Write {
            expect_drain: Some(context.drain.version),
            expect_cached: Some(request.table.clone()),
            ..Write::default()
        };
        if request.dry_run {
            // Refuse before the preview is computed: it reads the table's metadata.
            domain::dry_run(new.clone(), known, drain, Vec::new(), now)?;
            let previews = self
                .cache
                .preview(&request.table, &request.actions, &request.options)
                .await;
            let results = request.actions.iter().zip(previews);
            let results = results
                .map(|(action, preview)| domain::dry_run_result(*action, Some(preview)))
                .collect();
            let job = domain::dry_run(new, known, drain, results, now)?;
            return Ok(Write {
                job: Some(Versioned {
                    value: job,
                    version: 0,
                }),
                ..guards
            });
        }
        let pair = domain::submit(new, known, drain, &context.lock.value, now)?;
        let lock = Versioned {
            value: pair.lock,
            version: context.lock.version,
        };
        Ok(Write {
            job: Some(Versioned {
                value: pair.job,
                version: 0,
            }),
            lock: Some((request.table.clone(), lock)),
            ..guards
        })
    }

    fn idempotency_record(
        &self,
        request: &SubmitRequest,
        context: &SubmitContext,
        request_hash: &str,
        id: &JobId,
        now: Timestamp,
    ) -> Option<IdempotencyRecord> {
        // A key whose job is gone cannot be recorded again before it expires.
        if context.idempotency.is_some() {
            return None;
        }
        request.idempotency_key.as_ref().map(|key| IdempotencyRecord {
            key: key.clone(),
            request_hash: request_hash.to_owned(),
            job: id.clone(),
            expires_at: now + Duration::from_seconds(IDEMPOTENCY_HOURS * 3600),
        })
    }

    /// Neither sending nor noting it may fail the submit: the sweep sends what is missing.
    async fn enqueue(&self, job: Job, version: u64) -> Job {
        tracing::info!(
            event = JOB_SUBMITTED.name,
            job_id = %job.id,
            table = %job.table,
            attempt = job.attempt,
            fence = job.fence.number()
        );
        let stored = Versioned {
            value: job.clone(),
            version,
        };
        if let Err(error) = send(&*self.store, &*self.queue, &self.clock, stored, 0).await {
            tracing::warn!(job_id = %job.id, %error, "the message was not sent or not noted; the sweep will send it");
        }
        job
    }
}

/// A digest of everything that makes two requests the same.
fn hash(request: &SubmitRequest) -> String {
    let actions: Vec<_> = request.actions.iter().map(|action| action.as_str()).collect();
    let options: Vec<_> = request
        .options
        .iter()
        .map(|option| format!("{option:?}"))
        .collect();
    let canonical = format!("{}\n{actions:?}\n{options:?}\n{}", request.table, request.dry_run);
    hex::encode(Sha256::digest(canonical))
}
