//! Records of orchestrator runs: one item by id, and one in the list by start.

use snowpack_domain::{Duration, Run, RunId};
use snowpack_service::ports::{ListError, Page, PageRequest, StoreError};
use snowpack_wire::stored::{Cursor, decode_run, encode_run};

use super::DynamoStore;
use super::items::{expires_at, text_of};
use super::keys::{self, Item, RUNS_PARTITION, text};
use crate::service_error::store_error;

/// How long runs are kept: longer than a year, to compare with the last one.
const KEPT: Duration = Duration::from_days(400);

/// Puts a record under its id and into the list. A crash between the two leaves it out of the list, until the run's
/// next record.
pub(super) async fn put(store: &DynamoStore, run: &Run) -> Result<(), StoreError> {
    for mut item in [keys::run(&run.id), keys::listed_run(run)] {
        item.insert("document".to_owned(), text(encode_run(run)));
        item.insert("expires_at".to_owned(), expires_at(run.started_at + KEPT));
        store.put(item).await?;
    }
    Ok(())
}

fn read(item: &Item) -> Result<Run, StoreError> {
    decode_run(text_of(item, "document")?)
        .map_err(|error| StoreError::Corrupt(format!("{}: {error}", text_of(item, "pk").unwrap_or("?"))))
}

pub(super) async fn run(store: &DynamoStore, id: &RunId) -> Result<Option<Run>, StoreError> {
    store.get(keys::run(id)).await?.as_ref().map(read).transpose()
}

/// A page of runs, newest start first.
pub(super) async fn list(store: &DynamoStore, page: &PageRequest) -> Result<Page<Run>, ListError> {
    let after = match &page.cursor {
        Some(text) => Some(Cursor::decode_run(text).ok_or(ListError::BadCursor)?),
        None => None,
    };
    // `~` sorts behind every digit.
    let end = after.map_or_else(|| "~".to_owned(), |(time, id)| keys::run_sort_key(time, &id));
    let (mut items, mut resume) = (Vec::new(), None);
    while items.len() <= page.limit {
        let answer = store
            .client
            .query()
            .table_name(&store.table_name)
            .key_condition_expression("pk = :pk AND sk < :end")
            .expression_attribute_values(":pk", text(RUNS_PARTITION))
            .expression_attribute_values(":end", text(&end))
            .scan_index_forward(false)
            .set_exclusive_start_key(resume)
            .limit(i32::try_from(page.limit + 1 - items.len()).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| store_error("Query", &error))?;
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
    let next = last.map(|run| Cursor::Run(run.started_at, run.id.clone()).encode());
    Ok(Page { items, next })
}
