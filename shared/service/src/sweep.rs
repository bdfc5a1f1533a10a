//! Sweep: wakes the jobs that nothing else will wake, also ended ones that left a run elsewhere, ends those whose
//! attempts are spent, fails those whose message nobody could handle, and frees locks without a job.

use futures::StreamExt;
use snowpack_domain as domain;
use snowpack_domain::{DeadLetterKept, Duration, JobId, Sweep, TableId};
use snowpack_telemetry::events::{JOB_RECOVERED, LOCK_FREED, REMOTE_RUN_LEFT, SWEEP_COMPLETED, SWEEP_FAILED};

use crate::apply::{Writes, change_pair};
use crate::failure::Failure;
use crate::ports::{
    Clock, DeadLetter, DeadLetters, JobQueue, JobStore, ListError, PageRequest, StoreError, Versioned, Write,
};
use crate::report::job_ended;
use crate::send::send;

/// Jobs and dead letters looked at in one sweep; the next one takes the rest.
const MAX_JOBS: usize = 500;
/// Locks in one page.
const LOCKS_PER_PAGE: usize = 500;
/// Locks looked at side by side: enough to hide the store's latency.
const LOOKS: usize = 16;

/// How long a dead letter stays hidden while it is looked at: longer than a sweep takes, shorter than the minute
/// between sweeps, so that what one could not deal with is there for the next.
const LETTER_HIDDEN_SECONDS: u32 = 50;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Messages sent: of jobs never enqueued, long pending, or left by a dead worker.
    pub sent: u64,
    /// Jobs failed because their attempts are spent.
    pub given_up: u64,
    /// Jobs failed because their message could not be handled.
    pub dead_letters: u64,
    /// Locks freed whose job had ended or was gone.
    pub freed: u64,
    /// Time since the last sync of the table cache; `None` before the first.
    pub table_cache_age: Option<Duration>,
}

/// Sweeps once. What one part cannot do keeps no other part from doing its own.
///
/// # Errors
/// The first [`Failure`] of a part. What was done stays done, and the next sweep takes up the rest.
pub async fn sweep<S: JobStore, Q: JobQueue, D: DeadLetters>(
    store: &S,
    queue: &Q,
    dead_letters: &D,
    clock: &impl Clock,
) -> Result<SweepReport, Failure> {
    let mut report = SweepReport::default();
    let parts = [
        wake_jobs(store, queue, clock, &mut report).await,
        take_dead_letters(store, dead_letters, clock, &mut report.dead_letters).await,
        free_locks(store, &mut report.freed).await,
        read_cache_age(store, clock, &mut report.table_cache_age).await,
    ];
    let swept = parts.into_iter().collect::<Result<(), _>>();
    say(&report, swept.as_ref().err());
    swept.map(|()| report)
}

fn say(report: &SweepReport, failure: Option<&Failure>) {
    let SweepReport {
        sent,
        given_up,
        dead_letters,
        freed,
        table_cache_age,
    } = *report;
    let table_cache_age_seconds = table_cache_age.map(|age| age.as_micros() / 1_000_000);
    match failure {
        None => tracing::info!(
            event = SWEEP_COMPLETED.name,
            sent,
            given_up,
            dead_letters,
            freed,
            table_cache_age_seconds
        ),
        Some(cause) => tracing::warn!(
            event = SWEEP_FAILED.name,
            sent,
            given_up,
            dead_letters,
            freed,
            table_cache_age_seconds,
            %cause
        ),
    }
}

/// The sync cannot tell that it has not run; the sweeper runs every minute and can.
async fn read_cache_age<S: JobStore>(
    store: &S,
    clock: &impl Clock,
    age: &mut Option<Duration>,
) -> Result<(), Failure> {
    let last_synced = store.cache_state().await?.last_synced;
    *age = last_synced.map(|synced| clock.now() - synced);
    Ok(())
}

async fn wake_jobs<S: JobStore, Q: JobQueue>(
    store: &S,
    queue: &Q,
    clock: &impl Clock,
    report: &mut SweepReport,
) -> Result<(), Failure> {
    let mut first = Ok(());
    for id in store.jobs_needing_message(clock.now(), MAX_JOBS).await? {
        set_aside(&mut first, wake_job(store, queue, clock, &id, report).await)?;
    }
    first
}

