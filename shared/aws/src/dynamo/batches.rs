//! Reads and writes of many items, in requests as large as DynamoDB takes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, PutRequest, WriteRequest};
use futures::{StreamExt, TryStreamExt};
use snowpack_service::ports::StoreError;

use super::DynamoStore;
use super::backoff::Backoff;
use super::items::text_of;
use super::keys::Item;
use crate::service_error::store_error;

/// Most keys in one `BatchGetItem`.
const KEYS_PER_GET: usize = 100;
/// Most requests in one `BatchWriteItem`.
const REQUESTS_PER_WRITE: usize = 25;
/// Batches written at once: as many as one partition takes without throttling much.
const WRITES_IN_FLIGHT: usize = 4;

impl DynamoStore {
    /// The items of `keys` that exist, strongly consistent, in the order of `keys`. All keys must have
    /// different partition keys.
    pub(super) async fn get_all(&self, keys: &[Item]) -> Result<Vec<Item>, StoreError> {
        let mut found = HashMap::with_capacity(keys.len());
        for batch in keys.chunks(KEYS_PER_GET) {
            for item in self.get_batch(batch.to_vec()).await? {
                found.insert(text_of(&item, "pk")?.to_owned(), item);
            }
        }
        let mut ordered = Vec::with_capacity(found.len());
        for key in keys {
            ordered.extend(found.remove(text_of(key, "pk")?));
        }
        Ok(ordered)
    }

    /// Asks until every key is answered; DynamoDB leaves keys out when 16 MB are full or it is busy.
    async fn get_batch(&self, keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut left = keys;
        let mut backoff = Backoff::default();
        loop {
            let asked = left.len();
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(left))
                .consistent_read(true)
                .build();
            let got = self
                .client
                .batch_get_item()
                .request_items(&self.table_name, wanted.expect("keys are set"))
                .send()
                .await
                .map_err(|error| store_error("BatchGetItem", &error))?;
            found.extend(got.responses.unwrap_or_default().into_values().flatten());
            let unprocessed = got.unprocessed_keys.unwrap_or_default().into_values();
            left = unprocessed.flat_map(|keys| keys.keys).collect();
            if left.is_empty() {
                return Ok(found);
            }
            if left.len() == asked && !backoff.wait().await {
                return Err(StoreError::Unavailable("BatchGetItem: throttled".to_owned()));
            }
        }
    }

    pub(super) async fn put_all(&self, items: impl Iterator<Item = Item>) -> Result<(), StoreError> {
        let put = |item| {
            PutRequest::builder()
                .set_item(Some(item))
                .build()
                .expect("the item is set")
        };
        let requests = items.map(|item| WriteRequest::builder().put_request(put(item)).build());
        self.write_all(requests.collect()).await
    }

    pub(super) async fn delete_all(&self, keys: Vec<Item>) -> Result<(), StoreError> {
        let delete = |key| {
            DeleteRequest::builder()
                .set_key(Some(key))
                .build()
                .expect("the key is set")
        };
        let requests = keys
            .into_iter()
            .map(|key| WriteRequest::builder().delete_request(delete(key)).build());
        self.write_all(requests.collect()).await
    }

    async fn write_all(&self, requests: Vec<WriteRequest>) -> Result<(), StoreError> {
        let batches: Vec<_> = requests.chunks(REQUESTS_PER_WRITE).map(<[_]>::to_vec).collect();
        futures::stream::iter(batches)
            .map(|batch| self.write_batch(batch))
            .buffer_unordered(WRITES_IN_FLIGHT)
            .try_collect()
            .await
    }

    async fn write_batch(&self, requests: Vec<WriteRequest>) -> Result<(), StoreError> {
        let mut left = requests;
        let mut backoff = Backoff::default();
        loop {
            let sent = self
                .client
                .batch_write_item()
                .request_items(&self.table_name, left)
                .send()
                .await
                .map_err(|error| store_error("BatchWriteItem", &error))?;
            left = sent
                .unprocessed_items
                .unwrap_or_default()
                .into_values()
                .flatten()
                .collect();
            if left.is_empty() {
                return Ok(());
            }
            if !backoff.wait().await {
                return Err(StoreError::Unavailable("BatchWriteItem: throttled".to_owned()));
            }
        }
    }
}
