//! Deleting objects, a thousand in a request, with every object that stays named.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::Result;

use super::failure::{describe, failure};
use super::location::Location;

/// Most keys in one `DeleteObjects`.
const KEYS_PER_REQUEST: usize = 1000;
/// Attempts for keys that S3 was too busy to delete.
const ATTEMPTS: u32 = 4;
/// Wait before the second attempt; each further one waits twice as long at most.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Objects named in an error; more would not be read.
const NAMED: usize = 3;

/// Deletes one object; one that is gone already is fine.
pub(super) async fn one(client: &Client, location: &Location) -> Result<()> {
    client
        .delete_object()
        .bucket(&location.bucket)
        .key(&location.key)
        .send()
        .await
        .map_err(|error| failure("delete", &location.path, &error))?;
    Ok(())
}

/// Deletes all objects of a stream. What cannot be deleted does not keep the rest from it.
///
/// # Errors
/// After all was tried, when objects stay: naming the first of them, their number and S3's reason. At once
/// when a path is no S3 location, because nothing that follows can be trusted.
pub(super) async fn many(client: &Client, mut paths: BoxStream<'static, String>) -> Result<()> {
    let mut by_bucket: BTreeMap<String, Vec<Location>> = BTreeMap::new();
    let mut kept = Kept::default();
    while let Some(path) = paths.next().await {
        let location = Location::parse(&path)?;
        let batch = by_bucket.entry(location.bucket.clone()).or_default();
        batch.push(location);
        if batch.len() == KEYS_PER_REQUEST {
            delete_batch(client, std::mem::take(batch), &mut kept).await;
        }
    }
    for batch in by_bucket.into_values().filter(|batch| !batch.is_empty()) {
        delete_batch(client, batch, &mut kept).await;
    }
    kept.into_result()
}

/// Objects that could not be deleted.
#[derive(Default)]
struct Kept {
    count: usize,
    named: Vec<String>,
    first_reason: Option<String>,
}

impl Kept {
    fn add(&mut self, location: Location, reason: &str) {
        self.count += 1;
        self.first_reason.get_or_insert_with(|| reason.to_owned());
        if self.named.len() < NAMED {
            self.named.push(location.path);
        }
    }

    fn into_result(self) -> Result<()> {
        let Some(reason) = self.first_reason else {
            return Ok(());
        };
        let more = match self.count - self.named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = format!("{}{more}", self.named.join(", "));
        let kind = if reason.starts_with("AccessDenied") {
            io::ErrorKind::PermissionDenied
        } else {
            io::ErrorKind::Other
        };
        Err(describe("delete", &names, io::Error::new(kind, reason)))
    }
}

/// Deletes objects of one bucket; those that S3 was too busy for are tried again.
async fn delete_batch(client: &Client, batch: Vec<Location>, kept: &mut Kept) {
    let mut left = batch;
    for attempt in 1..=ATTEMPTS {
        if attempt > 1 {
            let cap = FIRST_WAIT.saturating_mul(1 << (attempt - 2));
            tokio::time::sleep(cap.mul_f64(rand::random_range(0.0..=1.0))).await;
        }
        let refused = match request(client, &left).await {
            Ok(refused) => refused,
            Err(error) => {
                let reason = error.to_string();
                left.into_iter().for_each(|location| kept.add(location, &reason));
                return;
            }
        };
        let mut again = Vec::new();
        for location in left {
            match refused.get(&location.key) {
                Some(refusal) if refusal.busy && attempt < ATTEMPTS => again.push(location),
                Some(refusal) => kept.add(location, &refusal.reason),
                None => {}
            }
        }
        left = again;
        if left.is_empty() {
            return;
        }
    }
}

/// Why one key was not deleted.
struct Refusal {
    busy: bool,
    reason: String,
}

/// One request; returns the keys refused in it.
async fn request(client: &Client, batch: &[Location]) -> Result<BTreeMap<String, Refusal>> {
    let Some(first) = batch.first() else {
        return Ok(BTreeMap::new());
    };
    let identify = |location: &Location| {
        ObjectIdentifier::builder()
            .key(&location.key)
            .build()
            .expect("the key is set")
    };
    let keys = batch.iter().map(identify).collect();
    let delete = Delete::builder()
        .set_objects(Some(keys))
        .quiet(true)
        .build()
        .expect("the keys are set");
    let answer = client
        .delete_objects()
        .bucket(&first.bucket)
        .delete(delete)
        .send()
        .await
        .map_err(|error| failure("delete", &first.path, &error))?;
    let mut refused = BTreeMap::new();
    for error in answer.errors.unwrap_or_default() {
        let (Some(key), code) = (error.key, error.code.unwrap_or_default()) else {
            continue;
        };
        if code == "NoSuchKey" {
            continue;
        }
        let refusal = Refusal {
            busy: matches!(code.as_str(), "SlowDown" | "InternalError" | "ServiceUnavailable"),
            reason: format!("{code}: {}", error.message.unwrap_or_default()),
        };
        refused.insert(key, refusal);
    }
    Ok(refused)
}
