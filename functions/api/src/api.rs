//! What the routes work on: the ports, and the use cases built from them.

use std::future::Future;
use std::sync::Arc;

use snowpack_domain::{DatabaseName, Duration, Job, Policy, RunId};
use snowpack_service::ports::{Clock, HealthStore, Ids, JobQueue, JobStore, RunStore, Tables};
use snowpack_service::{Failure, HealthBook, SubmitRefusal, SubmitRequest, Submitter, TableCache};

/// Oldest table cache that is still ready unless told otherwise: three syncs missed at their default of five minutes.
const CACHE_MAX_AGE: Duration = Duration::from_seconds(900);

/// The ports the API needs.
#[derive(Debug)]
pub struct Ports<S, Q, T, C, I> {
    /// Where jobs, the table cache, health and records of runs are kept.
    pub store: Arc<S>,
    /// Where accepted jobs wait.
    pub queue: Arc<Q>,
    /// The catalog.
    pub tables: T,
    /// The clock.
    pub clock: C,
    /// Where job ids come from.
    pub ids: I,
}

/// The API's use cases over one set of ports. Built once, shared by all requests.
#[derive(Debug)]
pub struct Api<S, Q, T, C, I> {
    store: Arc<S>,
    queue: Arc<Q>,
    cache: Arc<TableCache<S, T, C>>,
    book: HealthBook<S, T, C>,
    submitter: Submitter<S, Q, T, C, Arc<I>>,
    clock: C,
    ids: Arc<I>,
    cache_max_age: Duration,
}

impl<S, Q, T, C, I> Api<S, Q, T, C, I>
where
    S: JobStore + HealthStore,
    Q: JobQueue,
    T: Tables,
    C: Clock + Clone,
    I: Ids,
{
    /// An API over these ports, for a deployment of this policy.
    pub fn new(ports: Ports<S, Q, T, C, I>, policy: Policy) -> Self {
        let Ports {
            store,
            queue,
            tables,
            clock,
            ids,
        } = ports;
        let ids = Arc::new(ids);
        let cache = Arc::new(TableCache::new(Arc::clone(&store), tables, clock.clone()));
        Self {
            submitter: Submitter::new(
                Arc::clone(&store),
                Arc::clone(&queue),
                Arc::clone(&cache),
                clock.clone(),
                Arc::clone(&ids),
            ),
            book: HealthBook::new(Arc::clone(&cache), policy),
            store,
            queue,
            cache,
            clock,
            ids,
            cache_max_age: CACHE_MAX_AGE,
        }
    }

    /// The same, ready while the table cache is no older than this.
    #[must_use]
    pub fn with_cache_max_age(self, cache_max_age: Duration) -> Self {
        Self {
            cache_max_age,
            ..self
        }
    }
}

/// An [`Api`] with its five port types under one name, so that routes are generic over one parameter.
pub(crate) trait Backend: Send + Sync + 'static {
    type Store: JobStore + HealthStore + RunStore;
    type Queue: JobQueue;
    type Tables: Tables;
    type Clock: Clock;

    fn store(&self) -> &Self::Store;
    fn queue(&self) -> &Self::Queue;
    fn cache(&self) -> &TableCache<Self::Store, Self::Tables, Self::Clock>;
    fn book(&self) -> &HealthBook<Self::Store, Self::Tables, Self::Clock>;
    fn clock(&self) -> &Self::Clock;
    /// Oldest table cache that is ready.
    fn cache_max_age(&self) -> Duration;
    /// An id for a new record of a run.
    fn run_id(&self) -> RunId;
    /// Whether the deployment maintains this database by itself.
    fn allows(&self, database: &DatabaseName) -> bool;
    fn submit(
        &self,
        request: SubmitRequest,
    ) -> impl Future<Output = Result<Result<Job, SubmitRefusal>, Failure>> + Send;
}

impl<S, Q, T, C, I> Backend for Api<S, Q, T, C, I>
where
    S: JobStore + HealthStore + RunStore,
    Q: JobQueue,
    T: Tables,
    C: Clock,
    I: Ids,
{
    type Store = S;
    type Queue = Q;
    type Tables = T;
    type Clock = C;

    fn store(&self) -> &S {
        &self.store
    }

    fn queue(&self) -> &Q {
        &self.queue
    }

    fn cache(&self) -> &TableCache<S, T, C> {
        &self.cache
    }

    fn book(&self) -> &HealthBook<S, T, C> {
        &self.book
    }

    fn clock(&self) -> &C {
        &self.clock
    }

    fn cache_max_age(&self) -> Duration {
        self.cache_max_age
    }

    fn run_id(&self) -> RunId {
        RunId::new(self.ids.job_id(self.clock.now()))
    }

    fn allows(&self, database: &DatabaseName) -> bool {
        self.book.policy().allows(database)
    }

    fn submit(
        &self,
        request: SubmitRequest,
    ) -> impl Future<Output = Result<Result<Job, SubmitRefusal>, Failure>> + Send {
        self.submitter.submit(request)
    }
}
