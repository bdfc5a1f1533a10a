//! The purge: deletes terminal jobs and health reports day by day, oldest first, for as long as it may.

use std::collections::HashSet;

use snowpack_domain::Timestamp;
use snowpack_service::TimeLimit;
use snowpack_service::ports::StoreError;

use super::items::text_of;
use super::keys::{self, Day, Item};
use super::schema::{BY_COMPLETION, BY_SUBMISSION};
use super::{DynamoStore, days, health, lists};

/// Items deleted between two looks at the index, and at the time.
const PURGE_BATCH: usize = 500;
/// Looks at one partition of the index. It may lag behind the deletes and show them again, so an end is put to looking;
/// what is left waits for the next purge.
const LOOKS_PER_PARTITION: usize = 200;

/// Deletes terminal jobs that ended before `before`, and reports collected before; returns how many.
pub(super) async fn purge(
    store: &DynamoStore,
    before: Timestamp,
    limit: TimeLimit,
) -> Result<u64, StoreError> {
    let mut purge = Purge {
        store,
        before,
        limit,
        deleted: 0,
        looked_at: HashSet::new(),
    };
    purge.jobs().await?;
    purge.reports().await?;
    Ok(purge.deleted)
}

struct Purge<'a> {
    store: &'a DynamoStore,
    before: Timestamp,
    limit: TimeLimit,
    deleted: u64,
    /// Partitions of tables whose newest report was deleted if it was old.
    looked_at: HashSet<String>,
}

impl Purge<'_> {
    fn is_over(&self) -> bool {
        self.deleted > 0 && self.limit.is_reached()
    }

    async fn jobs(&mut self) -> Result<(), StoreError> {
        let last = Day::of(self.before);
        let registered = days::registered(self.store).await?;
        for day in registered.into_iter().filter(|day| *day <= last) {
            self.partition(&day.to_string()).await?;
            if self.is_over() {
                break;
            }
            // A day that may still get jobs stays registered.
            if day.end() <= self.before && is_empty(self.store, day).await? {
                self.store.days.forget(self.store, day).await?;
            }
        }
        Ok(())
    }

    async fn reports(&mut self) -> Result<(), StoreError> {
        for day in health::days_before(self.before) {
            if self.is_over() {
                break;
            }
            self.partition(&keys::health_partition(day)).await?;
        }
        Ok(())
    }

    /// Deletes what one partition of the index `by-completion` lists.
    async fn partition(&mut self, partition: &str) -> Result<(), StoreError> {
        let end = keys::time_prefix(self.before);
        let mut seen = HashSet::new();
        for _ in 0..LOOKS_PER_PARTITION {
            let found = lists::oldest(self.store, BY_COMPLETION, partition, Some(&end), PURGE_BATCH).await?;
            let is_last = found.len() < PURGE_BATCH;
            let mut fresh = Vec::new();
            for key in found {
                let part = |name| text_of(&key, name).map(str::to_owned);
                if seen.insert((part("pk")?, part("sk")?)) {
                    fresh.push(key);
                }
            }
            self.delete(fresh).await?;
            if is_last || self.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Deletes items. A table's newest report goes before its history: should this end between the two, the history
    /// leads the next purge to the table again.
    async fn delete(&mut self, items: Vec<Item>) -> Result<(), StoreError> {
        let mut tables = Vec::new();
        for key in &items {
            let partition = text_of(key, "pk")?;
            if health::is_report(key)? && self.looked_at.insert(partition.to_owned()) {
                tables.push(partition.to_owned());
            }
        }
        health::forget_newest(self.store, tables, self.before).await?;
        let count = items.len() as u64;
        self.store.delete_all(items).await?;
        self.deleted += count;
        Ok(())
    }
}

async fn is_empty(store: &DynamoStore, day: Day) -> Result<bool, StoreError> {
    let day = day.to_string();
    for index in [BY_COMPLETION, BY_SUBMISSION] {
        if !lists::oldest(store, index, &day, None, 1).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}
