//! Schedules of concurrent writers: an action runs on a table in memory, and at every await point (before and
//! after each effect on files, catalog and fence) a schedule decides whether another writer commits, or the
//! process dies. Afterwards an independent reader finds the rows that the writers meant: none lost, none back.
//!
//! A failure names its seed. `SNOWPACK_SCHEDULE_SEED=<seed>` runs that one alone and prints its await points.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::SeedableRng;
use rand::rngs::StdRng;
use snowpack_domain::Action;

use crate::action::{Job, converge, play};
use crate::lake::grown;
use crate::model::Flaw;
use crate::scheduler::{Scheduler, WRITERS};
use crate::world::{World, lock};

/// Random schedules in every run of the tests.
const SCHEDULES: u64 = 10_000;
/// Tables they start from: growing one costs more than running a schedule on a copy of it.
const TABLES: u64 = 250;
/// One schedule of so many ends with runs until nothing is left to do.
const CONVERGES: u64 = 10;
/// Runs one seed alone.
const SEED: &str = "SNOWPACK_SCHEDULE_SEED";

/// Runs `work` with no other thread: what happens is decided by the schedule alone.
pub(crate) fn alone<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// One random schedule on a copy of `table`; returns what happened.
fn random(table: &World, seed: u64) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(!seed);
    let job = Job::random(&mut rng, table.table().1.format_version());
    let world = table.fork(Scheduler::random(seed));
    let played = catch_unwind(AssertUnwindSafe(|| {
        alone(async {
            play(&world, &job).await;
            if seed.is_multiple_of(CONVERGES) && !job.rewrites_all() {
                converge(&world, &job).await;
            }
        });
    }));
    let mut trace = std::mem::take(&mut lock(&world.scheduler).trace);
    trace.insert(0, format!("{job:?}"));
    if let Err(panic) = played {
        if std::env::var(SEED).is_ok() {
            eprintln!("{}", trace.join("\n"));
        }
        std::panic::resume_unwind(panic);
    }
    trace
}

/// Runs `work` for every number below `count`, on all cores; panics with the numbers that failed.
pub(crate) fn on_all_cores(count: u64, work: impl Fn(u64) + Sync) {
    let (next, failed) = (AtomicU64::new(0), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= count {
                        return;
                    }
                    if catch_unwind(AssertUnwindSafe(|| work(number))).is_err() {
                        failed.lock().unwrap().push(number);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "failed: {failed:?}; each runs alone with {SEED}=<number>"
    );
}

#[test]
fn no_schedule_loses_or_resurrects_a_row() {
    if let Ok(seed) = std::env::var(SEED) {
        let seed: u64 = seed.parse().expect("the seed is a number");
        random(&grown(seed % TABLES, None), seed);
        return;
    }
    on_all_cores(TABLES, |table| {
        let world = grown(table, None);
        for seed in (table..SCHEDULES).step_by(TABLES as usize) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| random(&world, seed))) {
                eprintln!("schedule {seed} failed");
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// Every await point of every action meets every kind of writer.
#[test]
fn every_await_point_meets_every_writer() {
    let actions = [
        (Action::RewriteDataFiles, 3),
        (Action::RewritePositionDeleteFiles, 2),
        (Action::ExpireSnapshots, 3),
        (Action::RewriteManifests, 3),
        (Action::RemoveOrphanFiles, 2),
    ];
    let met = AtomicU64::new(0);
    on_all_cores(actions.len() as u64, |index| {
        let (action, version) = actions[index as usize];
        let is_of_version = |table: &Arc<World>| table.table().1.format_version() as u64 == version;
        let table = (0..).map(|seed| grown(seed, None)).find(is_of_version).unwrap();
        let job = Job::of(action, &mut StdRng::seed_from_u64(7));
        let run = |point: u64, kind| {
            let world = table.fork(Scheduler::ordered(index, point, kind));
            alone(async {
                job.run(&world, 1).await;
                world.check_kept();
            });
            lock(&world.scheduler).points
        };
        for kind in WRITERS {
            let mut point = 0;
            while run(point, kind) > point {
                point += 1;
            }
            met.fetch_add(point, Ordering::SeqCst);
        }
    });
    assert!(met.into_inner() > 0, "no action has an await point");
}

#[test]
fn the_same_seed_is_the_same_schedule() {
    for seed in 0..60 {
        let run = || random(&grown(seed, None), seed);
        let (first, second) = (run(), run());
        let differs = first.iter().zip(&second).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}: {}", first[0]);
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// The test of the test: with a fault put in, schedules fail.
#[test]
fn faults_put_in_on_purpose_are_found() {
    for flaw in [Flaw::NoCompareAndSet, Flaw::BackdatedDeletes] {
        let found = (0..200).find(|&seed| {
            let table = grown(seed, Some(flaw));
            catch_unwind(AssertUnwindSafe(|| random(&table, seed))).is_err()
        });
        assert!(found.is_some(), "no schedule notices {flaw:?}");
    }
}
