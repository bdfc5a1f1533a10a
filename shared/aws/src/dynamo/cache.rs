//! The table cache: its entries as pages, put and removed.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use snowpack_domain::{CacheEntry, TableId};
use snowpack_service::ports::{ListError, Page, PageRequest, StoreError};

use super::keys::{self, CACHE_PARTITION, number};
use super::{DynamoStore, items, lists, names};
use crate::service_error::store_error;

/// Keys looked at between two rounds of removing entries.
const REMOVAL_BATCH: usize = 500;
/// Conditional deletes in flight; removals are few.
const REMOVALS_IN_FLIGHT: usize = 8;

/// A page of entries by name, of one database if given.
pub(super) async fn entries(
    store: &DynamoStore,
    database: Option<&str>,
    page: &PageRequest,
) -> Result<Page<CacheEntry>, ListError> {
    let found = names::page(store, CACHE_PARTITION, database, page).await?;
    let items = store.get_all(&lists::item_keys(&found.items)?).await?;
    let items = items
        .iter()
        .map(items::read_cache_entry)
        .collect::<Result<_, _>>()?;
    Ok(Page {
        items,
        next: found.next,
    })
}

/// Puts entries; of several for one table the last one stays.
pub(super) async fn put(store: &DynamoStore, entries: &[CacheEntry]) -> Result<(), StoreError> {
    let latest: BTreeMap<_, _> = entries.iter().map(|entry| (&entry.table, entry)).collect();
    store.put_all(latest.into_values().map(items::cache_entry)).await
}

/// Removes entries of generations before `generation`; returns how many.
pub(super) async fn remove_before(store: &DynamoStore, generation: u64) -> Result<u64, StoreError> {
    let (mut removed, mut after) = (0, None);
    loop {
        let found = names::entries(store, CACHE_PARTITION, None, after.as_ref(), REMOVAL_BATCH).await?;
        let mut stale = Vec::new();
        for item in store.get_all(&lists::item_keys(&found)?).await? {
            if items::generation_of(&item)? < generation {
                stale.push(items::read_cache_entry(&item)?.table);
            }
        }
        removed += remove_stale(store, stale, generation).await?;
        match found.last() {
            Some(last) if found.len() == REMOVAL_BATCH => after = Some(names::table_of(last)?),
            _ => return Ok(removed),
        }
    }
}

async fn remove_stale(store: &DynamoStore, tables: Vec<TableId>, generation: u64) -> Result<u64, StoreError> {
    let removed: Vec<bool> = futures::stream::iter(tables)
        .map(|table| remove_if_stale(store, table, generation))
        .buffer_unordered(REMOVALS_IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(removed.into_iter().filter(|removed| *removed).count() as u64)
}

/// Removes the entry unless a newer sync has put it again meanwhile.
async fn remove_if_stale(store: &DynamoStore, table: TableId, generation: u64) -> Result<bool, StoreError> {
    let sent = store
        .client
        .delete_item()
        .table_name(&store.table_name)
        .set_key(Some(keys::cache_entry(&table)))
        .condition_expression("generation < :generation")
        .expression_attribute_values(":generation", number(generation))
        .send()
        .await;
    match sent {
        Ok(_) => Ok(true),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|e| e.is_conditional_check_failed_exception()) =>
        {
            Ok(false)
        }
        Err(error) => Err(store_error("DeleteItem", &error)),
    }
}
