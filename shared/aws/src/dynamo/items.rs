//! Items as they are stored, and read back.

use std::collections::BTreeMap;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use snowpack_domain::{
    CacheEntry, CacheState, Drain, Fence, Job, JobId, Lock, TableId, Timestamp, Upkeep, message_due,
};
use snowpack_service::ports::{IdempotencyRecord, StoreError, Version, Versioned};
use snowpack_wire::stored::{decode_job, encode_job};

use super::keys::{self, CACHE_PARTITION, DUE_PARTITION, Day, HELD_PARTITION, Item, number, text};

/// The job's item under the next version, with the keys of exactly the indexes it belongs in.
pub(super) fn job(job: &Versioned<Job>) -> Item {
    let Versioned { value: job, version } = job;
    let mut item = keys::job(&job.id);
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put("version", number(version + 1));
    put("document", text(encode_job(job)));
    put("status", text(job.status.as_str()));
    put("database", text(job.table.database.as_str()));
    put("table_name", text(job.table.table.as_str()));
    put("submitted_day", text(Day::of(job.submitted_at).to_string()));
    put("submitted_key", text(keys::time_key(job.submitted_at, &job.id)));
    put("table_key", text(keys::table_key(&job.table)));
    if let Some(completed_at) = job.completed_at.filter(|_| job.is_terminal()) {
        put("finished_day", text(Day::of(completed_at).to_string()));
        put("finished_table", text(keys::table_key(&job.table)));
        put("completed_key", text(keys::time_key(completed_at, &job.id)));
    }
    if !job.is_terminal() {
        put("active_status", text(job.status.as_str()));
    }
    if let Some(due) = message_due(job) {
        put("due", text(DUE_PARTITION));
        put("due_key", text(keys::time_key(due, &job.id)));
    }
    item
}

pub(super) fn lock(table: &TableId, lock: &Versioned<Lock>) -> Item {
    let mut item = keys::lock(table);
    item.insert("version".to_owned(), number(lock.version + 1));
    item.insert("fence".to_owned(), number(lock.value.fence));
    let Upkeep {
        completed_at,
        ended_at,
        orphans_removed_at,
    } = lock.value.upkeep;
    for (name, time) in [
        ("completed_at", completed_at),
        ("ended_at", ended_at),
        ("orphans_removed_at", orphans_removed_at),
    ] {
        if let Some(time) = time {
            item.insert(name.to_owned(), number(time.as_micros()));
        }
    }
    if let Some(holder) = &lock.value.holder {
        item.insert("holder".to_owned(), text(holder.as_str()));
        item.insert("name_list".to_owned(), text(HELD_PARTITION));
        item.insert("name_key".to_owned(), text(keys::name_key(table)));
    }
    item
}

/// A record with the second from which DynamoDB may delete it; `valid_until` is what decides.
pub(super) fn idempotency(record: &IdempotencyRecord) -> Item {
    let mut item = keys::idempotency(&record.key);
    item.insert("request_hash".to_owned(), text(&record.request_hash));
    item.insert("job".to_owned(), text(record.job.as_str()));
    item.insert("valid_until".to_owned(), number(record.expires_at.as_micros()));
    item.insert("expires_at".to_owned(), expires_at(record.expires_at));
    item
}

/// The second from which DynamoDB may delete an item that is good until `time`.
pub(super) fn expires_at(time: Timestamp) -> AttributeValue {
    number(time.as_micros().div_euclid(1_000_000).saturating_add(1))
}

pub(super) fn cache_entry(entry: &CacheEntry) -> Item {
    let mut item = keys::cache_entry(&entry.table);
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put("database", text(entry.table.database.as_str()));
    put("table_name", text(entry.table.table.as_str()));
    put("name_list", text(CACHE_PARTITION));
    put("name_key", text(keys::name_key(&entry.table)));
    put("generation", number(entry.generation));
    let properties = entry
        .properties
        .iter()
        .map(|(name, value)| (name.clone(), text(value)));
    put("properties", AttributeValue::M(properties.collect()));
    for (name, value) in [
        ("location", entry.location.as_ref().map(text)),
        ("metadata_location", entry.metadata_location.as_ref().map(text)),
        ("format_version", entry.format_version.map(number)),
    ] {
        if let Some(value) = value {
            put(name, value);
        }
    }
    item
}

pub(super) fn cache_state(state: &CacheState) -> Item {
    let mut item = keys::cache_state();
    item.insert("generation".to_owned(), number(state.generation));
    item.insert("table_count".to_owned(), number(state.table_count));
    if let Some(time) = state.last_synced {
        item.insert("last_synced".to_owned(), number(time.as_micros()));
    }
    if let Some(table) = &state.position {
        item.insert("position".to_owned(), text(table.to_string()));
    }
    item
}

pub(super) fn health_sync(position: &TableId) -> Item {
    let mut item = keys::health_sync();
    item.insert("position".to_owned(), text(position.to_string()));
    item
}

/// Reads the members of one item; what is missing or of another type is named.
struct Members<'a>(&'a Item);

impl<'a> Members<'a> {
    fn wrong(&self, name: &str) -> StoreError {
        let pk = self.0.get("pk").and_then(|value| value.as_s().ok());
        StoreError::Corrupt(format!(
            "the item {} has no readable {name}",
            pk.map_or("without a key", String::as_str)
        ))
    }

