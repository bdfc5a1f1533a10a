//! Sync of health: reads anew the health of tables that have changed or were not looked at for long.
//!
//! Tables take turns in the order of their names, behind the last one that an earlier sync had no time to go beyond. So
//! each gets its turn, however many others cannot be read or take all the time there is.

use futures::stream::{self, StreamExt};
use snowpack_domain::{CacheEntry, Lock, TableHealth, TableId};
use snowpack_telemetry::events::HEALTH_SYNC_COMPLETED;

use crate::failure::Failure;
use crate::health::HealthBook;
use crate::ports::{Clock, HealthStore, JobStore, Tables};
use crate::sync::entries;
use crate::time_limit::TimeLimit;

/// Tables read at once. Each holds its live files while it is planned, so fewer than where only metadata files are read.
const CONCURRENT_READS: usize = 8;
/// Tables begun before the position is kept again: a write for some dozens of reads, each of which writes a report.
const WINDOW: usize = 64;

/// What a sync of health did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthSyncReport {
    /// Tables whose health was read and kept.
    pub collected: u64,
    /// Tables whose kept health still describes them.
    pub fresh: u64,
    /// Tables whose health could not be read.
    pub failed: u64,
    /// Tables for which there was no time.
    pub left: u64,
    /// Tables, of those whose health is known now, on which something is due.
    pub needing_maintenance: u64,
}

/// A table whose health has to be read.
struct Stale {
    entry: CacheEntry,
    lock: Lock,
}

/// Reads the health of tables whose kept health no longer describes them, as far as the time allows. One bad table
/// stops nothing.
///
/// # Errors
/// [`Failure`] when the store cannot be read.
pub async fn sync_health<S, T, C>(
    book: &HealthBook<S, T, C>,
    limit: TimeLimit,
) -> Result<HealthSyncReport, Failure>
where
    S: JobStore + HealthStore,
    T: Tables,
    C: Clock,
{
    let mut report = HealthSyncReport::default();
    let position = book.store().health_position().await?;
    let stale = stale_tables(book, position.as_ref(), &mut report).await?;
    let mut begun = 0;
    for window in stale.chunks(WINDOW) {
        if limit.is_reached() {
            break;
        }
        // Before the reads: should one of them be the end of this process, the next one goes on behind them.
        let last = &window[window.len() - 1].entry.table;
        book.store().set_health_position(last).await?;
        begun += read_window(book, window, limit, &mut report).await;
    }
    report.left = (stale.len() - begun) as u64;
    if report.left > 0
        && let Some(last) = stale[..begun].last()
    {
        book.store().set_health_position(&last.entry.table).await?;
    }
    tracing::info!(
        event = HEALTH_SYNC_COMPLETED.name,
        collected = report.collected,
        fresh = report.fresh,
        failed = report.failed,
        left = report.left,
        needing_maintenance = report.needing_maintenance
    );
    Ok(report)
}

/// Reads the health of these tables as far as the time allows; returns how many it began with, which are the first.
async fn read_window<S, T, C>(
    book: &HealthBook<S, T, C>,
    window: &[Stale],
    limit: TimeLimit,
    report: &mut HealthSyncReport,
) -> usize
where
    S: JobStore + HealthStore,
    T: Tables,
    C: Clock,
{
    let mut reads = Vec::new();
    for stale in window {
        reads.push(async move {
            match limit.is_reached() {
                true => None,
                false => Some((stale, book.live(&stale.entry.table).await)),
            }
        });
    }
    let mut reads = std::pin::pin!(stream::iter(reads).buffer_unordered(CONCURRENT_READS));
    let mut begun = 0;
    while let Some(read) = reads.next().await {
        let Some((stale, read)) = read else { continue };
        begun += 1;
        match read {
            Ok(health) => {
                report.collected += 1;
                let is_due = health.is_some_and(|health| is_due(book, &stale.entry, &stale.lock, &health));
                report.needing_maintenance += u64::from(is_due);
            }
            Err(error) => {
                report.failed += 1;
                tracing::warn!(table = %stale.entry.table, %error, "the table's health cannot be read");
            }
        }
    }
    begun
}

/// Tables without fresh health, those behind `position` first. What is fresh goes into the report.
async fn stale_tables<S, T, C>(
    book: &HealthBook<S, T, C>,
    position: Option<&TableId>,
    report: &mut HealthSyncReport,
) -> Result<Vec<Stale>, Failure>
where
    S: JobStore + HealthStore,
    T: Tables,
    C: Clock,
{
    let synced_at = book.store().cache_state().await?.last_synced;
    let (mut stale, mut cursor) = (Vec::new(), None);
    loop {
        let page = entries(book.store(), cursor).await?;
        let tables: Vec<_> = page.items.iter().map(|entry| entry.table.clone()).collect();
        let (kept, mut locks) =
            futures::try_join!(book.store().latest_health(&tables), book.store().locks(&tables))?;
        for entry in page.items {
            let lock = locks.remove(&entry.table).unwrap_or_default();
            match kept.get(&entry.table) {
                Some(health) if book.is_fresh(&entry, health, synced_at) => {
                    report.fresh += 1;
                    report.needing_maintenance += u64::from(is_due(book, &entry, &lock, health));
                }
                _ => stale.push(Stale { entry, lock }),
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    stale.sort_by(|a, b| a.entry.table.cmp(&b.entry.table));
    let turn = position.map_or(0, |last| {
        stale.partition_point(|stale| stale.entry.table <= *last)
    });
    stale.rotate_left(turn);
    Ok(stale)
}

fn is_due<S, T, C>(book: &HealthBook<S, T, C>, entry: &CacheEntry, lock: &Lock, health: &TableHealth) -> bool
where
    S: JobStore + HealthStore,
    T: Tables,
    C: Clock,
{
    book.policy().is_due(entry, lock, health, health.collected_at)
}
