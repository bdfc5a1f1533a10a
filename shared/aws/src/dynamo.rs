//! The job store over one DynamoDB table.
//!
//! Items and keys follow protocol.md, Store. A write is one transaction on the versions read. Lists query
//! indexes for keys and then read the items themselves, strongly consistent, so that an index that lags
//! never shows a job in a state it has left. Nothing scans the table.

mod backoff;
mod batches;
mod cache;
mod counts;
mod days;
mod health;
mod items;
mod keys;
mod list_plan;
mod lists;
mod names;
mod purge;
mod reports;
mod runs;
mod schema;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Get, ItemResponse, TransactGetItem};
use snowpack_domain::{CacheEntry, CacheState, Drain, Job, JobId, JobStatus, Lock, TableId, Timestamp};
use snowpack_service::TimeLimit;
use snowpack_service::ports::{
    JobFilter, JobStore, ListError, Page, PageRequest, StoreError, SubmitContext, Versioned, Write, Written,
};

use self::backoff::Backoff;
use self::days::Days;
use self::keys::{HELD_PARTITION, Item};
pub use self::schema::table_definition;
use crate::service_error::store_error;

/// Jobs, locks, the table cache and switches in one DynamoDB table.
#[derive(Clone, Debug)]
pub struct DynamoStore {
    client: Client,
    table_name: String,
    days: Arc<Days>,
}

impl DynamoStore {
    /// A store in the table of that name, made as [`table_definition`] says.
    pub fn new(client: Client, table_name: impl Into<String>) -> Self {
        Self {
            client,
            table_name: table_name.into(),
            days: Arc::default(),
        }
    }

    /// One item, strongly consistent.
    async fn get(&self, key: Item) -> Result<Option<Item>, StoreError> {
        let got = self
            .client
            .get_item()
            .table_name(&self.table_name)
            .set_key(Some(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| store_error("GetItem", &error))?;
        Ok(got.item)
    }

    async fn put(&self, item: Item) -> Result<(), StoreError> {
        self.client
            .put_item()
            .table_name(&self.table_name)
            .set_item(Some(item))
            .send()
            .await
            .map_err(|error| store_error("PutItem", &error))?;
        Ok(())
    }

    /// Several items as they were at one instant, in the order of `keys`.
    async fn snapshot(&self, keys: Vec<Item>) -> Result<Vec<Option<Item>>, StoreError> {
        let gets: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let get = Get::builder()
                    .table_name(&self.table_name)
                    .set_key(Some(key))
                    .build();
                TransactGetItem::builder()
                    .get(get.expect("table name and key are set"))
                    .build()
            })
            .collect();
        let mut backoff = Backoff::default();
        loop {
            let sent = self
                .client
                .transact_get_items()
                .set_transact_items(Some(gets.clone()))
                .send()
                .await;
            let error = match sent {
                Ok(got) => {
                    return Ok(got
                        .responses
                        .unwrap_or_default()
                        .into_iter()
                        .map(item_of)
                        .collect());
                }
                Err(error) => error,
            };
            let in_the_way = matches!(
                error.as_service_error(),
                Some(TransactGetItemsError::TransactionCanceledException(_))
            );
            if !in_the_way {
                return Err(store_error("TransactGetItems", &error));
            }
            if !backoff.wait().await {
                let reason = "writes to the same items are in the way";
                return Err(StoreError::Unavailable(format!("TransactGetItems: {reason}")));
            }
        }
    }

    /// Puts the days a job is listed under into the register before the job itself is stored.
    async fn register_days(&self, job: &Versioned<Job>) -> Result<(), StoreError> {
        if job.version == 0 {
            self.days.register(self, job.value.submitted_at).await?;
        }
        match job.value.completed_at {
            Some(completed_at) => self.days.register(self, completed_at).await,
            None => Ok(()),
        }
    }
}

/// Whether a put or delete was refused by its condition.
fn is_condition_failed<E: ProvideErrorMetadata>(error: &E) -> bool {
    error.code() == Some("ConditionalCheckFailedException")
}

fn item_of(response: ItemResponse) -> Option<Item> {
    response.item.filter(|item| !item.is_empty())
}

