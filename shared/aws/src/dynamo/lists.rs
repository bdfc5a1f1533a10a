//! Lists of jobs: walk an index for keys, read the jobs themselves, and stop when the page is full or its
//! work is spent.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use snowpack_domain::{Job, JobId, Timestamp};
use snowpack_service::ports::{JobFilter, ListError, Page, PageRequest, StoreError};
use snowpack_wire::stored::Cursor;

use super::keys::{self, DUE_PARTITION, Day, Item, text};
use super::list_plan::{ListPlan, Partitions, plan};
use super::schema::{DUE, FILTERED_MEMBERS, Index};
use super::{DynamoStore, days, items};
use crate::service_error::store_error;

/// Queries made for one page, half a second's worth. A filter that matches little, or years of days with a job
/// each, then give a short page and a cursor to go on from, instead of an unbounded walk.
const QUERIES_PER_PAGE: usize = 100;
/// Index entries looked at in one query when a filter may drop most of them; about a quarter of the 1 MB that
/// a query reads at most.
const FILTERED_PER_QUERY: usize = 1000;

/// A page of jobs that match `filter`.
pub(super) async fn jobs(
    store: &DynamoStore,
    filter: &JobFilter,
    page: &PageRequest,
) -> Result<Page<Job>, ListError> {
    let after = match &page.cursor {
        Some(text) => {
            Some(Cursor::decode_job_position(text, filter.finished_only).ok_or(ListError::BadCursor)?)
        }
        None => None,
    };
    let ListPlan { index, partitions } = plan(filter);
    let partitions = match partitions {
        Partitions::One(hash) => vec![hash],
        Partitions::EveryDay => days_until(store, after.as_ref()).await?,
        Partitions::Nowhere => Vec::new(),
    };
    let walk = Walk {
        store,
        filter,
        index,
        after: after.map(|(time, id)| keys::time_key(time, &id)),
        limit: page.limit,
    };
    Ok(walk.page(&partitions).await?)
}

/// The registered days from that of the cursor back, newest first, as hash keys.
async fn days_until(
    store: &DynamoStore,
    after: Option<&(Timestamp, JobId)>,
) -> Result<Vec<String>, StoreError> {
    let newest = after.map(|(time, _)| Day::of(*time));
    let days = days::registered(store).await?;
    let wanted = days
        .into_iter()
        .rev()
        .filter(|day| newest.is_none_or(|newest| *day <= newest));
    Ok(wanted.map(|day| day.to_string()).collect())
}

/// One page's way through an index.
struct Walk<'a> {
    store: &'a DynamoStore,
    filter: &'a JobFilter,
    index: Index,
    after: Option<String>,
    limit: usize,
}

impl Walk<'_> {
    async fn page(&self, partitions: &[String]) -> Result<Page<Job>, StoreError> {
        let mut found = Vec::new();
        let mut queries = 0;
        for partition in partitions {
            let mut resume = None;
            loop {
                if queries == QUERIES_PER_PAGE {
                    return self.cut_short(found, partition, resume.as_ref());
                }
                queries += 1;
                let (entries, next) = self
                    .query(partition, resume, self.limit + 1 - found.len())
                    .await?;
                if let Some(full) = self.fill(&mut found, &entries).await? {
                    return Ok(full);
                }
                match next {
                    Some(next) => resume = Some(next),
                    None => break,
                }
            }
        }
        Ok(Page {
            items: found,
            next: None,
        })
    }

    /// Reads the jobs of index entries. One match more than the page holds ends it.
    async fn fill(&self, found: &mut Vec<Job>, entries: &[Item]) -> Result<Option<Page<Job>>, StoreError> {
        let mut entries = entries;
        while !entries.is_empty() {
            let wanted = (self.limit + 1 - found.len()).min(entries.len());
            let (batch, rest) = entries.split_at(wanted);
            entries = rest;
            for job in read_jobs(self.store, batch).await? {
                if !matches(&job, self.filter) {
                    continue;
                }
                if found.len() == self.limit {
                    let next = found.last().map(|last| self.cursor_after(last));
                    return Ok(Some(Page {
                        items: std::mem::take(found),
                        next,
                    }));
                }
                found.push(job);
            }
        }
        Ok(None)
    }

    fn cursor_after(&self, job: &Job) -> String {
        Cursor::after_job(job, self.filter.finished_only).encode()
    }

    /// The page so far, and a cursor behind the last index entry looked at: in this partition, or at the end
    /// of the day after it.
    fn cut_short(
        &self,
        found: Vec<Job>,
        partition: &str,
        resume: Option<&Item>,
    ) -> Result<Page<Job>, StoreError> {
        let (time, id) = match resume {
            Some(entry) => keys::parse_time_key(items::text_of(entry, self.index.range)?)?,
            None => (Day::parse(partition)?.end(), JobId::from_u128(0)),
        };
        let cursor = if self.filter.finished_only {
            Cursor::Completed(time, id)
        } else {
            Cursor::Submitted(time, id)
        };
        Ok(Page {
            items: found,
            next: Some(cursor.encode()),
        })
    }

    /// One query: index entries newest first, and where the next query goes on.
    async fn query(
        &self,
        partition: &str,
        resume: Option<Item>,
        wanted: usize,
    ) -> Result<(Vec<Item>, Option<Item>), StoreError> {
        let mut query = start_query(self.store, self.index, partition).scan_index_forward(false);
        query = match &self.after {
            Some(after) => query
                .key_condition_expression("#hash = :hash AND #range < :after")
                .expression_attribute_names("#range", self.index.range)
                .expression_attribute_values(":after", text(after)),
            None => query.key_condition_expression("#hash = :hash"),
        };
        let conditions = filter_members(self.filter);
        for (member, value) in &conditions {
            query = query
                .expression_attribute_names(format!("#{member}"), *member)
                .expression_attribute_values(format!(":{member}"), text(value));
        }
        let mut looked_at = wanted;
        if !conditions.is_empty() {
            let equals: Vec<_> = conditions
                .iter()
                .map(|(member, _)| format!("#{member} = :{member}"))
                .collect();
            query = query.filter_expression(equals.join(" AND "));
            looked_at = FILTERED_PER_QUERY;
        }
        let answer = query
            .set_exclusive_start_key(resume)
            .limit(i32::try_from(looked_at).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| store_error("Query", &error))?;
        let next = answer.last_evaluated_key.filter(|key| !key.is_empty());
        Ok((answer.items.unwrap_or_default(), next))
    }
}

