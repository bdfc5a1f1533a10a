//! The guard of a running job: renews its lease, knows when its fence is lost or its time is up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use snowpack_domain as domain;
use snowpack_domain::{
    Action, ActionResult, Duration, Fence, Job, JobId, LEASE_SECONDS, Note, Progress, RemoteRun, Timestamp,
};
use snowpack_telemetry::events::FENCE_LOST;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::apply::Writes;
use crate::crash::CrashPoint;
use crate::failure::Failure;
use crate::ports::{ActionStop, Clock, JobStore, StoreError, Supervisor, Versioned, Write};

/// Holds one claimed job. Clones of the `Arc` are handed to the engine; the heartbeat keeps its own.
pub(crate) struct Guard<S, C> {
    store: Arc<S>,
    clock: C,
    job: JobId,
    fence: Fence,
    deadline: Option<Instant>,
    shutdown: CancellationToken,
    crash: Option<CrashPoint>,
    remote_run: Option<RemoteRun>,
    revoked: AtomicBool,
    got_on: AtomicBool,
    progress: Mutex<Option<Progress>>,
    note: Mutex<Option<Note>>,
    confirmed_at: Mutex<Timestamp>,
}

impl<S: JobStore, C: Clock + Clone> Guard<S, C> {
    /// A guard for a job just claimed under `fence`. New work stops at `deadline` or on `shutdown`.
    pub(crate) fn new(
        store: Arc<S>,
        clock: C,
        job: &Job,
        deadline: Option<Instant>,
        shutdown: CancellationToken,
        crash: Option<CrashPoint>,
    ) -> Self {
        let now = clock.now();
        Self {
            store,
            clock,
            job: job.id.clone(),
            fence: job.fence,
            deadline,
            shutdown,
            crash,
            remote_run: job.remote_run.clone(),
            revoked: AtomicBool::new(false),
            got_on: AtomicBool::new(false),
            progress: Mutex::new(None),
            note: Mutex::new(job.note.clone()),
            confirmed_at: Mutex::new(now),
        }
    }

    /// Renews the lease every `period` until dropped or revoked.
    pub(crate) async fn beat(self: Arc<Self>, period: std::time::Duration) {
        loop {
            tokio::time::sleep(period).await;
            match self.renew().await {
                Ok(()) => {}
                Err(Lost::Fence) => return,
                Err(Lost::Contact(error)) => tracing::warn!(%error, "heartbeat failed"),
            }
        }
    }

    /// Keeps the result of a finished action in the store.
    pub(crate) async fn keep_result(&self, result: &ActionResult) -> Result<(), Lost> {
        // With its result an action's note goes, also from the next heartbeat.
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let kept = self.update(|job, now| domain::keep_result(job, self.fence, result.clone(), now));
        kept.await?;
        self.got_on.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Whether this slice came neither to a commit nor to a delete nor to the end of an action, though nobody asked it
    /// to stop: the next one would not either.
    pub(crate) fn got_nowhere(&self) -> bool {
        !self.got_on.load(Ordering::SeqCst) && !self.shutdown.is_cancelled()
    }

    /// Hands the job back for a later slice; after a fault, with its cause.
    pub(crate) async fn release(&self, fault: Option<&str>) -> Result<(), Lost> {
        self.update(|job, _| {
            let job = domain::keep_note(job, self.fence, current(&self.note))?;
            match fault {
                None => domain::yield_slice(job, self.fence),
                Some(cause) => domain::retry_later(job, self.fence, cause),
            }
        })
        .await
    }

    /// Hands the job back for as long as a run elsewhere goes on.
    pub(crate) async fn release_to(&self, run: &RemoteRun) -> Result<(), Lost> {
        self.update(|job, _| domain::yield_to_run(job, self.fence, run.clone()))
            .await
    }

    async fn renew(&self) -> Result<(), Lost> {
        self.update(|job, now| {
            let job = domain::keep_note(job, self.fence, current(&self.note))?;
            domain::heartbeat(job, self.fence, current(&self.progress), now)
        })
        .await
    }

    /// Reads the job, decides, writes; again when another write came between.
    async fn update(
        &self,
        decide: impl Fn(Job, Timestamp) -> Result<Job, domain::FenceLost>,
    ) -> Result<(), Lost> {
        let outcome = self.try_update(decide).await;
        let mut confirmed_at = self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(()) => *confirmed_at = self.clock.now(),
            // Out of contact for longer than the lease: another worker may have the job by now.
            Err(Lost::Contact(_))
                if self.clock.now() - *confirmed_at < Duration::from_seconds(LEASE_SECONDS) => {}
            Err(_) => self.lose(),
        }
        outcome
    }

    /// Notes that the fence is lost, and says so once.
    pub(crate) fn lose(&self) {
        if !self.revoked.swap(true, Ordering::SeqCst) {
            tracing::warn!(event = FENCE_LOST.name);
        }
    }

    async fn try_update(
        &self,
        decide: impl Fn(Job, Timestamp) -> Result<Job, domain::FenceLost>,
    ) -> Result<(), Lost> {
        let mut writes = Writes::default();
        loop {
            let stored = self.store.job(&self.job).await?;
            let Versioned { value, version } = stored.ok_or(Lost::Fence)?;
            let job = decide(value, self.clock.now()).map_err(|domain::FenceLost| Lost::Fence)?;
            let write = Write {
                job: Some(Versioned { value: job, version }),
                ..Write::default()
            };
            if writes.apply(&*self.store, &write).await? {
                return Ok(());
            }
        }
    }
}

/// What is known now.
fn current<T: Clone>(known: &Mutex<Option<T>>) -> Option<T> {
    known.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Why the guard could not write for its job.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The job is no longer the caller's.
    Fence,
    /// The store could not be used.
    Contact(Failure),
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Self::Contact(failure)
    }
}

impl From<StoreError> for Lost {
    fn from(error: StoreError) -> Self {
        Self::Contact(error.into())
    }
}

impl<S: JobStore, C: Clock + Clone> Supervisor for Guard<S, C> {
    async fn checkpoint(&self) -> Result<(), ActionStop> {
        if self.revoked.load(Ordering::SeqCst) {
            return Err(ActionStop::Revoked);
        }
        match self.renew().await {
            Ok(()) => {
                self.got_on.store(true, Ordering::SeqCst);
                Ok(())
            }
            Err(Lost::Fence) => Err(ActionStop::Revoked),
            Err(Lost::Contact(error)) => Err(ActionStop::Failed {
                cause: error.to_string(),
                retry: true,
            }),
        }
    }

    fn poll(&self) -> Result<(), ActionStop> {
        if self.revoked.load(Ordering::SeqCst) {
            return Err(ActionStop::Revoked);
        }
        let late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if late || self.shutdown.is_cancelled() {
            Err(ActionStop::OutOfTime)
        } else {
            Ok(())
        }
    }

    fn progress(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    fn seconds_left(&self) -> Option<f64> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    fn remote_run(&self, action: Action) -> Option<RemoteRun> {
        self.remote_run.clone().filter(|run| run.action == action)
    }

    fn note(&self, action: Action, text: String) {
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(Note { action, text });
    }

    fn noted(&self, action: Action) -> Option<String> {
        let note = current(&self.note).filter(|note| note.action == action);
        note.map(|note| note.text)
    }

    fn reached(&self, point: &'static str) {
        if let Some(crash) = &self.crash {
            crash.reached(point);
        }
    }
}
