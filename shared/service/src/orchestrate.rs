//! One run of the orchestrator: looks at every table's health and submits jobs for those with the most to gain
//! (operations.md, Orchestrator).
//!
//! Runs may overlap, be delivered twice or die: a table's lock lets one job in, and the record of a run is written
//! before anything is submitted, so that a run that died is seen. One bad table stops nothing.

mod settle;
mod tally;

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use snowpack_domain::{
    CacheEntry, Candidate, DatabaseName, Drain, JobOptions, JobStatus, Lock, Policy, Run, RunId, RunLimits,
    Shortlist, Situation, SkipCause, SubmitRefused, TableHealth, TableId, Timestamp, benefit,
};
use snowpack_telemetry::events::ORCHESTRATOR_RUN_COMPLETED;

use crate::failure::Failure;
use crate::health::HealthBook;
use crate::ports::{Clock, HealthStore, Ids, JobFilter, JobQueue, JobStore, PageRequest, RunStore, Tables};
use crate::submit::{SubmitRefusal, SubmitRequest, Submitter};
use crate::sync::{PAGE, list_failure};
use crate::tables::TableCache;
use crate::time_limit::TimeLimit;
use settle::settle_earlier_runs;
use tally::Tally;

/// Tables whose health is read at once; as [`crate::sync_health`].
const CONCURRENT_READS: usize = 8;
/// Candidates kept beyond those that may be submitted, for tables that somebody else takes first.
const SPARE_CANDIDATES: usize = 10;

/// What to look at. Empty lists: everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRequest {
    /// Submit nothing, and count what would be.
    pub dry_run: bool,
    /// Only tables of these databases.
    pub databases: Vec<DatabaseName>,
    /// Only these tables.
    pub tables: Vec<TableId>,
}

/// Submits what is due.
#[derive(Debug)]
pub struct Orchestrator<S, Q, T, C, I> {
    store: Arc<S>,
    book: HealthBook<S, T, C>,
    submitter: Submitter<S, Q, T, C, Arc<I>>,
    clock: C,
    ids: Arc<I>,
    limits: RunLimits,
}

/// What a run works on.
#[derive(Debug)]
pub struct RunPorts<S, Q, T, C, I> {
    /// Jobs, locks, the table cache, health and runs.
    pub store: Arc<S>,
    /// The job queue.
    pub queue: Arc<Q>,
    /// The catalog.
    pub tables: T,
    /// The clock.
    pub clock: C,
    /// Where ids of jobs and runs come from.
    pub ids: Arc<I>,
}

