//! One atomic write: one `TransactWriteItems`, every condition in it.
//!
//! A transaction keeps its client request token over all attempts, the SDK's and ours: DynamoDB then answers
//! an attempt that was applied, but whose answer was lost, with success and not with a failed condition.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, ConditionCheck, Put, TransactWriteItem};
use snowpack_domain::Timestamp;
use snowpack_service::ports::{IdempotencyRecord, StoreError, Version, Write, Written};
use uuid::Uuid;

use super::backoff::Backoff;
use super::items;
use super::keys::{self, Item, number};
use crate::service_error::store_error;

/// Cancellation codes that say nothing about the conditions: another transaction or request was in the way.
const TRANSIENT_REASONS: [&str; 4] = [
    "TransactionConflict",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
];

/// Applies `write`, or finds that a condition did not hold.
pub(super) async fn apply(client: &Client, table_name: &str, write: &Write) -> Result<Written, StoreError> {
    let actions = actions(table_name, write);
    if actions.is_empty() {
        return Ok(Written::Applied);
    }
    let token = Uuid::new_v4().to_string();
    let mut backoff = Backoff::default();
    loop {
        let sent = client
            .transact_write_items()
            .set_transact_items(Some(actions.clone()))
            .client_request_token(&token)
            .send()
            .await;
        let cause = match sent.map_err(|error| judge(&error)) {
            Ok(_) => return Ok(Written::Applied),
            Err(Judgement::LostRace) => return Ok(Written::LostRace),
            Err(Judgement::Failed(error)) => return Err(error),
            Err(Judgement::Transient(cause)) => cause,
        };
        if !backoff.wait().await {
            return Err(StoreError::Unavailable(format!("TransactWriteItems: {cause}")));
        }
    }
}

/// What a failed attempt means.
#[derive(Debug)]
enum Judgement {
    LostRace,
    Transient(String),
    Failed(StoreError),
}

fn judge(error: &SdkError<TransactWriteItemsError>) -> Judgement {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            judge_reasons(cancelled.cancellation_reasons())
        }
        Some(TransactWriteItemsError::TransactionInProgressException(_)) => {
            Judgement::Transient("an earlier attempt is still in progress".to_owned())
        }
        _ => Judgement::Failed(store_error("TransactWriteItems", error)),
    }
}

/// A failed condition decides, whatever else was in the way: the version it names has moved on.
fn judge_reasons(reasons: &[CancellationReason]) -> Judgement {
    let codes: Vec<_> = reasons
        .iter()
        .filter_map(CancellationReason::code)
        .filter(|code| *code != "None")
        .collect();
    if codes.contains(&"ConditionalCheckFailed") {
        return Judgement::LostRace;
    }
    let named = || codes.join(", ");
    if !codes.is_empty() && codes.iter().all(|code| TRANSIENT_REASONS.contains(code)) {
        return Judgement::Transient(named());
    }
    let messages: Vec<_> = reasons.iter().filter_map(CancellationReason::message).collect();
    Judgement::Failed(StoreError::Refused(format!(
        "TransactWriteItems was cancelled: {} {}",
        named(),
        messages.join("; ")
    )))
}

fn actions(table_name: &str, write: &Write) -> Vec<TransactWriteItem> {
    let job = write
        .job
        .as_ref()
        .map(|job| put_versioned(table_name, items::job(job), job.version));
    let lock = write
        .lock
        .as_ref()
        .map(|(table, lock)| put_versioned(table_name, items::lock(table, lock), lock.version));
    let submitted_at = write.job.as_ref().map(|job| job.value.submitted_at);
    let idempotency = write
        .idempotency
        .as_ref()
        .map(|record| put_unused(table_name, record, submitted_at));
    let drain = write
        .expect_drain
        .map(|version| check_version(table_name, keys::drain(), version));
    let cached = write
        .expect_cached
        .as_ref()
        .map(|table| check_exists(table_name, keys::cache_entry(table)));
    let puts = [job, lock, idempotency].into_iter().flatten();
    let checks = [drain, cached].into_iter().flatten();
    puts.map(|put| TransactWriteItem::builder().put(put).build())
        .chain(checks.map(|check| TransactWriteItem::builder().condition_check(check).build()))
        .collect()
}

fn put_versioned(table_name: &str, item: Item, version: Version) -> Put {
    let put = Put::builder().table_name(table_name).set_item(Some(item));
    let put = if version == 0 {
        put.condition_expression("attribute_not_exists(pk)")
    } else {
        put.condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(version))
    };
    put.build().expect("table name and item are set")
}

/// Puts a record whose key was never used, or had expired by `now`.
fn put_unused(table_name: &str, record: &IdempotencyRecord, now: Option<Timestamp>) -> Put {
    let put = Put::builder()
        .table_name(table_name)
        .set_item(Some(items::idempotency(record)));
    let put = match now {
        Some(now) => put
            .condition_expression("attribute_not_exists(pk) OR valid_until <= :now")
            .expression_attribute_values(":now", number(now.as_micros())),
        None => put.condition_expression("attribute_not_exists(pk)"),
    };
    put.build().expect("table name and item are set")
}

fn check_version(table_name: &str, key: Item, version: Version) -> ConditionCheck {
    let check = ConditionCheck::builder()
        .table_name(table_name)
        .set_key(Some(key));
    let check = if version == 0 {
        check.condition_expression("attribute_not_exists(pk)")
    } else {
        check
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(version))
    };
    check.build().expect("table name, key and condition are set")
}

fn check_exists(table_name: &str, key: Item) -> ConditionCheck {
    ConditionCheck::builder()
        .table_name(table_name)
        .set_key(Some(key))
        .condition_expression("attribute_exists(pk)")
        .build()
        .expect("table name, key and condition are set")
}