async fn wake_job<S: JobStore, Q: JobQueue>(
    store: &S,
    queue: &Q,
    clock: &impl Clock,
    id: &JobId,
    report: &mut SweepReport,
) -> Result<(), Failure> {
    let drain = store.drain().await?.value;
    let Some(Versioned { value: job, version }) = store.job(id).await? else {
        return Ok(());
    };
    match domain::sweep(&job, &drain, clock.now()) {
        Sweep::Leave => {}
        Sweep::GiveUp => report.given_up += u64::from(give_up(store, clock, id).await?),
        Sweep::Send => {
            let event = if job.is_terminal() {
                REMOTE_RUN_LEFT.name
            } else {
                JOB_RECOVERED.name
            };
            tracing::info!(
                event,
                job_id = %id,
                table = %job.table,
                attempt = job.attempt,
                slice = job.slice,
                fence = job.fence.number()
            );
            send(store, queue, clock, Versioned { value: job, version }, 0).await?;
            report.sent += 1;
        }
    }
    Ok(())
}

/// Goes on after a failure that is one job's own, which must not keep the others asleep, and keeps the first such
/// failure. Any other would meet the next job too.
fn set_aside<T>(first: &mut Result<(), Failure>, outcome: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(failure @ (Failure::Contended | Failure::Store(StoreError::Corrupt(_)))) => {
            if first.is_ok() {
                *first = Err(failure);
            }
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Ends a job whose attempts are spent; `false` when it no longer is such a job.
async fn give_up<S: JobStore>(store: &S, clock: &impl Clock, id: &JobId) -> Result<bool, Failure> {
    let changed = change_pair(store, id, |pair| {
        let now = clock.now();
        domain::is_exhausted(&pair.job, now)
            .then(|| domain::give_up(pair, now))
            .ok_or(())
    });
    let Some(Ok(ended)) = changed.await? else {
        return Ok(false);
    };
    job_ended(&ended.job);
    Ok(true)
}

async fn take_dead_letters<S: JobStore, D: DeadLetters>(
    store: &S,
    dead_letters: &D,
    clock: &impl Clock,
    failed: &mut u64,
) -> Result<(), Failure> {
    let (mut taken, mut first) = (0, Ok(()));
    while taken < MAX_JOBS {
        let letters = dead_letters.receive(LETTER_HIDDEN_SECONDS).await?;
        if letters.is_empty() {
            break;
        }
        taken += letters.len();
        for DeadLetter { job, receipt } in letters {
            let Some(id) = job else {
                tracing::error!("a dead letter names no job; it stays for a person to look at");
                continue;
            };
            let changed = change_pair(store, &id, |pair| domain::fail_dead_letter(pair, clock.now()));
            match set_aside(&mut first, changed.await)? {
                // It comes back once its time in hiding is over.
                None | Some(Some(Err(DeadLetterKept::Held(_)))) => continue,
                Some(None | Some(Err(DeadLetterKept::Terminal(_)))) => {}
                Some(Some(Ok(ended))) => {
                    *failed += 1;
                    job_ended(&ended.job);
                }
            }
            dead_letters.remove(&receipt).await?;
        }
    }
    first
}

/// Nothing but a fault outside of the protocol leaves such locks: a store restored from a backup, an item deleted
/// by hand.
async fn free_locks<S: JobStore>(store: &S, freed: &mut u64) -> Result<(), Failure> {
    let mut page = PageRequest {
        limit: LOCKS_PER_PAGE,
        cursor: None,
    };
    let mut first = Ok(());
    loop {
        let held = match store.held_locks(&page).await {
            Ok(held) => held,
            Err(ListError::Store(error)) => return Err(error.into()),
            Err(ListError::BadCursor) => return Err(Failure::Contended),
        };
        let looks = futures::stream::iter(held.items).map(|table| free_lock(store, table));
        let mut looks = looks.buffer_unordered(LOOKS);
        while let Some(looked) = looks.next().await {
            *freed += u64::from(set_aside(&mut first, looked)?.unwrap_or(false));
        }
        match held.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => return first,
        }
    }
}

async fn free_lock<S: JobStore>(store: &S, table: TableId) -> Result<bool, Failure> {
    let mut writes = Writes::default();
    loop {
        let lock = store.lock(&table).await?;
        let Some(holder) = &lock.value.holder else {
            return Ok(false);
        };
        let job = store.job(holder).await?;
        let Some(free) = domain::free_lock(&lock.value, job.as_ref().map(|job| &job.value)) else {
            return Ok(false);
        };
        let version = lock.version;
        let write = Write {
            lock: Some((table.clone(), Versioned { value: free, version })),
            ..Write::default()
        };
        if writes.apply(store, &write).await? {
            tracing::warn!(event = LOCK_FREED.name, job_id = %holder, %table, fence = lock.value.fence.number());
            return Ok(true);
        }
    }
}
