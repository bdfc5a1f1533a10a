//! Execute: one slice of one job, from its message to its end, its yield or the loss of its fence.

use std::sync::Arc;
use std::time::Duration;

use snowpack_domain as domain;
use snowpack_domain::{
    Action, ActionResult, ClaimRefused, Job, JobId, MAX_ATTEMPTS, Pair, RemoteRun, Verdict,
};
use snowpack_telemetry::events::{ACTION_STARTED, JOB_YIELDED};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::apply::{Writes, change_pair, pair_write};
use crate::crash::{AFTER_CLAIM, CrashPoint};
use crate::elsewhere::{stop_run, stop_run_left_behind};
use crate::failure::Failure;
use crate::guard::{Guard, Lost};
use crate::ports::{ActionStop, Clock, Engine, JobQueue, JobStore, Provenance, Supervisor as _, Write};
use crate::report::{action_ended, action_span, job_ended, job_span, job_started};
use crate::send::send;

/// Delay of a message that arrives under drain mode.
const DRAIN_RETRY_SECONDS: u32 = 60;

/// Why a slice that got nowhere is tried again, and in the end not.
const TOO_LITTLE_TIME: &str = "nothing could be finished in the time of one invocation: give the worker more memory, or the action less to do";

/// How long a slice may take and how often it reports.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time between heartbeats; at most 10 s, so that a cancel is noticed in time (api.md, Cancel).
    pub heartbeat: Duration,
    /// Time kept before the deadline to commit what is finished (protocol.md, Slices).
    pub reserve: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            reserve: Duration::from_secs(60),
        }
    }
}

/// What became of a message. In every case it can be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// The job reached its end.
    Finished,
    /// The job goes on in a later slice; its message was sent again.
    Yielded,
    /// The job was cancelled or taken over while it ran.
    Revoked,
    /// There was nothing to do: unknown, ended or held by another worker.
    Ignored,
}

/// Runs jobs.
#[derive(Debug)]
pub struct Worker<S, Q, E, C> {
    store: Arc<S>,
    queue: Arc<Q>,
    engine: E,
    clock: C,
    name: String,
    limits: Limits,
    crash: Option<CrashPoint>,
}

/// How the actions of a slice ended.
enum SliceEnd {
    Verdict(Verdict, Option<ActionResult>),
    OutOfTime(Action, f64),
    Retry(Action, String, f64),
    Elsewhere(RemoteRun, u32),
    Revoked,
}

impl<S: JobStore, Q: JobQueue, E: Engine, C: Clock + Clone> Worker<S, Q, E, C> {
    /// A worker over these ports; `name` identifies it in leases.
    pub fn new(store: Arc<S>, queue: Arc<Q>, engine: E, clock: C, name: String, limits: Limits) -> Self {
        Self {
            store,
            queue,
            engine,
            clock,
            name,
            limits,
            crash: None,
        }
    }

    /// The same worker, which kills its process at a point; for tests of recovery.
    #[must_use]
    pub fn crashing_at(self, crash: Option<CrashPoint>) -> Self {
        Self { crash, ..self }
    }

    /// Handles one message: claims the job and runs its remaining actions until `time_limit` (less the
    /// reserve) or `shutdown`.
    ///
    /// # Errors
    /// [`Failure`] when the store or queue failed: keep the message, it must be delivered again.
    pub async fn handle(
        &self,
        id: &JobId,
        time_limit: Option<Duration>,
        shutdown: CancellationToken,
    ) -> Result<Handled, Failure> {
        let claimed = self.claim(id).await?;
        // A message may be for a job that has ended.
        let may_leave_run = claimed.as_ref().is_none_or(|job| job.remote_run.is_some());
        let handled = match claimed {
            None => Handled::Ignored,
            Some(job) if job.is_terminal() => {
                job_ended(&job);
                Handled::Finished
            }
            Some(job) => {
                let span = job_span(&job);
                self.run_slice(job, time_limit, shutdown).instrument(span).await?
            }
        };
        if may_leave_run && handled != Handled::Yielded {
            stop_run_left_behind(&*self.store, &self.engine, id).await?;
        }
        Ok(handled)
    }

