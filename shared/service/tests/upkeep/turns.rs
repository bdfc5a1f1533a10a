//! Tables that never answer, or are the end of whoever reads them, keep no other from its turn.

use std::sync::Arc;
use std::time::Duration;

use snowpack_service::ports::{HealthStore as _, JobStore as _};
use snowpack_service::{Failure, SyncReport, TableCache, TimeLimit, sync_health, sync_tables};
use snowpack_testkit::table;
use tokio::time::{Instant, timeout};

use super::lake::Lake;

/// The time of one sync here, and what a schedule keeps beyond it.
const TIME: Duration = Duration::from_secs(60);
const RESERVE: Duration = Duration::from_secs(40);

/// Tables `db.a...` that hang, before the others in order of their names.
fn lake_of(hanging: usize, others: usize) -> Lake {
    let lake = Lake::new();
    for number in 0..hanging {
        lake.table(&format!("db.a{number:03}"), |made| made.hangs = true);
    }
    for number in 0..others {
        lake.table(&format!("db.b{number:03}"), |_| ());
    }
    lake
}

/// A sync as a schedule gives it time.
async fn sync(lake: &Lake) -> SyncReport {
    let begun = Instant::now();
    let report = sync_tables(&*lake.store, lake, &lake.clock, TimeLimit::after(TIME)).await;
    assert!(begun.elapsed() < TIME + RESERVE, "{:?}", begun.elapsed());
    report.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_cache_gets_to_its_end_whatever_hangs() {
    let lake = lake_of(90, 50).listing_names_only();
    let first = sync(&lake).await;
    assert!(!first.finished);
    let position = lake.store.cache_state().await.unwrap().position.unwrap();
    let names: Vec<_> = lake.cached().await.into_iter().map(|entry| entry.table).collect();
    assert_eq!(names.last(), Some(&position), "all that was begun is written");
    let second = sync(&lake).await;
    assert!(second.finished);
    let cached = lake.cached().await;
    assert_eq!(cached.len(), 140, "also those known by name only");
    assert_eq!(cached.iter().filter(|entry| entry.location.is_some()).count(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_hangs_is_a_failed_look_up() {
    let lake = lake_of(1, 0);
    let cache = TableCache::new(Arc::clone(&lake.store), lake.clone(), lake.clock.clone());
    let asked = timeout(RESERVE, cache.find(&table("db.a000"))).await;
    let failed = asked.unwrap().unwrap_err();
    assert!(
        matches!(&failed, Failure::Catalog(why) if why.0.contains("db.a000")),
        "{failed}"
    );
}

#[tokio::test(start_paused = true)]
async fn databases_are_listed_side_by_side() {
    let lake = Lake::new();
    for number in 0..40 {
        lake.table(&format!("db{number}.t"), |_| ());
    }
    lake.slow_listing(10);
    assert_eq!(sync(&lake).await.tables, 40);
}

/// Caches tables whose metadata hangs only from now on.
async fn cached_lake_of(hanging: usize, others: usize) -> Lake {
    let lake = lake_of(0, others);
    for number in 0..hanging {
        lake.table(&format!("db.a{number:03}"), |_| ());
    }
    sync(&lake).await;
    for number in 0..hanging {
        lake.table(&format!("db.a{number:03}"), |made| {
            made.version -= 1;
            made.hangs = true;
        });
    }
    lake
}

async fn with_health(lake: &Lake) -> usize {
    let tables: Vec<_> = lake.cached().await.into_iter().map(|entry| entry.table).collect();
    lake.store.latest_health(&tables).await.unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn health_is_read_of_all_tables_that_answer() {
    let lake = cached_lake_of(60, 30).await;
    for _ in 0..4 {
        let begun = Instant::now();
        let report = sync_health(&lake.book(), TimeLimit::after(TIME)).await.unwrap();
        assert!(begun.elapsed() < TIME + RESERVE, "{:?}", begun.elapsed());
        assert_eq!(report.collected + report.fresh + report.failed + report.left, 90);
    }
    assert_eq!(with_health(&lake).await, 30);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_the_end_of_its_reader_is_passed_by() {
    let lake = cached_lake_of(1, 200).await;
    for _ in 0..4 {
        // Cut off in the middle, as a process that has no memory left.
        let cut = timeout(
            Duration::from_secs(1),
            sync_health(&lake.book(), TimeLimit::none()),
        )
        .await;
        assert!(cut.is_err(), "one table hangs");
    }
    assert_eq!(with_health(&lake).await, 200);
}
