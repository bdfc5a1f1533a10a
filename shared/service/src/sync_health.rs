//! Sync of health: reads anew the health of tables that have changed or were not looked at for long, the stalest first.

use futures::stream::{self, StreamExt};
use snowpack_domain::{TableId, Timestamp};

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
    let (stale, fresh) = stale_tables(book).await?;
    let mut report = HealthSyncReport {
        fresh,
        ..HealthSyncReport::default()
    };
    let reads = stream::iter(stale).map(|(_, table)| async move {
        if limit.is_reached() {
            return None;
        }
        Some((book.live(&table).await, table))
    });
    let mut reads = std::pin::pin!(reads.buffer_unordered(CONCURRENT_READS));
    while let Some(read) = reads.next().await {
        match read {
            None => report.left += 1,
            Some((Ok(_), _)) => report.collected += 1,
            Some((Err(error), table)) => {
                report.failed += 1;
                tracing::warn!(%table, %error, "the table's health cannot be read");
            }
        }
    }
    tracing::info!(
        event = "health_sync_completed",
        collected = report.collected,
        fresh = report.fresh,
        failed = report.failed,
        left = report.left
    );
    Ok(report)
}

/// Tables without fresh health, those never looked at and then the stalest first; and how many are fresh.
async fn stale_tables<S, T, C>(
    book: &HealthBook<S, T, C>,
) -> Result<(Vec<(Option<Timestamp>, TableId)>, u64), Failure>
where
    S: JobStore + HealthStore,
    T: Tables,
    C: Clock,
{
    let (mut stale, mut fresh, mut cursor) = (Vec::new(), 0, None);
    loop {
        let page = entries(book.store(), cursor).await?;
        let tables: Vec<_> = page.items.iter().map(|entry| entry.table.clone()).collect();
        let kept = book.store().latest_health(&tables).await?;
        for entry in &page.items {
            match kept.get(&entry.table) {
                Some(health) if book.is_fresh(entry, health) => fresh += 1,
                health => stale.push((health.map(|health| health.collected_at), entry.table.clone())),
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            stale.sort();
            return Ok((stale, fresh));
        }
    }
}