impl JobStore for DynamoStore {
    async fn submit_context(
        &self,
        table: &TableId,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<SubmitContext, StoreError> {
        let mut wanted = vec![keys::drain(), keys::cache_entry(table), keys::lock(table)];
        wanted.extend(key.map(keys::idempotency));
        let found = self.snapshot(wanted).await?;
        let item = |position: usize| found.get(position).and_then(Option::as_ref);
        let entry = item(1).map(items::read_cache_entry).transpose()?;
        let record = match (key, item(3)) {
            (Some(key), Some(item)) => Some(items::read_idempotency(key, item)?),
            _ => None,
        };
        Ok(SubmitContext {
            drain: items::read_drain(item(0))?,
            // Entries carry no version of their own: a submit only depends on there being one.
            entry: entry.map(|value| Versioned { value, version: 1 }),
            lock: items::read_lock(item(2))?,
            idempotency: record.filter(|record| record.expires_at > now),
        })
    }

    async fn job(&self, id: &JobId) -> Result<Option<Versioned<Job>>, StoreError> {
        self.get(keys::job(id))
            .await?
            .as_ref()
            .map(items::read_job)
            .transpose()
    }

    async fn lock(&self, table: &TableId) -> Result<Versioned<Lock>, StoreError> {
        items::read_lock(self.get(keys::lock(table)).await?.as_ref())
    }

    async fn locks(&self, tables: &[TableId]) -> Result<HashMap<TableId, Lock>, StoreError> {
        let wanted: Vec<_> = tables.iter().map(keys::lock).collect();
        let found = self.get_all(&wanted).await?;
        let by_table: HashMap<_, _> = tables
            .iter()
            .map(|table| (keys::table_partition(table), table))
            .collect();
        let mut locks = HashMap::with_capacity(found.len());
        for item in &found {
            if let Some(table) = by_table.get(items::text_of(item, "pk")?) {
                locks.insert((*table).clone(), items::read_lock(Some(item))?.value);
            }
        }
        Ok(locks)
    }

    async fn drain(&self) -> Result<Versioned<Drain>, StoreError> {
        items::read_drain(self.get(keys::drain()).await?.as_ref())
    }

    async fn set_drain(&self, drain: &Drain) -> Result<(), StoreError> {
        let reason = drain
            .reason
            .as_ref()
            .map(|reason| AttributeValue::S(reason.clone()));
        let update = match reason {
            Some(_) => "SET enabled = :enabled, reason = :reason ADD #version :one",
            None => "SET enabled = :enabled REMOVE reason ADD #version :one",
        };
        let request = self
            .client
            .update_item()
            .table_name(&self.table_name)
            .set_key(Some(keys::drain()))
            .update_expression(update)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":enabled", AttributeValue::Bool(drain.enabled))
            .expression_attribute_values(":one", keys::number(1));
        let request = match reason {
            Some(reason) => request.expression_attribute_values(":reason", reason),
            None => request,
        };
        request
            .send()
            .await
            .map_err(|error| store_error("UpdateItem", &error))?;
        Ok(())
    }

    async fn write(&self, write: &Write) -> Result<Written, StoreError> {
        if let Some(job) = &write.job {
            self.register_days(job).await?;
        }
        write::apply(&self.client, &self.table_name, write).await
    }

    async fn jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Job>, ListError> {
        lists::jobs(self, filter, page).await
    }

    async fn jobs_needing_message(&self, now: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
        lists::due(self, now, limit).await
    }

    async fn job_counts(&self, since: Timestamp) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        counts::job_counts(self, since).await
    }

    async fn held_locks(&self, page: &PageRequest) -> Result<Page<TableId>, ListError> {
        let found = names::page(self, HELD_PARTITION, None, page).await?;
        Ok(Page {
            items: found
                .items
                .iter()
                .map(names::table_of)
                .collect::<Result<_, _>>()?,
            next: found.next,
        })
    }

    async fn purge(&self, before: Timestamp, limit: TimeLimit) -> Result<u64, StoreError> {
        purge::purge(self, before, limit).await
    }

    async fn cache_entry(&self, table: &TableId) -> Result<Option<CacheEntry>, StoreError> {
        self.get(keys::cache_entry(table))
            .await?
            .as_ref()
            .map(items::read_cache_entry)
            .transpose()
    }

    async fn cache_entries(
        &self,
        database: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<CacheEntry>, ListError> {
        cache::entries(self, database, page).await
    }

    async fn put_cache_entries(&self, entries: &[CacheEntry]) -> Result<(), StoreError> {
        cache::put(self, entries).await
    }

    async fn remove_cache_entries(&self, tables: &[TableId], generation: u64) -> Result<u64, StoreError> {
        cache::remove_older(self, tables, generation).await
    }

    async fn remove_cache_entry(&self, table: &TableId) -> Result<(), StoreError> {
        self.client
            .delete_item()
            .table_name(&self.table_name)
            .set_key(Some(keys::cache_entry(table)))
            .send()
            .await
            .map_err(|error| store_error("DeleteItem", &error))?;
        Ok(())
    }

    async fn cache_state(&self) -> Result<CacheState, StoreError> {
        items::read_cache_state(self.get(keys::cache_state()).await?.as_ref())
    }

    async fn set_cache_state(&self, state: &CacheState) -> Result<(), StoreError> {
        self.put(items::cache_state(state)).await
    }
}
