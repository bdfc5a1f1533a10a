//! One run of the orchestrator: looks at every table's health and submits jobs for those with the most to gain
//! (operations.md, Orchestrator).
//!
//! Runs may overlap, be delivered twice or die: a table's lock lets one job in, and the record of a run is written
//! before anything is submitted, so that a run that died is seen. One bad table stops nothing.

mod earlier;
mod look;
mod submitting;
mod tally;

use std::sync::Arc;

use snowpack_domain::{DatabaseName, Policy, Run, RunId, RunLimits, Shortlist, TableId, Timestamp};
use snowpack_telemetry::events::ORCHESTRATOR_RUN_COMPLETED;

use crate::failure::Failure;
use crate::health::HealthBook;
use crate::ports::{Clock, HealthStore, Ids, JobQueue, JobStore, RunStore, Tables};
use crate::submit::Submitter;
use crate::tables::TableCache;
use crate::time_limit::TimeLimit;
use earlier::see_to_earlier_runs;
pub use submitting::SUBMITTING_TIME;
use tally::Tally;

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

impl RunRequest {
    /// Whether it asks for every table, and for jobs.
    fn is_for_everything(&self) -> bool {
        !self.dry_run && self.databases.is_empty() && self.tables.is_empty()
    }
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

    /// Runs once and returns the record it kept. No table is looked at once the time limit is reached; what was found is
    /// submitted for [`SUBMITTING_TIME`] beyond it.
    ///
    /// # Errors
    /// [`Failure`] when the record could not be kept. Whatever else goes wrong is in the record.
    pub async fn run(&self, request: &RunRequest, limit: TimeLimit) -> Result<Run, Failure> {
        let started_at = self.clock.now();
        let id = RunId::new(self.ids.job_id(started_at));
        let mut tally = Tally::new(id, started_at, request);
        self.store.put_run(&tally.unfinished()).await?;
        let start = self.start(started_at).await;
        let mut shortlist = Shortlist::new(self.limits.max_submissions + SPARE_CANDIDATES);
        let looked = self.look(request, start.as_ref(), limit, (&mut shortlist, &mut tally));
        if let Err(error) = looked.await {
            tally.fail(&error);
        }
        // What was found is submitted, whatever ended the search.
        let limit = limit.plus(SUBMITTING_TIME);
        if let Err(error) = self.submit_best(shortlist, limit, &mut tally).await {
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

    /// The table to start with. What earlier runs left is seen to on the way.
    async fn start(&self, now: Timestamp) -> Option<TableId> {
        see_to_earlier_runs(&*self.store, now)
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "the records of earlier runs could not be brought up to date");
                None
            })
    }
}
