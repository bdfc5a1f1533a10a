//! Health reports: a history of each table, and its newest report beside it, to be read in batches.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::QueryOutput;
use futures::{StreamExt, TryStreamExt};
use snowpack_domain::{Duration, TableHealth, TableId, Timestamp};
use snowpack_service::ports::{ListError, Page, PageRequest, StoreError};
use snowpack_wire::stored::{Cursor, decode_health, encode_health};

use super::items::{expires_at, text_of};
use super::keys::{self, Day, HEALTH_PREFIX, Item, number, text};
use super::{DynamoStore, is_condition_failed};
use crate::service_error::store_error;

/// How long reports are kept; DynamoDB deletes them within days of it.
const KEPT: Duration = Duration::from_days(90);
/// The same, and the days that DynamoDB may take.
const KEPT_AT_MOST: Duration = Duration::from_days(97);
/// Newest reports deleted at once. They are in as many partitions, so that none is throttled for it.
const DELETES_IN_FLIGHT: usize = 16;

/// Keeps a report. Two writes and no transaction, which would cost twice as much: a crash between them leaves the
/// report in the history only, and the next one takes its place.
pub(super) async fn put(store: &DynamoStore, health: &TableHealth) -> Result<(), StoreError> {
    let document = text(encode_health(health));
    let until = expires_at(health.collected_at + KEPT);
    let mut entry = keys::health(&health.table, health.collected_at);
    entry.insert("document".to_owned(), document.clone());
    entry.insert("expires_at".to_owned(), until.clone());
    // For the purge, which goes by day.
    let partition = keys::health_partition(Day::of(health.collected_at));
    entry.insert("finished_day".to_owned(), text(partition));
    let place = format!(
        "{}#{}",
        keys::time_prefix(health.collected_at),
        keys::table_key(&health.table)
    );
    entry.insert("completed_key".to_owned(), text(place));
    store.put(entry).await?;

    let mut newest = keys::latest_health(&health.table);
    newest.insert("document".to_owned(), document);
    newest.insert("expires_at".to_owned(), until);
    newest.insert("collected_at".to_owned(), number(health.collected_at.as_micros()));
    put_newest(store, newest, health.collected_at).await
}

/// Puts the newest report unless a newer one is stored.
async fn put_newest(store: &DynamoStore, item: Item, collected_at: Timestamp) -> Result<(), StoreError> {
    let sent = store
        .client
        .put_item()
        .table_name(&store.table_name)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(collected_at) OR collected_at <= :collected_at")
        .expression_attribute_values(":collected_at", number(collected_at.as_micros()))
        .send()
        .await;
    match sent {
        Ok(_) => Ok(()),
        Err(error) if is_condition_failed(&error) => Ok(()),
        Err(error) => Err(store_error("PutItem", &error)),
    }
}

fn read(item: &Item) -> Result<TableHealth, StoreError> {
    decode_health(text_of(item, "document")?)
        .map_err(|error| StoreError::Corrupt(format!("{}: {error}", text_of(item, "pk").unwrap_or("?"))))
}

/// The newest reports of these tables.
pub(super) async fn latest(
    store: &DynamoStore,
    tables: &[TableId],
) -> Result<HashMap<TableId, TableHealth>, StoreError> {
    let wanted: Vec<_> = tables.iter().map(keys::latest_health).collect();
    let found = store.get_all(&wanted).await?;
    let mut reports = HashMap::with_capacity(found.len());
    for item in &found {
        match read(item) {
            Ok(report) => {
                reports.insert(report.table.clone(), report);
            }
            // As good as none: it is read anew.
            Err(error) => tracing::warn!(%error, "a health report cannot be read"),
        }
    }
    Ok(reports)
}

/// A page of a table's reports, newest first.
pub(super) async fn history(
    store: &DynamoStore,
    table: &TableId,
    page: &PageRequest,
) -> Result<Page<TableHealth>, ListError> {
    let before = match &page.cursor {
        Some(text) => Some(Cursor::decode_health(text).ok_or(ListError::BadCursor)?),
        None => None,
    };
    // `~` sorts behind every digit.
    let last = before.map_or_else(
        || format!("{HEALTH_PREFIX}~"),
        |before| keys::health_sort_key(Timestamp::from_micros(before.as_micros().saturating_sub(1))),
    );
    let (mut items, mut resume) = (Vec::new(), None);
    while items.len() <= page.limit {
        let asked = page.limit + 1 - items.len();
        let answer = query(store, table, &last, asked, resume).await?;
        for item in answer.items.unwrap_or_default() {
            items.push(read(&item)?);
        }
        resume = answer.last_evaluated_key.filter(|key| !key.is_empty());
        if resume.is_none() {
            break;
        }
    }
    let more = items.len() > page.limit;
    items.truncate(page.limit);
    let last = items.last().filter(|_| more);
    let next = last.map(|report| Cursor::Health(report.collected_at).encode());
    Ok(Page { items, next })
}

/// A table's reports up to the sort key `last`, newest first.
async fn query(
    store: &DynamoStore,
    table: &TableId,
    last: &str,
    limit: usize,
    resume: Option<Item>,
) -> Result<QueryOutput, StoreError> {
    store
        .client
        .query()
        .table_name(&store.table_name)
        .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
        .expression_attribute_values(":pk", text(keys::table_partition(table)))
        .expression_attribute_values(":first", text(HEALTH_PREFIX))
        .expression_attribute_values(":last", text(last))
        .scan_index_forward(false)
        .set_exclusive_start_key(resume)
        .limit(i32::try_from(limit).unwrap_or(i32::MAX))
        .send()
        .await
        .map_err(|error| store_error("Query", &error))
}

/// The days that may have reports collected before `before`, oldest first.
pub(super) fn days_before(before: Timestamp) -> impl Iterator<Item = Day> {
    let next = |day: &Day| Some(Day::of(day.end()));
    let days = std::iter::successors(Some(Day::of(before - KEPT_AT_MOST)), next);
    days.take_while(move |day| *day <= Day::of(before))
}

/// Whether this is the key of a report in a table's history.
pub(super) fn is_report(key: &Item) -> Result<bool, StoreError> {
    Ok(text_of(key, "sk")?.starts_with(HEALTH_PREFIX))
}

/// Deletes the newest reports in these partitions that were collected before `before`.
pub(super) async fn forget_newest(
    store: &DynamoStore,
    partitions: Vec<String>,
    before: Timestamp,
) -> Result<(), StoreError> {
    futures::stream::iter(partitions)
        .map(|partition| delete_older(store, keys::latest_health_in(partition), before))
        .buffer_unordered(DELETES_IN_FLIGHT)
        .try_collect()
        .await
}

async fn delete_older(store: &DynamoStore, newest: Item, before: Timestamp) -> Result<(), StoreError> {
    let sent = store
        .client
        .delete_item()
        .table_name(&store.table_name)
        .set_key(Some(newest))
        .condition_expression("collected_at < :before")
        .expression_attribute_values(":before", number(before.as_micros()))
        .send()
        .await;
    match sent {
        Ok(_) => Ok(()),
        // A newer one is there, or none.
        Err(error) if is_condition_failed(&error) => Ok(()),
        Err(error) => Err(store_error("DeleteItem", &error)),
    }
}
