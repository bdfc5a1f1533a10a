//! The contract of stores of health reports and of runs: scenarios over the ports alone, each on a fresh store.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use snowpack_domain::{
    Action, FileStats, JobId, Preview, PreviewSource, Run, RunId, RunStatus, TableHealth, TableId, Timestamp,
};
use snowpack_service::TimeLimit;
use snowpack_service::ports::{HealthStore, JobStore, ListError, PageRequest, RunStore};

use crate::sample::{table, time};

/// Runs every scenario, each on a store that `fresh` made empty.
///
/// # Panics
/// When the store breaks its contract.
pub async fn reports_contract<S: JobStore + HealthStore + RunStore>(fresh: impl AsyncFn() -> S) {
    the_newest_report_of_each_table_is_found(&fresh().await).await;
    a_table_s_reports_are_paged_newest_first(&fresh().await).await;
    a_purge_takes_old_reports(&fresh().await).await;
    a_purge_takes_the_newest_report_if_it_is_old(&fresh().await).await;
    a_purge_without_time_goes_on_in_the_next(&fresh().await).await;
    the_position_of_the_sync_is_remembered(&fresh().await).await;
    runs_are_paged_newest_first_and_replaced(&fresh().await).await;
}

fn health(table: &TableId, collected_at: Timestamp) -> TableHealth {
    let outlook = Preview {
        source: PreviewSource::Live,
        numbers: BTreeMap::from([("files_in".to_owned(), Some(3))]),
        note: None,
    };
    TableHealth {
        table: table.clone(),
        location: format!("s3://bucket/{table}"),
        metadata_location: format!("s3://bucket/{table}/metadata/1.json"),
        format_version: 2,
        snapshot_id: Some(7),
        files: FileStats::default(),
        snapshot_count: 1,
        oldest_snapshot_at: None,
        manifest_count: 1,
        total_records: 10,
        deleted_records: 0,
        outlook: BTreeMap::from([(Action::RewriteDataFiles, outlook)]),
        settings_hash: Some(u64::MAX),
        collected_at,
    }
}

fn page(limit: usize, cursor: Option<String>) -> PageRequest {
    PageRequest { limit, cursor }
}

async fn the_newest_report_of_each_table_is_found<S: HealthStore>(store: &S) {
    // More than any store gives in one request.
    let tables: Vec<_> = (0..130).map(|number| table(&format!("a.t{number:03}"))).collect();
    for (seconds, table) in (10..).zip(&tables) {
        store
            .put_health(&health(table, time(seconds)))
            .await
            .expect("put");
    }
    store
        .put_health(&health(&tables[0], time(500)))
        .await
        .expect("put");
    // A slow reader comes late with what it read before.
    store
        .put_health(&health(&tables[0], time(400)))
        .await
        .expect("put");
    let mut asked = tables.clone();
    asked.push(table("a.without"));
    let latest = store.latest_health(&asked).await.expect("read");
    assert_eq!(latest.len(), tables.len());
    assert_eq!(latest[&tables[0]], health(&tables[0], time(500)));
    assert_eq!(latest[&tables[7]], health(&tables[7], time(17)));
    assert!(store.latest_health(&[]).await.expect("read").is_empty());
}

async fn history(store: &impl HealthStore, table: &TableId, limit: usize) -> Vec<Timestamp> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = store
            .health_history(table, &page(limit, cursor))
            .await
            .expect("list reports");
        assert!(page.items.len() <= limit);
        assert!(page.items.iter().all(|report| report.table == *table));
        all.extend(page.items.iter().map(|report| report.collected_at));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return all,
        }
    }
}

async fn a_table_s_reports_are_paged_newest_first<S: HealthStore>(store: &S) {
    let (one, other) = (table("a.t"), table("a.t-1"));
    let times: Vec<_> = (1..=7).map(time).collect();
    for collected_at in &times {
        store.put_health(&health(&one, *collected_at)).await.expect("put");
    }
    store.put_health(&health(&other, time(9))).await.expect("put");
    let newest_first: Vec<_> = times.iter().rev().copied().collect();
    for limit in [1, 3, 7, 500] {
        assert_eq!(history(store, &one, limit).await, newest_first);
    }
    assert_eq!(history(store, &other, 5).await, [time(9)]);
    assert_eq!(history(store, &table("a.none"), 5).await, []);
    let foreign = page(5, Some("t.a.t".to_owned()));
    let refused = store.health_history(&one, &foreign).await;
    assert!(matches!(refused, Err(ListError::BadCursor)));
}

const DAY: i64 = 86_400;

async fn purge<S: JobStore>(store: &S, before: Timestamp, limit: TimeLimit) -> u64 {
    store.purge(before, limit).await.expect("purge")
}

