//! What must hold, by name: after each write, at each commit and delete, for each answer, and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use snowpack_domain::{
    Action, Fence, Job, JobId, JobStatus, Lock, MAX_ATTEMPTS, Pair, TableId, Violation, check_pair,
    check_step,
};
use snowpack_service::ports::Write;
use tokio::time::Instant;

use crate::memory_store::State;
use crate::process::Process;

/// How soon a worker that nothing hinders stops after a cancel (api.md, Cancel).
const STOP: Duration = Duration::from_secs(10);

/// What a write found.
pub(crate) struct Before {
    job: Option<Job>,
    table: Option<TableId>,
    lock: Lock,
}

impl Before {
    pub(crate) fn of(state: &State, write: &Write) -> Self {
        let job = write
            .job
            .as_ref()
            .and_then(|job| state.job(&job.value.id))
            .cloned();
        let of_job = write.job.as_ref().map(|job| &job.value.table);
        let table = write.lock.as_ref().map(|(table, _)| table).or(of_job).cloned();
        let lock = table.as_ref().map(|table| state.lock(table).value);
        Self {
            job,
            table,
            lock: lock.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Checks(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    violation: Option<Violation>,
    writes: u64,
    /// The number of the newest write of each holder of a job.
    confirmed: BTreeMap<(JobId, Fence), u64>,
    /// Holders that may commit or delete once.
    permitted: BTreeSet<(JobId, Fence)>,
    cancelled: BTreeMap<JobId, Instant>,
    /// Actions that succeeded.
    earned: BTreeSet<(JobId, Action)>,
    accepted: BTreeMap<JobId, (TableId, Vec<Action>)>,
    refused: BTreeSet<JobId>,
    keys: BTreeMap<String, JobId>,
}

impl Seen {
    fn require(&mut self, holds: bool, invariant: &'static str, seen: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            let seen = seen();
            self.violation = Some(Violation { invariant, seen });
        }
    }

    fn take(&mut self, checked: Result<(), Violation>) {
        if let Err(violation) = checked {
            self.violation.get_or_insert(violation);
        }
    }
}

impl Checks {
    pub(crate) fn violation(&self) -> Option<Violation> {
        self.0.lock().unwrap().violation.clone()
    }

    pub(crate) fn require(&self, holds: bool, invariant: &'static str, seen: impl FnOnce() -> String) {
        self.0.lock().unwrap().require(holds, invariant, seen);
    }

    pub(crate) fn take(&self, checked: Result<(), Violation>) {
        self.0.lock().unwrap().take(checked);
    }

    /// After a write: the domain's invariants, and
    ///
    /// - `LK-2`: the lock of a table is held by its one active job, or by nobody when it has none.
    /// - `FN-3`: only the worker that holds a job notes its heartbeats, results, yields and completion.
    /// - `DR-1`: nothing is accepted or claimed under drain mode.
    /// - `JB-6`: no job gets more attempts than there are.
    /// - `JB-4`: results are those of the job's actions in order, each once, then at most one failure; a completed
    ///   job has all of them.
    /// - `JB-7`: a result of success is kept only of an action that succeeded.
    pub(crate) fn applied(&self, before: &Before, state: &State, write: &Write, writer: &str) {
        let seen = &mut *self.0.lock().unwrap();
        seen.writes += 1;
        let Some(table) = &before.table else {
            return;
        };
        let lock = state.lock(table).value;
        seen.require(lock.fence >= before.lock.fence, "FN-2", || {
            format!("{table}: {:?} -> {lock:?}", before.lock)
        });
        if let Some(job) = write.job.as_ref().and_then(|job| state.job(&job.value.id)) {
            let after = Pair {
                job: job.clone(),
                lock: lock.clone(),
            };
            seen.take(check_pair(&after));
            if let Some(found) = &before.job {
                let found = Pair {
                    job: found.clone(),
                    lock: before.lock.clone(),
                };
                seen.take(check_step(&found, &after));
            }
            seen.check_job(before.job.as_ref(), job, state, writer);
        }
        let active = state.jobs.values().map(|job| &job.value);
        let active = active.filter(|job| job.table == *table && !job.is_terminal());
        let active: Vec<&JobId> = active.map(|job| &job.id).collect();
        seen.require(active == Vec::from_iter(&lock.holder), "LK-2", || {
            format!("{table}: active {active:?}, lock {lock:?}")
        });
    }

    /// The store confirmed writes of holders this often.
    pub(crate) fn writes(&self) -> u64 {
        self.0.lock().unwrap().writes
    }

    /// `TB-2`: a checkpoint succeeds only with a write of the holder under its fence since it began.
    pub(crate) fn checkpoint_passed(&self, job: &JobId, fence: Fence, began: u64) {
        let seen = &mut *self.0.lock().unwrap();
        let confirmed = seen.confirmed.get(&(job.clone(), fence));
        seen.require(confirmed.is_some_and(|write| *write > began), "TB-2", || {
            format!("a checkpoint of {job} under {fence} passed without the store")
        });
        seen.permitted.insert((job.clone(), fence));
    }

    /// `TB-2`: each commit and each batch of deletes has a checkpoint of its own before it.
    pub(crate) fn commits(&self, job: &JobId, fence: Fence) {
        let seen = &mut *self.0.lock().unwrap();
        let permitted = seen.permitted.remove(&(job.clone(), fence));
        seen.require(permitted, "TB-2", || {
            format!("{job} under {fence} changes its table without a checkpoint")
        });
    }

    /// `TB-3`: an action whose result is kept never runs again.
    pub(crate) fn action_starts(&self, job: Option<&Job>, action: Action, fence: Fence) {
        let kept = |job: &Job| job.fence == fence && job.results.iter().any(|result| result.action == action);
        self.require(!job.is_some_and(kept), "TB-3", || format!("{action} of {job:?}"));
    }

    pub(crate) fn action_succeeded(&self, job: &JobId, action: Action) {
        self.0.lock().unwrap().earned.insert((job.clone(), action));
    }

    /// `CN-1`: the worker of a cancelled job stops in time, unless it stood still or the store did not answer it.
    pub(crate) fn worker_stopped(&self, process: &Process, job: &JobId, started: Instant) {
        let seen = &mut *self.0.lock().unwrap();
        let Some(cancelled) = seen.cancelled.get(job) else {
            return;
        };
        let due = (*cancelled)
            .max(started)
            .max(process.hindered_until().unwrap_or(started))
            + STOP;
        let late = Instant::now().saturating_duration_since(due);
        seen.require(late.is_zero(), "CN-1", || {
            format!("{} worked on the cancelled {job} {late:?} too long", process.name)
        });
    }

    /// `SB-4`: an accepted job is stored. `SB-3`: a key stands for one job.
    pub(crate) fn accepted(&self, state: &State, job: &Job, key: Option<&String>) {
        let seen = &mut *self.0.lock().unwrap();
        seen.require(state.job(&job.id).is_some(), "SB-4", || format!("{job:?}"));
        seen.accepted
            .insert(job.id.clone(), (job.table.clone(), job.actions.clone()));
        if let Some(key) = key {
            let first = seen
                .keys
                .entry(key.clone())
                .or_insert_with(|| job.id.clone())
                .clone();
            seen.require(first == job.id, "SB-3", || {
                format!("{key}: {first} and {}", job.id)
            });
        }
    }

    /// `SB-1`: a refused submit leaves nothing behind.
    pub(crate) fn refused(&self, state: &State, id: &JobId, why: &str) {
        let seen = &mut *self.0.lock().unwrap();
        seen.require(state.job(id).is_none(), "SB-1", || {
            format!("{id} was refused: {why}")
        });
        seen.refused.insert(id.clone());
    }

    pub(crate) fn some_accepted(&self) -> Vec<JobId> {
        self.0.lock().unwrap().accepted.keys().cloned().collect()
    }

    /// Once everything is quiet: `SB-4` and `SB-1` for all answers ever given.
    pub(crate) fn at_the_end(&self, state: &State) {
        let seen = &mut *self.0.lock().unwrap();
        let lost = seen.accepted.iter().find(|(id, (table, actions))| {
            let kept = |job: &Job| job.table == *table && job.actions == *actions;
            !state.job(id).is_some_and(kept)
        });
        let lost = lost.map(|(id, _)| id.clone());
        seen.require(lost.is_none(), "SB-4", || format!("{lost:?} is gone or changed"));
        let left = seen.refused.iter().find(|id| state.job(id).is_some()).cloned();
        seen.require(left.is_none(), "SB-1", || format!("{left:?} was refused"));
    }
}

impl Seen {
    fn check_job(&mut self, before: Option<&Job>, after: &Job, state: &State, writer: &str) {
        if let Some(lease) = &after.lease
            && lease.worker == writer
        {
            self.confirmed
                .insert((after.id.clone(), after.fence), self.writes);
        }
        if after.status == JobStatus::Cancelled {
            self.cancelled
                .entry(after.id.clone())
                .or_insert_with(Instant::now);
        }
        let claimed = before.is_some_and(|before| after.lease.is_some() && before.fence != after.fence);
        let draining = state.drain().value.enabled;
        self.require(!draining || !(claimed || before.is_none()), "DR-1", || {
            format!("{writer} got {after:?}")
        });
        if let Some(before) = before {
            let holder = before.lease.as_ref().map(|lease| lease.worker.as_str());
            self.require(
                holder == Some(writer) || !only_the_holder_may(before, after),
                "FN-3",
                || format!("{writer} wrote for {holder:?}: {before:?} -> {after:?}"),
            );
        }
        self.require(after.attempt <= MAX_ATTEMPTS, "JB-6", || format!("{after:?}"));
        self.check_results(after);
    }

    fn check_results(&mut self, job: &Job) {
        let kept = job.results.iter().take_while(|result| result.outcome.is_ok());
        let succeeded: Vec<Action> = kept.map(|result| result.action).collect();
        let whole = job.status != JobStatus::Completed || succeeded == job.actions;
        let failures = job.results.len() - succeeded.len();
        let sound = job.actions.starts_with(&succeeded) && whole && failures <= 1;
        self.require(sound, "JB-4", || {
            format!(
                "{} {:?}: {:?} of {:?}",
                job.id, job.status, job.results, job.actions
            )
        });
        let kept = job
            .results
            .iter()
            .filter(|result| result.outcome.is_ok() && !job.dry_run);
        let unearned = kept
            .map(|result| (job.id.clone(), result.action))
            .find(|result| !self.earned.contains(result));
        self.require(unearned.is_none(), "JB-7", || format!("{unearned:?}"));
    }
}

fn only_the_holder_may(before: &Job, after: &Job) -> bool {
    let until = |job: &Job| job.lease.as_ref().map(|lease| lease.expires_at);
    let same_claim = before.fence == after.fence && !after.is_terminal();
    let renewed = same_claim && until(after) > until(before);
    let yielded = same_claim && before.lease.is_some() && after.lease.is_none();
    let more_results = after.results.len() > before.results.len();
    let completed = after.status == JobStatus::Completed && before.status != JobStatus::Completed;
    renewed || yielded || more_results || completed
}
