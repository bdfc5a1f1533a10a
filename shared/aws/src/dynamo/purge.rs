//! The purge: deletes terminal jobs day by day, oldest first.

use snowpack_domain::Timestamp;
use snowpack_service::ports::StoreError;

use super::items::text_of;
use super::keys::{self, Day};
use super::schema::{BY_COMPLETION, BY_SUBMISSION};
use super::{DynamoStore, days, lists};

/// Items deleted between two looks at the index.
const PURGE_BATCH: usize = 500;
/// Looks at one partition of the index. It may lag behind the deletes and show them again, so an end is put to looking;
/// what is left waits for the next purge.
const LOOKS_PER_PARTITION: usize = 200;

/// Deletes terminal jobs that ended before `before`; returns how many.
pub(super) async fn purge(store: &DynamoStore, before: Timestamp) -> Result<u64, StoreError> {
    let mut purged = 0;
    let last = Day::of(before);
    for day in days::registered(store)
        .await?
        .into_iter()
        .filter(|day| *day <= last)
    {
        purged += purge_partition(store, &day.to_string(), before).await?;
        // A day that may still get jobs stays registered.
        if day.end() <= before && is_empty(store, day).await? {
            store.days.forget(store, day).await?;
        }
    }
    Ok(purged)
}

/// Deletes what one partition of the index `by-completion` lists before `before`; returns how many items.
pub(super) async fn purge_partition(
    store: &DynamoStore,
    partition: &str,
    before: Timestamp,
) -> Result<u64, StoreError> {
    let end = keys::time_prefix(before);
    let mut deleted = std::collections::HashSet::new();
    for _ in 0..LOOKS_PER_PARTITION {
        let found = lists::oldest(store, BY_COMPLETION, partition, Some(&end), PURGE_BATCH).await?;
        let count = found.len();
        let mut fresh = Vec::new();
        for key in found {
            let part = |name| text_of(&key, name).map(str::to_owned);
            if deleted.insert((part("pk")?, part("sk")?)) {
                fresh.push(key);
            }
        }
        store.delete_all(fresh).await?;
        if count < PURGE_BATCH {
            break;
        }
    }
    Ok(deleted.len() as u64)
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
