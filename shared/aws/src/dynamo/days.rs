//! The register of days that have jobs, so that a list by day visits those days and no empty ones.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use aws_sdk_dynamodb::types::AttributeValue;
use snowpack_domain::Timestamp;
use snowpack_service::ports::StoreError;

use super::DynamoStore;
use super::keys::{self, Day};
use crate::service_error::store_error;

/// Days this process knows to be registered: it asks DynamoDB once a day, not once a job.
#[derive(Debug, Default)]
pub(super) struct Days {
    known: Mutex<BTreeSet<Day>>,
}

impl Days {
    /// Makes sure that the day of `time` is registered. A day without jobs, left by a crash after this, only
    /// costs lists one query.
    pub(super) async fn register(&self, store: &DynamoStore, time: Timestamp) -> Result<(), StoreError> {
        let day = Day::of(time);
        if self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&day)
        {
            return Ok(());
        }
        change(store, "ADD", day).await?;
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(day);
        Ok(())
    }

    /// Takes a day out that has no jobs any more.
    pub(super) async fn forget(&self, store: &DynamoStore, day: Day) -> Result<(), StoreError> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&day);
        change(store, "DELETE", day).await
    }
}

/// Every registered day, oldest first.
pub(super) async fn registered(store: &DynamoStore) -> Result<Vec<Day>, StoreError> {
    let item = store.get(keys::days()).await?.unwrap_or_default();
    let names = item.get("days").and_then(|days| days.as_ss().ok());
    let mut days = names
        .into_iter()
        .flatten()
        .map(|day| Day::parse(day))
        .collect::<Result<Vec<_>, _>>()?;
    days.sort_unstable();
    Ok(days)
}

async fn change(store: &DynamoStore, verb: &str, day: Day) -> Result<(), StoreError> {
    store
        .client
        .update_item()
        .table_name(&store.table_name)
        .set_key(Some(keys::days()))
        .update_expression(format!("{verb} days :day"))
        .expression_attribute_values(":day", AttributeValue::Ss(vec![day.to_string()]))
        .send()
        .await
        .map_err(|error| store_error("UpdateItem", &error))?;
    Ok(())
}
