//! States that the model must reach, so that it is known to go where the protocol is hard.

use snowpack_domain::{JobStatus, MAX_ATTEMPTS};
use stateright::Property;

use crate::protocol::{Protocol, World};
use crate::state::{Base, Entry, Failure, JobState, Request, State, Step, Table, Worker};

type Condition = fn(&Protocol, &State) -> bool;

/// Every landmark of this world.
pub(crate) fn landmarks(world: &World) -> Vec<Property<Protocol>> {
    let everywhere: [(&'static str, Condition); 15] = [
        ("a job completes in its last attempt", |_, state| {
            let last = |job: &JobState| u32::from(job.attempt) == MAX_ATTEMPTS;
            jobs(state).any(|job| job.status == JobStatus::Completed && last(job))
        }),
        ("a job is given up", |_, state| {
            fails(state, Failure::AttemptsSpent)
        }),
        ("a job fails by its dead letter", |_, state| {
            fails(state, Failure::DeadLetter)
        }),
        ("a job fails by its action", |_, state| {
            fails(state, Failure::Action)
        }),
        ("a job is cancelled while it runs", |_, state| {
            let is_cancelled = |job: &JobState| job.status == JobStatus::Cancelled;
            busy(state).any(|worker| job_of(state, worker).is_some_and(is_cancelled))
        }),
        ("a slice is to be resumed after its first action", |_, state| {
            let yielded = |job: &JobState| job.status == JobStatus::Running && job.lease.is_none();
            jobs(state).any(|job| yielded(job) && job.results == 1)
        }),
        ("a job has two workers", |_, state| {
            let job = |worker: &Worker| (worker.table, worker.slot);
            let mut pairs = state.workers.windows(2).filter(|pair| !pair[0].is_idle());
            pairs.any(|pair| job(&pair[0]) == job(&pair[1]))
        }),
        (
            "a worker without the newest fence is about to commit in time",
            |_, state| busy(state).any(|worker| !worker.current && worker.step == Step::Cleared(Base::Live)),
        ),
        (
            "a worker without the newest fence is about to commit too late",
            |_, state| {
                busy(state).any(|worker| !worker.current && worker.step == Step::Cleared(Base::Replaced))
            },
        ),
        ("a commit succeeded whose answer was lost", |_, state| {
            busy(state).any(|worker| worker.step == Step::Unanswered(Request::Succeeded))
        }),
        ("a commit is under way whose worker is dead", |_, state| {
            let mut tables = state.tables.iter();
            tables.any(|table| table.files.under_way.is_some()) && busy(state).next().is_none()
        }),
        ("a job was removed and left its lock", |_, state| {
            state
                .tables
                .iter()
                .any(|table| has_removed(table) && table.holder.is_some())
        }),
        ("a job was removed and its lock freed", |_, state| {
            state
                .tables
                .iter()
                .any(|table| has_removed(table) && table.holder.is_none())
        }),
        ("a message comes for a job that has ended", |_, state| {
            let ended = |entry: &Entry| entry.job().is_some_and(|job| job.status.is_terminal());
            let mut slots = state.tables.iter().flat_map(|table| &table.slots);
            slots.any(|slot| slot.message && ended(&slot.entry))
        }),
        ("drain mode begins while a job runs", |_, state| {
            state.draining && jobs(state).any(|job| job.lease.is_some())
        }),
    ];
    let after_another: (&'static str, Condition) =
        ("a job runs next to a worker of the job before it", |_, state| {
            busy(state).any(|worker| {
                let table = &state.tables[usize::from(worker.table)];
                let mut slots = table.slots.iter().filter_map(|slot| slot.entry.job());
                let ended = !table.slots[usize::from(worker.slot)].entry.is_active();
                ended && slots.any(|job| job.status == JobStatus::Running)
            })
        });
    let here = everywhere
        .into_iter()
        .chain((world.slots > 1).then_some(after_another));
    here.map(|(name, condition)| Property::sometimes(name, condition))
        .collect()
}

fn jobs(state: &State) -> impl Iterator<Item = &JobState> {
    let slots = state.tables.iter().flat_map(|table| &table.slots);
    slots.filter_map(|slot| slot.entry.job())
}

fn fails(state: &State, failure: Failure) -> bool {
    jobs(state).any(|job| job.failure == Some(failure))
}

fn busy(state: &State) -> impl Iterator<Item = &Worker> {
    state.workers.iter().filter(|worker| !worker.is_idle())
}

fn job_of<'a>(state: &'a State, worker: &Worker) -> Option<&'a JobState> {
    state.slot(worker.table.into(), worker.slot.into()).entry.job()
}

fn has_removed(table: &Table) -> bool {
    table.slots.iter().any(|slot| slot.entry == Entry::Removed)
}
