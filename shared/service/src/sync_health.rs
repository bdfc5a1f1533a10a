//! Sync of health: reads anew the health of tables that have changed or were not looked at for long, the stalest first.

use futures::stream::{self, StreamExt};
use snowpack_domain::{CacheEntry, Lock, TableHealth, Timestamp};
use snowpack_telemetry::events::HEALTH_SYNC_COMPLETED;

use crate::failure::Failure;
use crate::health::HealthBook;
use crate::ports::{Clock, HealthStore, JobStore, Tables};
use crate::sync::entries;
use crate::time_limit::TimeLimit;

/// Tables read at once. Each holds its live files while it is planned, so fewer than where only metadata files are read.
const CONCURRENT_READS: usize = 8;

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
    /// When it was last read; first those of which it never was.
    read_at: Option<Timestamp>,
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
    let stale = stale_tables(book, &mut report).await?;
    let reads = stream::iter(stale).map(|stale| async move {
        if limit.is_reached() {
            return None;
        }
        Some((book.live(&stale.entry.table).await, stale))
    });
    let mut reads = std::pin::pin!(reads.buffer_unordered(CONCURRENT_READS));
    while let Some(read) = reads.next().await {
        match read {
            None => report.left += 1,
            Some((Ok(health), stale)) => {
                report.collected += 1;
                let is_due = health.is_some_and(|health| is_due(book, &stale.entry, &stale.lock, &health));
                report.needing_maintenance += u64::from(is_due);
            }
            Some((Err(error), stale)) => {
                report.failed += 1;
                tracing::warn!(table = %stale.entry.table, %error, "the table's health cannot be read");
            }
        }
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

/// Tables without fresh health, those never looked at and then the stalest first. What is fresh goes into the report.
async fn stale_tables<S, T, C>(
    book: &HealthBook<S, T, C>,
    report: &mut HealthSyncReport,
) -> Result<Vec<Stale>, Failure>
where
    S: JobStore + HealthStore,
    T: Tables,
    C: Clock,
{
    let (mut stale, mut cursor) = (Vec::new(), None);
    loop {
        let page = entries(book.store(), cursor).await?;
        let tables: Vec<_> = page.items.iter().map(|entry| entry.table.clone()).collect();
        let (kept, mut locks) =
            futures::try_join!(book.store().latest_health(&tables), book.store().locks(&tables))?;
        for entry in page.items {
            let lock = locks.remove(&entry.table).unwrap_or_default();
            match kept.get(&entry.table) {
                Some(health) if book.is_fresh(&entry, health) => {
                    report.fresh += 1;
                    report.needing_maintenance += u64::from(is_due(book, &entry, &lock, health));
                }
                health => stale.push(Stale {
                    read_at: health.map(|health| health.collected_at),
                    entry,
                    lock,
                }),
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            stale.sort_by_key(|stale| stale.read_at);
            return Ok(stale);
        }
    }
}

fn is_due<S, T, C>(book: &HealthBook<S, T, C>, entry: &CacheEntry, lock: &Lock, health: &TableHealth) -> bool
where
    S: JobStore + HealthStore,
    T: Tables,
    C: Clock,
{
    book.policy().is_due(entry, lock, health, health.collected_at)
}
