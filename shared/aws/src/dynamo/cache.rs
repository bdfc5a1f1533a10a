//! The table cache: its entries as pages, put and removed.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use snowpack_domain::{CacheEntry, TableId};
use snowpack_service::ports::{ListError, Page, PageRequest, StoreError};

use super::keys::{self, CACHE_PARTITION, number};
use super::{DynamoStore, is_condition_failed, items, lists, names};
use crate::service_error::store_error;

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

/// Removes those of these entries that were written before `generation`; returns how many.
pub(super) async fn remove_older(
    store: &DynamoStore,
    tables: &[TableId],
    generation: u64,
) -> Result<u64, StoreError> {
    let removals: Vec<_> = tables
        .iter()
        .map(|table| remove_if_older(store, table, generation))
        .collect();
    let removed: Vec<bool> = futures::stream::iter(removals)
        .buffer_unordered(REMOVALS_IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(removed.into_iter().filter(|removed| *removed).count() as u64)
}

/// Removes the entry unless a request or a newer sync has put it again meanwhile.
async fn remove_if_older(store: &DynamoStore, table: &TableId, generation: u64) -> Result<bool, StoreError> {
    let sent = store
        .client
        .delete_item()
        .table_name(&store.table_name)
        .set_key(Some(keys::cache_entry(table)))
        .condition_expression("generation < :generation")
        .expression_attribute_values(":generation", number(generation))
        .send()
        .await;
    match sent {
        Ok(_) => Ok(true),
        Err(error) if is_condition_failed(&error) => Ok(false),
        Err(error) => Err(store_error("DeleteItem", &error)),
    }
}