impl<S, Q, T, C, I> Orchestrator<S, Q, T, C, I>
where
    S: JobStore + HealthStore + RunStore,
    Q: JobQueue,
    T: Tables,
    C: Clock + Clone,
    I: Ids,
{
    /// An orchestrator over these ports, for tables that `policy` maintains by themselves.
    pub fn new(ports: RunPorts<S, Q, T, C, I>, policy: Policy, limits: RunLimits) -> Self {
        let RunPorts {
            store,
            queue,
            tables,
            clock,
            ids,
        } = ports;
        let cache = Arc::new(TableCache::new(Arc::clone(&store), tables, clock.clone()));
        let book = HealthBook::new(Arc::clone(&cache), policy);
        let submitter = Submitter::new(Arc::clone(&store), queue, cache, clock.clone(), Arc::clone(&ids));
        Self {
            store,
            book,
            submitter,
            clock,
            ids,
            limits,
        }
    }

    /// Runs once, as far as the time allows, and returns the record it kept.
    ///
    /// # Errors
    /// [`Failure`] when the record could not be kept. Whatever else goes wrong is in the record.
    pub async fn run(&self, request: &RunRequest, limit: TimeLimit) -> Result<Run, Failure> {
        let started_at = self.clock.now();
        let id = RunId::new(self.ids.job_id(started_at));
        let mut tally = Tally::new(id, started_at, request.dry_run);
        self.store.put_run(&tally.unfinished()).await?;
        if let Err(error) = settle_earlier_runs(&*self.store, started_at).await {
            tracing::warn!(%error, "the counts of earlier runs could not be brought up to date");
        }
        let mut shortlist = Shortlist::new(self.limits.max_submissions + SPARE_CANDIDATES);
        if let Err(error) = self.look(request, limit, (&mut shortlist, &mut tally)).await {
            tally.fail(&error);
        }
        // What was found is submitted, whatever ended the search.
        if let Err(error) = self.submit_best(shortlist, &mut tally).await {
            tally.fail(&error);
        }
        let run = tally.finished(self.clock.now());
        self.store.put_run(&run).await?;
        tracing::info!(
            event = ORCHESTRATOR_RUN_COMPLETED.name,
            run_id = run.id.as_str(),
            status = run.status.as_str(),
            tables_assessed = run.tables_assessed,
            tables_skipped = run.tables_skipped,
            tables_healthy = run.tables_healthy,
            jobs_submitted = run.jobs_submitted,
            dry_run = run.dry_run,
            cause = run.error
        );
        Ok(run)
    }

    /// Looks at every table asked for.
    async fn look(
        &self,
        request: &RunRequest,
        limit: TimeLimit,
        (shortlist, tally): (&mut Shortlist, &mut Tally),
    ) -> Result<(), Failure> {
        let drain = self.store.drain().await?.value;
        for database in scopes(request) {
            let mut cursor = None;
            loop {
                let page = self.page(request, database, cursor, tally).await?;
                self.assess(page.items, &drain, limit, (shortlist, tally)).await?;
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Jobs that may be submitted now.
    async fn free_slots(&self) -> Result<usize, Failure> {
        let mut active = 0;
        for status in [JobStatus::Pending, JobStatus::Running] {
            let filter = JobFilter {
                status: Some(status),
                ..JobFilter::default()
            };
            let mut cursor = None;
            while active < self.limits.max_active_jobs {
                let page = PageRequest { limit: PAGE, cursor };
                let page = self.store.jobs(&filter, &page).await.map_err(list_failure)?;
                active += page.items.len();
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
        }
        let free = self.limits.max_active_jobs.saturating_sub(active);
        Ok(free.min(self.limits.max_submissions))
    }

    /// A page of the entries to look at.
    async fn page(
        &self,
        request: &RunRequest,
        database: Option<&DatabaseName>,
        cursor: Option<String>,
        tally: &mut Tally,
    ) -> Result<crate::ports::Page<CacheEntry>, Failure> {
        if !request.tables.is_empty() {
            return Ok(crate::ports::Page {
                items: self.named(request, tally).await?,
                next: None,
            });
        }
        let page = PageRequest { limit: PAGE, cursor };
        let database = database.map(DatabaseName::as_str);
        self.store
            .cache_entries(database, &page)
            .await
            .map_err(list_failure)
    }

    /// The entries of the tables that the request names.
    async fn named(&self, request: &RunRequest, tally: &mut Tally) -> Result<Vec<CacheEntry>, Failure> {
        let is_wanted =
            |table: &&TableId| request.databases.is_empty() || request.databases.contains(&table.database);
        let mut entries = Vec::new();
        for table in request.tables.iter().filter(is_wanted) {
            match self.book.cache().find(table).await {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => tally.note(format!("the catalog has no table {table}")),
                Err(error) => tally.note(format!("{table} could not be looked up: {error}")),
            }
        }
        Ok(entries)
    }

    /// Looks at the health of tables that are not to be left alone, and puts those on which something is due on the
    /// shortlist.
    async fn assess(
        &self,
        entries: Vec<CacheEntry>,
        drain: &Drain,
        limit: TimeLimit,
        (shortlist, tally): (&mut Shortlist, &mut Tally),
    ) -> Result<(), Failure> {
        let tables: Vec<_> = entries.iter().map(|entry| entry.table.clone()).collect();
        let mut locks = self.store.locks(&tables).await?;
        let now = self.clock.now();
        let mut wanted = Vec::new();
        for entry in entries {
            let lock = locks.remove(&entry.table).unwrap_or_default();
            let situation = Situation {
                entry: &entry,
                lock: &lock,
                drain,
            };
            match self.book.policy().skip_cause(situation, now) {
                Some(cause) => tally.skip(cause),
                None => wanted.push((entry, lock)),
            }
        }
        let tables: Vec<_> = wanted.iter().map(|(entry, _)| entry.table.clone()).collect();
        let mut kept = self.store.latest_health(&tables).await?;
        let synced_at = self.store.cache_state().await?.last_synced;
        let looks = wanted.into_iter().map(|(entry, lock)| {
            let kept = kept.remove(&entry.table);
            let kept = kept.filter(|health| self.book.is_fresh(&entry, health, synced_at));
            self.look_at(entry, lock, kept, limit)
        });
        let mut looks = std::pin::pin!(stream::iter(looks).buffer_unordered(CONCURRENT_READS));
        while let Some(look) = looks.next().await {
            if let Some(candidate) = tally.count(look) {
                shortlist.offer(candidate);
            }
        }
        Ok(())
    }

    async fn look_at(
        &self,
        entry: CacheEntry,
        lock: Lock,
        kept: Option<TableHealth>,
        limit: TimeLimit,
    ) -> Look {
        if limit.is_reached() {
            return Look::NoTime;
        }
        let health = match kept {
            Some(health) => Ok(Some(health)),
            None => self.book.live(&entry.table).await,
        };
        match health {
            Ok(Some(health)) => self.judge(&entry, &lock, &health, self.clock.now()),
            Ok(None) => Look::Gone,
            Err(error) => {
                tracing::warn!(table = %entry.table, %error, "the table could not be assessed");
                Look::Failed(entry.table, error)
            }
        }
    }

    fn judge(&self, entry: &CacheEntry, lock: &Lock, health: &TableHealth, now: Timestamp) -> Look {
        let situation = Situation {
            entry,
            lock,
            drain: &Drain::default(),
        };
        let policy = self.book.policy();
        let advice = policy.advise(situation, health, now);
        let actions = advice.actions();
        if actions.is_empty() {
            return Look::Healthy;
        }
        Look::Due(Candidate {
            table: entry.table.clone(),
            actions,
            benefit: benefit(&advice.recommendations, &lock.upkeep, advice.cadence, now),
        })
    }

    /// Submits the best candidates until the slots are taken. Each job is in the record before the next is submitted, so
    /// that a run that dies is known by its jobs.
    async fn submit_best(&self, shortlist: Shortlist, tally: &mut Tally) -> Result<(), Failure> {
        let slots = self.free_slots().await?;
        for candidate in shortlist.into_best_first() {
            if tally.submitted() >= slots {
                break;
            }
            if tally.is_dry_run() {
                tally.would_submit();
                continue;
            }
            let table = candidate.table.clone();
            let request = SubmitRequest {
                table: candidate.table,
                actions: candidate.actions,
                options: JobOptions::default(),
                dry_run: false,
                idempotency_key: None,
            };
            match self.submitter.submit(request).await {
                Ok(Ok(job)) => {
                    tally.submit(&job);
                    self.store.put_run(&tally.unfinished()).await?;
                }
                Ok(Err(SubmitRefusal::Protocol(SubmitRefused::Busy(_)))) => tally.skip(SkipCause::ActiveJob),
                Ok(Err(SubmitRefusal::Protocol(SubmitRefused::Draining(_)))) => {
                    tally.skip(SkipCause::Draining);
                    break;
                }
                Ok(Err(refused)) => tally.note(format!("{table} was refused: {refused:?}")),
                Err(error) => tally.note(format!("{table} could not be submitted: {error}")),
            }
        }
        Ok(())
    }
}

/// The databases to page through; `None` stands for all.
fn scopes(request: &RunRequest) -> Vec<Option<&DatabaseName>> {
    if request.databases.is_empty() || !request.tables.is_empty() {
        return vec![None];
    }
    request.databases.iter().map(Some).collect()
}

/// What a look at one table found.
enum Look {
    Due(Candidate),
    Healthy,
    /// It was dropped since it was cached.
    Gone,
    NoTime,
    Failed(TableId, Failure),
}
