//! Reading objects by range, and their sizes.

use std::io;
use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use iceberg::Result;
use iceberg::io::FileRead;

use super::failure::{describe, failure};
use super::location::Location;

/// Attempts to read a body to its end. The SDK tries requests again, but not bodies that break off.
const BODY_ATTEMPTS: u32 = 3;

/// Reads one object.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) client: Client,
    pub(super) location: Location,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let body = get(&self.client, &self.location, Some(header)).await?;
        let wanted = range.end - range.start;
        if body.len() as u64 == wanted {
            return Ok(body);
        }
        let reason = format!(
            "it is shorter than its table says: {} of {wanted} bytes at offset {}",
            body.len(),
            range.start
        );
        Err(describe(
            "read",
            &self.location.path,
            io::Error::new(io::ErrorKind::UnexpectedEof, reason),
        ))
    }
}

/// A whole object, or a range of it.
pub(super) async fn get(client: &Client, location: &Location, range: Option<String>) -> Result<Bytes> {
    let mut attempt = 1;
    loop {
        let answer = client
            .get_object()
            .bucket(&location.bucket)
            .key(&location.key)
            .set_range(range.clone())
            .send()
            .await
            .map_err(|error| failure("read", &location.path, &error))?;
        match answer.body.collect().await {
            Ok(body) => return Ok(body.into_bytes()),
            Err(error) if attempt == BODY_ATTEMPTS => {
                let cause = io::Error::other(format!("its body broke off: {error}"));
                return Err(describe("read", &location.path, cause).with_retryable(true));
            }
            Err(_) => attempt += 1,
        }
    }
}

/// The object's size in bytes; `None` when there is no such object.
pub(super) async fn size(client: &Client, location: &Location) -> Result<Option<u64>> {
    let answer = client
        .head_object()
        .bucket(&location.bucket)
        .key(&location.key)
        .send()
        .await;
    match answer {
        Ok(head) => {
            let size = head.content_length.and_then(|length| u64::try_from(length).ok());
            size.map(Some).ok_or_else(|| {
                describe(
                    "stat",
                    &location.path,
                    io::Error::other("S3 gave no content length"),
                )
            })
        }
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|answer| answer.is_not_found()) =>
        {
            Ok(None)
        }
        Err(error) => Err(failure("stat", &location.path, &error)),
    }
}