pub(super) fn start_query(store: &DynamoStore, index: Index, partition: &str) -> QueryFluentBuilder {
    store
        .client
        .query()
        .table_name(&store.table_name)
        .index_name(index.name)
        .expression_attribute_names("#hash", index.hash)
        .expression_attribute_values(":hash", text(partition))
}

fn filter_members(filter: &JobFilter) -> Vec<(&'static str, String)> {
    let [status, database, table] = FILTERED_MEMBERS;
    let given = [
        (status, filter.status.map(|status| status.as_str().to_owned())),
        (database, filter.database.clone()),
        (table, filter.table.clone()),
    ];
    given
        .into_iter()
        .filter_map(|(member, value)| value.map(|value| (member, value)))
        .collect()
}

/// The index may lag: what decides is the job as it is now.
fn matches(job: &Job, filter: &JobFilter) -> bool {
    filter.status.is_none_or(|status| job.status == status) && (!filter.finished_only || job.is_terminal())
}

/// The jobs of index entries, in their order; purged ones are left out.
async fn read_jobs(store: &DynamoStore, entries: &[Item]) -> Result<Vec<Job>, StoreError> {
    let keys = item_keys(entries)?;
    let items = store.get_all(&keys).await?;
    items
        .iter()
        .map(|item| items::read_job(item).map(|job| job.value))
        .collect()
}

/// The table's own keys of index entries.
pub(super) fn item_keys(entries: &[Item]) -> Result<Vec<Item>, StoreError> {
    let key = |entry| {
        let part = |name| items::text_of(entry, name).map(|value| (name.to_owned(), text(value)));
        Ok(Item::from([part("pk")?, part("sk")?]))
    };
    entries.iter().map(key).collect()
}

/// Active jobs whose message is due at `now`, the longest due first.
pub(super) async fn due(store: &DynamoStore, now: Timestamp, limit: usize) -> Result<Vec<JobId>, StoreError> {
    let end = keys::time_prefix(Timestamp::from_micros(now.as_micros().saturating_add(1)));
    let mut due = Vec::new();
    let mut resume = None;
    loop {
        let answer = start_query(store, DUE, DUE_PARTITION)
            .key_condition_expression("#hash = :hash AND #range < :end")
            .expression_attribute_names("#range", DUE.range)
            .expression_attribute_values(":end", text(&end))
            .set_exclusive_start_key(resume)
            .limit(i32::try_from(limit - due.len()).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| store_error("Query", &error))?;
        for entry in answer.items.unwrap_or_default() {
            due.push(keys::parse_job_partition(items::text_of(&entry, "pk")?)?);
        }
        match answer.last_evaluated_key.filter(|key| !key.is_empty()) {
            Some(next) if due.len() < limit => resume = Some(next),
            _ => return Ok(due),
        }
    }
}

/// The oldest entries of one partition of a job index, before `end` if given, as keys of the table.
pub(super) async fn oldest(
    store: &DynamoStore,
    index: Index,
    partition: &str,
    end: Option<&str>,
    limit: usize,
) -> Result<Vec<Item>, StoreError> {
    let query = start_query(store, index, partition);
    let query = match end {
        Some(end) => query
            .key_condition_expression("#hash = :hash AND #range < :end")
            .expression_attribute_names("#range", index.range)
            .expression_attribute_values(":end", text(end)),
        None => query.key_condition_expression("#hash = :hash"),
    };
    let answer = query
        .limit(i32::try_from(limit).unwrap_or(i32::MAX))
        .send()
        .await
        .map_err(|error| store_error("Query", &error))?;
    item_keys(&answer.items.unwrap_or_default())
}
