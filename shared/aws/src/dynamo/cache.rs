//! The table cache: entries listed by name through an index of keys.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use snowpack_domain::{CacheEntry, TableId};
use snowpack_service::ports::{ListError, Page, PageRequest, StoreError};
use snowpack_wire::stored::Cursor;

use super::keys::{self, CACHE_PARTITION, Item, number, text};
use super::schema::CACHED;
use super::{DynamoStore, items, lists};
use crate::service_error::store_error;

/// Keys looked at between two rounds of removing entries.
const REMOVAL_BATCH: usize = 500;
/// Conditional deletes in flight; removals are few.
const REMOVALS_IN_FLIGHT: usize = 8;

/// Sorts before every name.
const BEFORE_NAMES: &str = "!";
/// Sorts after every name.
const AFTER_NAMES: &str = "~";

/// A page of entries by name, of one database if given.
pub(super) async fn entries(
    store: &DynamoStore,
    database: Option<&str>,
    page: &PageRequest,
) -> Result<Page<CacheEntry>, ListError> {
    let after = match &page.cursor {
        Some(text) => Some(Cursor::decode_table(text).ok_or(ListError::BadCursor)?),
        None => None,
    };
    let mut keys = names(store, database, after.as_ref(), page.limit + 1).await?;
    let more = keys.len() > page.limit;
    keys.truncate(page.limit);
    let next = match keys.last().filter(|_| more) {
        Some(last) => Some(Cursor::Table(table_of(last)?).encode()),
        None => None,
    };
    let items = store.get_all(&lists::item_keys(&keys)?).await?;
    let items = items
        .iter()
        .map(items::read_cache_entry)
        .collect::<Result<_, _>>()?;
    Ok(Page { items, next })
}

fn table_of(entry: &Item) -> Result<TableId, StoreError> {
    keys::parse_cache_key(items::text_of(entry, CACHED.range)?)
}

/// Index entries by name, at most `limit`, of one database if given, behind `after`.
async fn names(
    store: &DynamoStore,
    database: Option<&str>,
    after: Option<&TableId>,
    limit: usize,
) -> Result<Vec<Item>, StoreError> {
    let (low, high) = bounds(database, after);
    if low > high {
        return Ok(Vec::new());
    }
    let (mut found, mut resume) = (Vec::new(), None);
    loop {
        let answer = store
            .client
            .query()
            .table_name(&store.table_name)
            .index_name(CACHED.name)
            .key_condition_expression("#hash = :hash AND #range BETWEEN :low AND :high")
            .expression_attribute_names("#hash", CACHED.hash)
            .expression_attribute_names("#range", CACHED.range)
            .expression_attribute_values(":hash", text(CACHE_PARTITION))
            .expression_attribute_values(":low", text(&low))
            .expression_attribute_values(":high", text(&high))
            .set_exclusive_start_key(resume)
            .limit(i32::try_from(limit - found.len()).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| store_error("Query", &error))?;
        found.extend(answer.items.unwrap_or_default());
        match answer.last_evaluated_key.filter(|key| !key.is_empty()) {
            Some(next) if found.len() < limit => resume = Some(next),
            _ => return Ok(found),
        }
    }
}

/// The least and greatest key wanted. A space sorts before every character a name may continue with, and `$`
/// right behind the `#` between database and table.
fn bounds(database: Option<&str>, after: Option<&TableId>) -> (String, String) {
    let (first, high) = match database {
        Some(database) => (format!("{database}#"), format!("{database}$")),
        None => (BEFORE_NAMES.to_owned(), AFTER_NAMES.to_owned()),
    };
    let low = match after {
        Some(table) => first.max(format!("{} ", keys::cache_key(table))),
        None => first,
    };
    (low, high)
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
        let found = names(store, None, after.as_ref(), REMOVAL_BATCH).await?;
        let mut stale = Vec::new();
        for item in store.get_all(&lists::item_keys(&found)?).await? {
            if items::generation_of(&item)? < generation {
                stale.push(items::read_cache_entry(&item)?.table);
            }
        }
        removed += remove_stale(store, stale, generation).await?;
        match found.last() {
            Some(last) if found.len() == REMOVAL_BATCH => after = Some(table_of(last)?),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_one_database_and_nothing_else() {
        let within = |name: &str, (low, high): &(String, String)| {
            let key = keys::cache_key(&TableId::parse(name).unwrap());
            low <= &key && &key <= high
        };
        let all_of_a = bounds(Some("a"), None);
        assert!(within("a.t", &all_of_a) && within("a.zz-9", &all_of_a));
        assert!(
            ["a-b.t", "a.b.t", "a0.t", "A.t"]
                .iter()
                .all(|name| !within(name, &all_of_a))
        );
        let rest = bounds(Some("a"), Some(&TableId::parse("a.t").unwrap()));
        assert!(!within("a.t", &rest) && within("a.t-1", &rest) && within("a.t0", &rest));
        let other = bounds(Some("a"), Some(&TableId::parse("b.t").unwrap()));
        assert!(other.0 > other.1, "a cursor past the database leaves nothing");
        assert!(within("_.t", &bounds(None, None)) && within("zz.t", &bounds(None, None)));
    }
}