    fn optional_text(&self, name: &str) -> Result<Option<&'a str>, StoreError> {
        let read = |value: &'a AttributeValue| value.as_s().map(String::as_str).map_err(|_| self.wrong(name));
        self.0.get(name).map(read).transpose()
    }

    fn text(&self, name: &str) -> Result<&'a str, StoreError> {
        self.optional_text(name)?.ok_or_else(|| self.wrong(name))
    }

    fn optional_number<T: FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let read = |value: &AttributeValue| value.as_n().ok().and_then(|digits| digits.parse().ok());
        let read = |value| read(value).ok_or_else(|| self.wrong(name));
        self.0.get(name).map(read).transpose()
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.optional_number(name)?.ok_or_else(|| self.wrong(name))
    }

    /// Microseconds since the epoch.
    fn optional_time(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.optional_number(name)?.map(Timestamp::from_micros))
    }

    /// A table by its full name.
    fn optional_table(&self, name: &str) -> Result<Option<TableId>, StoreError> {
        let table = self.optional_text(name)?.map(TableId::parse).transpose();
        table.map_err(|_| self.wrong(name))
    }

    fn job_id(&self, name: &str) -> Result<JobId, StoreError> {
        JobId::parse(self.text(name)?).map_err(|_| self.wrong(name))
    }
}

/// The text of one member of an item.
pub(super) fn text_of<'a>(item: &'a Item, name: &str) -> Result<&'a str, StoreError> {
    Members(item).text(name)
}

pub(super) fn read_job(item: &Item) -> Result<Versioned<Job>, StoreError> {
    let members = Members(item);
    let value = decode_job(members.text("document")?)
        .map_err(|error| StoreError::Corrupt(format!("{}: {error}", members.text("pk").unwrap_or("?"))))?;
    Ok(Versioned {
        value,
        version: members.number("version")?,
    })
}

pub(super) fn read_lock(item: Option<&Item>) -> Result<Versioned<Lock>, StoreError> {
    let Some(item) = item else {
        return Ok(never_stored());
    };
    let members = Members(item);
    let holder = members.optional_text("holder")?;
    let value = Lock {
        holder: holder.map(|_| members.job_id("holder")).transpose()?,
        fence: Fence::new(members.number("fence")?),
        upkeep: Upkeep {
            completed_at: members.optional_time("completed_at")?,
            ended_at: members.optional_time("ended_at")?,
            orphans_removed_at: members.optional_time("orphans_removed_at")?,
        },
    };
    Ok(Versioned {
        value,
        version: members.number("version")?,
    })
}

pub(super) fn read_drain(item: Option<&Item>) -> Result<Versioned<Drain>, StoreError> {
    let Some(item) = item else {
        return Ok(never_stored());
    };
    let members = Members(item);
    let enabled = item.get("enabled").and_then(|value| value.as_bool().ok());
    let value = Drain {
        enabled: *enabled.ok_or_else(|| members.wrong("enabled"))?,
        reason: members.optional_text("reason")?.map(str::to_owned),
    };
    Ok(Versioned {
        value,
        version: members.number::<Version>("version")?,
    })
}

fn never_stored<T: Default>() -> Versioned<T> {
    Versioned {
        value: T::default(),
        version: 0,
    }
}

pub(super) fn read_idempotency(key: &str, item: &Item) -> Result<IdempotencyRecord, StoreError> {
    let members = Members(item);
    Ok(IdempotencyRecord {
        key: key.to_owned(),
        request_hash: members.text("request_hash")?.to_owned(),
        job: members.job_id("job")?,
        expires_at: Timestamp::from_micros(members.number("valid_until")?),
    })
}

pub(super) fn read_cache_entry(item: &Item) -> Result<CacheEntry, StoreError> {
    let members = Members(item);
    let table = TableId::new(members.text("database")?, members.text("table_name")?);
    let mut properties = BTreeMap::new();
    let stored = item.get("properties").and_then(|value| value.as_m().ok());
    for (name, value) in stored.ok_or_else(|| members.wrong("properties"))? {
        let value = value.as_s().map_err(|_| members.wrong("properties"))?;
        properties.insert(name.clone(), value.clone());
    }
    Ok(CacheEntry {
        table: table.map_err(|_| members.wrong("table name"))?,
        location: members.optional_text("location")?.map(str::to_owned),
        metadata_location: members.optional_text("metadata_location")?.map(str::to_owned),
        format_version: members.optional_number("format_version")?,
        properties,
        generation: members.number("generation")?,
    })
}

pub(super) fn read_cache_state(item: Option<&Item>) -> Result<CacheState, StoreError> {
    let Some(item) = item else {
        return Ok(CacheState::default());
    };
    let members = Members(item);
    Ok(CacheState {
        generation: members.number("generation")?,
        last_synced: members
            .optional_number("last_synced")?
            .map(Timestamp::from_micros),
        table_count: members.number("table_count")?,
        position: members.optional_table("position")?,
    })
}

pub(super) fn read_health_sync(item: Option<&Item>) -> Result<Option<TableId>, StoreError> {
    item.map_or(Ok(None), |item| Members(item).optional_table("position"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_from_before_every_end_was_noted_is_read() {
        let time = |micros| Some(Timestamp::from_micros(micros));
        let stored = Versioned {
            value: Lock {
                holder: None,
                fence: Fence::new(7),
                upkeep: Upkeep {
                    completed_at: time(1),
                    ended_at: time(2),
                    orphans_removed_at: time(3),
                },
            },
            version: 0,
        };
        let table = TableId::new("a", "t").expect("a name");
        let mut item = lock(&table, &stored);
        assert_eq!(read_lock(Some(&item)).expect("a lock").value, stored.value);
        item.remove("ended_at");
        let upkeep = read_lock(Some(&item)).expect("a lock").value.upkeep;
        assert_eq!((upkeep.ended_at, upkeep.last_turn()), (None, time(1)));
    }
}
