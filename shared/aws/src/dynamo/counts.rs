//! How many jobs there are by status, from indexes alone: no job is read.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::Select;
use snowpack_domain::{JobStatus, Timestamp};
use snowpack_service::ports::{MOST_JOBS_COUNTED, StoreError};

use super::keys::{self, Day, Item, text};
use super::lists::start_query;
use super::schema::{ACTIVE, BY_COMPLETION};
use super::{DynamoStore, days, items};
use crate::service_error::store_error;

/// Active jobs by status, and those that ended at `since` or later.
pub(super) async fn job_counts(
    store: &DynamoStore,
    since: Timestamp,
) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
    let mut counts = BTreeMap::from(JobStatus::ALL.map(|status| (status, 0)));
    for status in JobStatus::ALL.into_iter().filter(|status| !status.is_terminal()) {
        counts.insert(status, active(store, status).await?);
    }
    let days = days::registered(store).await?;
    let mut left = MOST_JOBS_COUNTED;
    for day in days.into_iter().rev().filter(|day| *day >= Day::of(since)) {
        finished(store, day, since, &mut left, &mut counts).await?;
    }
    Ok(counts)
}

async fn active(store: &DynamoStore, status: JobStatus) -> Result<u64, StoreError> {
    let (mut counted, mut resume) = (0, None);
    loop {
        let answer = start_query(store, ACTIVE, status.as_str())
            .key_condition_expression("#hash = :hash")
            .select(Select::Count)
            .limit(limit(MOST_JOBS_COUNTED - counted))
            .set_exclusive_start_key(resume)
            .send()
            .await
            .map_err(|error| store_error("Query", &error))?;
        counted += u64::try_from(answer.count).unwrap_or_default();
        resume = answer.last_evaluated_key.filter(|key| !key.is_empty());
        if resume.is_none() || counted >= MOST_JOBS_COUNTED {
            return Ok(counted);
        }
    }
}

/// Adds the jobs of one day, `left` of them at most.
async fn finished(
    store: &DynamoStore,
    day: Day,
    since: Timestamp,
    left: &mut u64,
    counts: &mut BTreeMap<JobStatus, u64>,
) -> Result<(), StoreError> {
    let mut resume = None;
    while *left > 0 {
        let answer = start_query(store, BY_COMPLETION, &day.to_string())
            .key_condition_expression("#hash = :hash AND #range >= :since")
            .expression_attribute_names("#range", BY_COMPLETION.range)
            .expression_attribute_values(":since", text(keys::time_prefix(since)))
            .projection_expression("#status")
            .expression_attribute_names("#status", "status")
            .limit(limit(*left))
            .set_exclusive_start_key(resume)
            .send()
            .await
            .map_err(|error| store_error("Query", &error))?;
        for entry in answer.items.unwrap_or_default() {
            *counts.entry(status_of(&entry)?).or_default() += 1;
            *left -= 1;
        }
        resume = answer.last_evaluated_key.filter(|key| !key.is_empty());
        if resume.is_none() {
            break;
        }
    }
    Ok(())
}

fn status_of(entry: &Item) -> Result<JobStatus, StoreError> {
    let status = items::text_of(entry, "status")?;
    JobStatus::parse(status).ok_or_else(|| StoreError::Corrupt(format!("{status:?} where a status belongs")))
}

fn limit(most: u64) -> i32 {
    i32::try_from(most).unwrap_or(i32::MAX)
}
