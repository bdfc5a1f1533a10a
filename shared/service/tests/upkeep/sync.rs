//! Sync writes what changed and nothing else, and goes on where it ran out of time.

use std::time::Duration;

use snowpack_service::ports::JobStore as _;
use snowpack_service::{SyncReport, TimeLimit, sync_health, sync_tables};

use snowpack_telemetry::Capture;

use super::lake::Lake;

const TABLES: usize = 250;

fn lake_of(tables: usize) -> Lake {
    let lake = Lake::new();
    fill(&lake, tables);
    lake
}

fn fill(lake: &Lake, tables: usize) {
    for number in 0..tables {
        lake.table(&format!("db{}.t{number:04}", number % 3), |_| ());
    }
}

async fn sync(lake: &Lake, limit: TimeLimit) -> SyncReport {
    sync_tables(&*lake.store, lake, &lake.clock, limit).await.unwrap()
}

#[tokio::test]
async fn an_idle_lake_is_neither_loaded_nor_written() {
    let lake = lake_of(TABLES);
    let first = sync(&lake, TimeLimit::none()).await;
    assert_eq!((first.tables, first.written), (TABLES as u64, TABLES as u64));
    assert_eq!(lake.asked(), (TABLES, 0));
    let before = lake.cached().await;
    let second = sync(&lake, TimeLimit::none()).await;
    assert_eq!((second.written, second.removed, lake.asked()), (0, 0, (0, 0)));
    assert_eq!(lake.cached().await, before);

    lake.table("db0.t0000", |made| {
        made.properties
            .insert("snowpack.min_input_files".into(), "2".into());
    });
    lake.drop_table("db1.t0001");
    lake.table("db9.new", |_| ());
    let third = sync(&lake, TimeLimit::none()).await;
    assert_eq!((third.written, third.removed, lake.asked()), (2, 1, (2, 0)));
    let cached = lake.cached().await;
    assert_eq!(cached.len(), TABLES);
    assert_eq!(cached[0].properties["snowpack.min_input_files"], "2");
    assert_eq!(lake.store.cache_state().await.unwrap().generation, 3);
}

#[tokio::test]
async fn a_list_of_names_is_loaded_and_written_only_if_changed() {
    let lake = lake_of(20).listing_names_only();
    assert_eq!(sync(&lake, TimeLimit::none()).await.written, 20);
    lake.table("db0.t0000", |_| ());
    lake.asked();
    assert_eq!(sync(&lake, TimeLimit::none()).await.written, 1);
    assert_eq!(lake.asked(), (20, 0));
}

/// Cut off at its first look at the clock.
async fn sync_for_a_moment(lake: &Lake) -> SyncReport {
    sync(lake, TimeLimit::after(Duration::ZERO)).await
}

#[tokio::test]
async fn without_time_nothing_is_lost_and_nothing_counts_as_synced() {
    for lake in [lake_of(TABLES), lake_of(TABLES).listing_names_only()] {
        let cut = sync_for_a_moment(&lake).await;
        assert_eq!((cut.finished, cut.written), (false, 0));
        let state = lake.store.cache_state().await.unwrap();
        assert_eq!((state.generation, state.last_synced), (0, None));
        assert!(sync(&lake, TimeLimit::none()).await.finished);
        assert_eq!(lake.cached().await.len(), TABLES);
    }
}

#[tokio::test]
async fn a_later_sync_goes_on_behind_the_last_table() {
    let lake = lake_of(TABLES).listing_names_only();
    // As a sync that came to the middle leaves it.
    let position = lake_names(&lake).await.remove(TABLES / 2);
    let state = snowpack_domain::CacheState {
        position: Some(position.clone()),
        ..lake.store.cache_state().await.unwrap()
    };
    lake.store.set_cache_state(&state).await.unwrap();
    let rest = sync(&lake, TimeLimit::none()).await;
    assert_eq!((rest.finished, lake.asked().0), (true, TABLES - TABLES / 2 - 1));
    assert!(lake.cached().await.iter().all(|entry| entry.table > position));
    let state = lake.store.cache_state().await.unwrap();
    assert_eq!((state.position, state.generation), (None, 1));
    assert_eq!(
        sync(&lake, TimeLimit::none()).await.written as usize,
        TABLES / 2 + 1
    );
}