async fn a_purge_takes_old_reports<S: JobStore + HealthStore>(store: &S) {
    let one = table("a.t");
    for day in 0..6 {
        let report = health(&one, time(day * DAY + 60));
        store.put_health(&report).await.expect("put");
    }
    assert_eq!(purge(store, time(3 * DAY), TimeLimit::none()).await, 3);
    assert_eq!(purge(store, time(3 * DAY), TimeLimit::none()).await, 0);
    assert_eq!(history(store, &one, 500).await.len(), 3);
    let latest = store
        .latest_health(std::slice::from_ref(&one))
        .await
        .expect("read");
    assert_eq!(latest[&one].collected_at, time(5 * DAY + 60));
}

async fn a_purge_takes_the_newest_report_if_it_is_old<S: JobStore + HealthStore>(store: &S) {
    let (old, kept) = (table("a.old"), table("a.kept"));
    for (table, day) in [(&old, 0), (&old, 1), (&kept, 1), (&kept, 3)] {
        store
            .put_health(&health(table, time(day * DAY)))
            .await
            .expect("put");
    }
    assert_eq!(purge(store, time(3 * DAY), TimeLimit::none()).await, 3);
    assert_eq!(history(store, &old, 500).await, []);
    let both = [old, kept.clone()];
    let latest = store.latest_health(&both).await.expect("read");
    assert_eq!(
        latest,
        HashMap::from([(kept.clone(), health(&kept, time(3 * DAY)))])
    );
}

async fn a_purge_without_time_goes_on_in_the_next<S: JobStore + HealthStore>(store: &S) {
    const REPORTS: i64 = 1_200;
    let tables: Vec<_> = (0..8).map(|number| table(&format!("a.t{number}"))).collect();
    for number in 0..REPORTS {
        let table = &tables[usize::try_from(number).expect("small") % tables.len()];
        let report = health(table, time(number % 3 * DAY + number));
        store.put_health(&report).await.expect("put");
    }
    let (mut deleted, mut calls) = (0, 0);
    loop {
        match purge(store, time(9 * DAY), TimeLimit::after(Duration::ZERO)).await {
            0 => break,
            some => deleted += some,
        }
        calls += 1;
    }
    assert_eq!(deleted, REPORTS.unsigned_abs());
    assert!(calls > 1, "what has no time left does not do it all");
    assert!(store.latest_health(&tables).await.expect("read").is_empty());
}

async fn the_position_of_the_sync_is_remembered<S: HealthStore>(store: &S) {
    assert_eq!(store.health_position().await.expect("read"), None);
    for name in ["a.b.t", "a.t-1"].map(table) {
        store.set_health_position(&name).await.expect("set");
        assert_eq!(store.health_position().await.expect("read"), Some(name));
    }
}

fn run(number: u128, started_at: Timestamp) -> Run {
    Run {
        id: RunId::new(JobId::from_u128(number)),
        started_at,
        completed_at: None,
        status: RunStatus::Partial,
        tables_assessed: 1,
        tables_skipped: 2,
        tables_healthy: 3,
        jobs_submitted: 4,
        jobs_completed: 0,
        jobs_failed: 0,
        dry_run: false,
        error: None,
        skip_reasons: BTreeMap::from([("cadence".to_owned(), 2)]),
        open_jobs: vec![JobId::from_u128(1)],
        left_from: Some(table("a.t")),
    }
}

async fn runs_are_paged_newest_first_and_replaced<S: RunStore>(store: &S) {
    // Ids that do not follow time, as an outside scheduler's may not.
    let runs: Vec<_> = [(9, 1), (3, 2), (5, 2), (1, 3)]
        .map(|(number, seconds)| run(number, time(seconds)))
        .into();
    for run in &runs {
        store.put_run(run).await.expect("put");
    }
    let ended = Run {
        completed_at: Some(time(50)),
        status: RunStatus::Completed,
        open_jobs: Vec::new(),
        ..runs[1].clone()
    };
    store.put_run(&ended).await.expect("replace");
    let expected = [&runs[3], &runs[2], &ended, &runs[0]];
    for limit in [1, 2, 500] {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.runs(&page(limit, cursor)).await.expect("list runs");
            assert!(page.items.len() <= limit);
            all.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(all.iter().collect::<Vec<_>>(), expected);
    }
    assert_eq!(store.run(&ended.id).await.expect("read"), Some(ended));
    let unknown = RunId::new(JobId::from_u128(77));
    assert_eq!(store.run(&unknown).await.expect("read"), None);
    let foreign = page(5, Some("h.5".to_owned()));
    assert!(matches!(store.runs(&foreign).await, Err(ListError::BadCursor)));
}