    /// Runs a slice of a job just claimed, within its span.
    async fn run_slice(
        &self,
        job: Job,
        time_limit: Option<Duration>,
        shutdown: CancellationToken,
    ) -> Result<Handled, Failure> {
        job_started(&job, self.clock.now());
        let deadline = time_limit.map(|limit| Instant::now() + limit.saturating_sub(self.limits.reserve));
        let guard = Arc::new(Guard::new(
            Arc::clone(&self.store),
            self.clock.clone(),
            &job,
            deadline,
            shutdown,
            self.crash.clone(),
        ));
        guard.reached(AFTER_CLAIM);
        let beat = Arc::clone(&guard).beat(self.limits.heartbeat).in_current_span();
        let heartbeat = AbortOnDropHandle::new(tokio::spawn(beat));
        let end = self.run_actions(&job, &guard).await;
        drop(heartbeat);
        self.end_slice(&job, &guard, end?).await
    }

    /// Claims the job; `None` when there is nothing to run. A job out of attempts is ended and returned so.
    async fn claim(&self, id: &JobId) -> Result<Option<Job>, Failure> {
        let mut writes = Writes::default();
        loop {
            let Some(job) = self.store.job(id).await? else {
                return Ok(None);
            };
            let lock = self.store.lock(&job.value.table).await?;
            let drain = self.store.drain().await?;
            let versions = (job.version, lock.version);
            let pair = Pair {
                job: job.value,
                lock: lock.value,
            };
            let now = self.clock.now();
            let decided = if domain::is_exhausted(&pair.job, now) {
                Ok(domain::give_up(pair, now))
            } else {
                domain::claim(pair, &drain.value, &self.name, now)
            };
            let next = match decided {
                Ok(next) => next,
                Err(ClaimRefused::Draining) => {
                    self.queue.send(id, DRAIN_RETRY_SECONDS).await?;
                    return Ok(None);
                }
                Err(refused) => {
                    tracing::info!(job_id = %id, ?refused, "nothing to run");
                    return Ok(None);
                }
            };
            let write = Write {
                expect_drain: Some(drain.version),
                ..pair_write(&next, versions)
            };
            if writes.apply(&*self.store, &write).await? {
                return Ok(Some(next.job));
            }
        }
    }

    /// Runs what remains, keeping each result but the last, which is written with the end of the job.
    async fn run_actions(&self, job: &Job, guard: &Arc<Guard<S, C>>) -> Result<SliceEnd, Failure> {
        let remaining = job.remaining_actions();
        // Whoever started the run elsewhere has checked them all.
        let unchecked = if job.remote_run.is_some() { &[] } else { remaining };
        for action in unchecked {
            if let Err(stop) = self.engine.preflight(&job.table, &[*action], &job.options).await {
                return Ok(stopped(*action, stop, 0.0));
            }
        }
        for (position, action) in remaining.iter().enumerate() {
            let started = Instant::now();
            let span = action_span(*action);
            let provenance = Provenance {
                job: Some(job.id.clone()),
                fence: job.fence.number(),
            };
            span.in_scope(|| tracing::info!(event = ACTION_STARTED.name));
            let run = self
                .engine
                .run(&job.table, *action, &job.options, &provenance, Arc::clone(guard));
            // On the heap: the engine's state machine is large, and deep enough to tire the compiler.
            let result = match Box::pin(run.instrument(span)).await {
                Ok(result) => result,
                Err(stop) => return Ok(stopped(*action, stop, started.elapsed().as_secs_f64())),
            };
            action_ended(&result, &job.options);
            if position + 1 == remaining.len() {
                return Ok(SliceEnd::Verdict(Verdict::Completed, Some(result)));
            }
            match guard.keep_result(&result).await {
                Ok(()) => {}
                Err(Lost::Fence) => return Ok(SliceEnd::Revoked),
                Err(Lost::Contact(failure)) => return Err(failure),
            }
        }
        Ok(SliceEnd::Verdict(Verdict::Completed, None))
    }