async fn lake_names(lake: &Lake) -> Vec<snowpack_domain::TableId> {
    use snowpack_service::ports::Tables as _;
    let mut names = Vec::new();
    for database in lake.databases().await.unwrap() {
        names.extend(
            lake.list(&database)
                .await
                .unwrap()
                .into_iter()
                .map(|listed| listed.table),
        );
    }
    names.sort();
    names
}

#[tokio::test]
async fn a_broken_listing_changes_nothing_and_damage_keeps_what_was_known() {
    let lake = lake_of(3);
    lake.table("db0.t0000", |made| {
        made.properties
            .insert("snowpack.maintenance_enabled".into(), "false".into());
    });
    sync(&lake, TimeLimit::none()).await;
    let before = lake.cached().await;
    lake.drop_table("db1.t0001");
    lake.break_listing(true);
    assert!(
        sync_tables(&*lake.store, &lake, &lake.clock, TimeLimit::none())
            .await
            .is_err()
    );
    assert_eq!(lake.cached().await, before);

    lake.break_listing(false);
    lake.table("db0.t0000", |made| made.damaged = true);
    let report = sync(&lake, TimeLimit::none()).await;
    assert_eq!((report.unreadable, report.removed), (1, 1));
    assert_eq!(lake.cached().await[0], before[0], "an opt-out is not forgotten");
}

#[tokio::test]
async fn health_is_read_when_it_is_stale_and_one_bad_table_stops_nothing() {
    let lake = lake_of(30);
    lake.table("db0.t0000", |made| made.damaged = true);
    sync(&lake, TimeLimit::none()).await;
    let book = lake.book();
    let first = sync_health(&book, TimeLimit::none()).await.unwrap();
    assert_eq!((first.collected, first.failed, first.fresh), (29, 1, 0));
    lake.pass(3600);
    lake.table("db1.t0001", |_| ());
    sync(&lake, TimeLimit::none()).await;
    let second = sync_health(&book, TimeLimit::none()).await.unwrap();
    assert_eq!(
        (second.collected, second.failed, second.fresh),
        (1, 1, 28),
        "the changed one"
    );
    lake.pass(6 * 3600);
    for (is_synced, left, fresh) in [(false, 30, 0), (true, 29, 1)] {
        if is_synced {
            sync(&lake, TimeLimit::none()).await;
        }
        let none = sync_health(&book, TimeLimit::after(Duration::ZERO)).await;
        let none = none.unwrap();
        assert_eq!((none.collected, none.left, none.fresh), (0, left, fresh));
    }
}

#[tokio::test]
async fn the_log_tells_of_the_tables_and_of_those_that_need_maintenance() {
    let (lake, capture) = (lake_of(4), Capture::start());
    lake.table("db0.t0000", |made| made.files_in = 50);
    lake.table("db1.t0001", |made| made.damaged = true);
    sync(&lake, TimeLimit::none()).await;
    for fresh in [0, 3] {
        let report = sync_health(&lake.book(), TimeLimit::none()).await.unwrap();
        assert_eq!(
            (report.fresh, report.needing_maintenance, report.failed),
            (fresh, 1, 1)
        );
    }
    capture.check().unwrap();
    assert_eq!(capture.named("table_cache_synced").len(), 1);
    assert_eq!(
        capture.named("table_health").len(),
        3,
        "fresh health is not read again"
    );
    let values = |metric: &str| -> Vec<_> {
        let lines = capture.metrics();
        lines
            .iter()
            .filter_map(|line| line.get(metric)?.as_u64())
            .collect()
    };
    assert_eq!(values("TablesNeedingMaintenance"), [1, 1]);
    assert_eq!(values("HealthSyncs"), [1, 1]);
    assert_eq!(values("HealthFailures"), [1, 1]);
    for gauge in [
        "TableDataFiles",
        "TableSmallFiles",
        "TableDeleteFiles",
        "TableSnapshots",
        "TableManifests",
        "TableBytes",
    ] {
        assert_eq!(values(gauge).len(), 3, "{gauge}");
    }
}
