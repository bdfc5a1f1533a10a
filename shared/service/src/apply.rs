//! Apply a write and know whether it took effect, even when the store's answer was lost; and the loop of read,
//! decide and write around it.

use snowpack_domain::{JobId, Pair};

use crate::failure::Failure;
use crate::ports::{JobStore, StoreError, Versioned, Write, Written};

/// Races a use case may lose before it gives up: far above what a table's few writers can cause.
const MAX_RACES: u32 = 20;

/// The writes of one use case, which decides again after each lost race.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    lost: u32,
}

impl Writes {
    /// Applies the write; `Ok(false)` asks the caller to read and decide again.
    ///
    /// A store that cannot be reached may have applied it all the same, and one that tried again may take its own
    /// first try for another writer. So the job is read back: it is there as written, under the next version,
    /// exactly when the write took effect; one that the write creates is there in whatever state.
    ///
    /// # Errors
    /// [`Failure::Contended`] after [`MAX_RACES`] lost races; [`Failure::Store`] when the write is not known to
    /// have taken effect. It can then still do so, for as long as a request can be on its way.
    pub(crate) async fn apply<S: JobStore>(&mut self, store: &S, write: &Write) -> Result<bool, Failure> {
        match store.write(write).await {
            Ok(Written::Applied) => return Ok(true),
            Ok(Written::LostRace) => {
                if took_effect(store, write).await? {
                    return Ok(true);
                }
            }
            Err(StoreError::Unavailable(reason)) => {
                let lost_answer = matches!(took_effect(store, write).await, Ok(true));
                return if lost_answer {
                    Ok(true)
                } else {
                    Err(StoreError::Unavailable(reason).into())
                };
            }
            Err(error) => return Err(error.into()),
        }
        if self.lost >= MAX_RACES {
            return Err(Failure::Contended);
        }
        self.lost += 1;
        Ok(false)
    }
}

async fn took_effect<S: JobStore>(store: &S, write: &Write) -> Result<bool, StoreError> {
    let Some(job) = &write.job else {
        return Ok(false);
    };
    let stored = store.job(&job.value.id).await?;
    Ok(stored.is_some_and(|stored| {
        // Nobody else creates a job of this id, and it may have moved on already.
        let creates = job.version == 0;
        creates || (stored.version == job.version + 1 && stored.value == job.value)
    }))
}

/// Changes a job and its table's lock as `decide` says; `None` when there is no such job.
///
/// # Errors
/// As [`Writes::apply`].
pub(crate) async fn change_pair<S: JobStore, R>(
    store: &S,
    id: &JobId,
    decide: impl Fn(Pair) -> Result<Pair, R>,
) -> Result<Option<Result<Pair, R>>, Failure> {
    let mut writes = Writes::default();
    loop {
        let Some(job) = store.job(id).await? else {
            return Ok(None);
        };
        let lock = store.lock(&job.value.table).await?;
        let versions = (job.version, lock.version);
        let pair = Pair {
            job: job.value,
            lock: lock.value,
        };
        let next = match decide(pair) {
            Ok(next) => next,
            Err(refused) => return Ok(Some(Err(refused))),
        };
        if writes.apply(store, &pair_write(&next, versions)).await? {
            return Ok(Some(Ok(next)));
        }
    }
}

/// The write of a job and its lock over the versions read.
pub(crate) fn pair_write(pair: &Pair, (job_version, lock_version): (u64, u64)) -> Write {
    Write {
        job: Some(Versioned {
            value: pair.job.clone(),
            version: job_version,
        }),
        lock: Some((
            pair.job.table.clone(),
            Versioned {
                value: pair.lock.clone(),
                version: lock_version,
            },
        )),
        ..Write::default()
    }
}