    async fn end_slice(&self, job: &Job, guard: &Guard<S, C>, end: SliceEnd) -> Result<Handled, Failure> {
        let released = match spend_last_attempt(job, without_endless_slices(end, guard.got_nowhere())) {
            SliceEnd::Revoked => return Ok(Handled::Revoked),
            SliceEnd::Verdict(verdict, last) => return self.finish(job, guard, verdict, last).await,
            SliceEnd::OutOfTime(..) => guard.release(None).await.map(|()| (0, None)),
            SliceEnd::Elsewhere(run, resume_after_seconds) => match guard.release_to(&run).await {
                Err(Lost::Fence) => return self.leave_run(job, &run).await,
                released => released.map(|()| (resume_after_seconds, None)),
            },
            SliceEnd::Retry(_, cause, _) => {
                let released = guard.release(Some(&cause)).await;
                released.map(|()| (domain::retry_delay_seconds(job), Some(cause)))
            }
        };
        match released {
            Ok((delay_seconds, cause)) => {
                match cause {
                    None => tracing::info!(event = JOB_YIELDED.name),
                    Some(cause) => tracing::warn!(event = JOB_YIELDED.name, cause),
                }
                // A job cancelled or claimed meanwhile needs no message.
                if let Some(stored) = self.store.job(&job.id).await?
                    && stored.value.lease.is_none()
                    && !stored.value.is_terminal()
                {
                    send(&*self.store, &*self.queue, &self.clock, stored, delay_seconds).await?;
                }
                Ok(Handled::Yielded)
            }
            Err(Lost::Fence) => Ok(Handled::Revoked),
            Err(Lost::Contact(failure)) => Err(failure),
        }
    }

    /// A run that the job could not remember any more: stopped if the job has ended meanwhile. If another worker has
    /// the job, the run is that worker's, which finds it when it starts the same.
    async fn leave_run(&self, job: &Job, run: &RemoteRun) -> Result<Handled, Failure> {
        let stored = self.store.job(&job.id).await?;
        if stored.is_none_or(|stored| stored.value.is_terminal()) {
            stop_run(&self.engine, &job.id, run).await?;
        }
        Ok(Handled::Revoked)
    }

    /// Writes the last result and the end of the job, and frees the table, in one write.
    async fn finish(
        &self,
        job: &Job,
        guard: &Guard<S, C>,
        verdict: Verdict,
        last: Option<ActionResult>,
    ) -> Result<Handled, Failure> {
        let ended = change_pair(&*self.store, &job.id, |mut pair| {
            let now = self.clock.now();
            if let Some(result) = last.clone() {
                pair.job = domain::keep_result(pair.job, job.fence, result, now)?;
            }
            domain::finish(pair, job.fence, verdict.clone(), now)
        });
        let Some(Ok(ended)) = ended.await? else {
            guard.lose();
            return Ok(Handled::Revoked);
        };
        if let Some(failed) = last.filter(|result| result.outcome.is_err()) {
            action_ended(&failed, &job.options);
        }
        job_ended(&ended.job);
        Ok(Handled::Finished)
    }
}

/// A slice that got nowhere is a fault: with the same time the next one will hardly do better, and a job must end.
fn without_endless_slices(end: SliceEnd, got_nowhere: bool) -> SliceEnd {
    match end {
        SliceEnd::OutOfTime(action, elapsed_seconds) if got_nowhere => {
            SliceEnd::Retry(action, TOO_LITTLE_TIME.to_owned(), elapsed_seconds)
        }
        other => other,
    }
}

/// A fault that may pass is final once the attempts are spent.
fn spend_last_attempt(job: &Job, end: SliceEnd) -> SliceEnd {
    match end {
        SliceEnd::Retry(action, cause, elapsed_seconds) if job.attempt >= MAX_ATTEMPTS => failed(
            action,
            format!("gave up after {MAX_ATTEMPTS} attempts: {cause}"),
            elapsed_seconds,
        ),
        other => other,
    }
}

fn stopped(action: Action, stop: ActionStop, elapsed_seconds: f64) -> SliceEnd {
    match stop {
        ActionStop::Revoked => SliceEnd::Revoked,
        ActionStop::OutOfTime => SliceEnd::OutOfTime(action, elapsed_seconds),
        ActionStop::Elsewhere {
            run,
            resume_after_seconds,
        } => SliceEnd::Elsewhere(run, resume_after_seconds),
        ActionStop::Failed { cause, retry: true } => SliceEnd::Retry(action, cause, elapsed_seconds),
        ActionStop::Failed { cause, retry: false } => failed(action, cause, elapsed_seconds),
    }
}

fn failed(action: Action, cause: String, elapsed_seconds: f64) -> SliceEnd {
    let result = ActionResult {
        action,
        outcome: Err(cause.clone()),
        elapsed_seconds,
        metrics: std::collections::BTreeMap::new(),
        predicted: Default::default(),
        preview: None,
    };
    SliceEnd::Verdict(Verdict::Failed(cause), Some(result))
}
