//! Writing objects: small ones in one request, large ones in parts that become an object only when all arrived.

use std::io;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use iceberg::Result;
use iceberg::io::FileWrite;
use tokio::task::JoinSet;

use super::failure::{describe, failure};
use super::location::Location;
use super::read;

/// Bytes in every part but the last. Large enough that S3's 10,000 parts hold 156 GiB, far above any file
/// Iceberg writes; small enough that a few of them in memory do not matter.
const PART_BYTES: usize = 16 * 1024 * 1024;
/// Most parts S3 takes for one object.
const MAX_PARTS: i32 = 10_000;
/// Parts on their way at once, besides the one being filled: enough to keep a core encoding.
const PARTS_IN_FLIGHT: usize = 2;

/// Puts a whole object in one request.
pub(super) async fn put(client: &Client, location: &Location, body: Bytes) -> Result<()> {
    client
        .put_object()
        .bucket(&location.bucket)
        .key(&location.key)
        .body(body.into())
        .send()
        .await
        .map_err(|error| failure("write", &location.path, &error))?;
    Ok(())
}

/// Writes one object. Dropped before it is closed, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Writer {
    client: Client,
    location: Location,
    buffer: BytesMut,
    upload: Option<Upload>,
    written: u64,
    closed: bool,
}

/// A multipart upload under way.
#[derive(Debug)]
struct Upload {
    id: String,
    started_parts: i32,
    in_flight: JoinSet<Result<CompletedPart>>,
    done: Vec<CompletedPart>,
}

impl Writer {
    pub(super) fn new(client: Client, location: Location) -> Self {
        Self {
            client,
            location,
            buffer: BytesMut::new(),
            upload: None,
            written: 0,
            closed: false,
        }
    }

    fn check_open(&self) -> Result<()> {
        if self.closed {
            let cause = io::Error::other("the file is closed, or writing it failed before");
            return Err(describe("write", &self.location.path, cause));
        }
        Ok(())
    }

    /// Closes the writer for good and gives up its upload.
    async fn give_up(&mut self) {
        self.closed = true;
        if let Some(mut upload) = self.upload.take() {
            upload.in_flight.shutdown().await;
            abort(&self.client, &self.location, &upload.id).await;
        }
    }

    async fn send_part(&mut self, part: Bytes) -> Result<()> {
        if self.upload.is_none() {
            self.upload = Some(start(&self.client, &self.location).await?);
        }
        let upload = self.upload.as_mut().expect("started just above");
        if upload.started_parts == MAX_PARTS {
            let limit = MAX_PARTS as u64 * PART_BYTES as u64;
            let cause = io::Error::other(format!("it is larger than {limit} bytes; use smaller files"));
            return Err(describe("write", &self.location.path, cause));
        }
        while upload.in_flight.len() >= PARTS_IN_FLIGHT {
            upload.take_finished().await?;
        }
        upload.started_parts += 1;
        let (client, location) = (self.client.clone(), self.location.clone());
        let (id, number) = (upload.id.clone(), upload.started_parts);
        upload
            .in_flight
            .spawn(async move { upload_part(&client, &location, &id, number, part).await });
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        let rest = self.buffer.split().freeze();
        if self.upload.is_none() {
            return put(&self.client, &self.location, rest).await;
        }
        if !rest.is_empty() {
            self.send_part(rest).await?;
        }
        let upload = self.upload.as_mut().expect("checked above");
        while !upload.in_flight.is_empty() {
            upload.take_finished().await?;
        }
        let mut parts = std::mem::take(&mut upload.done);
        parts.sort_unstable_by_key(CompletedPart::part_number);
        complete(&self.client, &self.location, &upload.id, parts, self.written).await?;
        self.upload = None;
        Ok(())
    }
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.check_open()?;
        self.written += bytes.len() as u64;
        let mut rest = bytes;
        while self.buffer.len() + rest.len() >= PART_BYTES {
            self.buffer
                .extend_from_slice(&rest.split_to(PART_BYTES - self.buffer.len()));
            let part = std::mem::take(&mut self.buffer).freeze();
            if let Err(error) = self.send_part(part).await {
                self.give_up().await;
                return Err(error);
            }
        }
        self.buffer.extend_from_slice(&rest);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.check_open()?;
        let finished = self.finish().await;
        if finished.is_err() {
            self.give_up().await;
        }
        self.closed = true;
        finished
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else {
            return;
        };
        // Parts of an upload never ended are paid for and seen by nobody.
        let (client, location) = (self.client.clone(), self.location.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let Upload {
                    id, mut in_flight, ..
                } = upload;
                in_flight.shutdown().await;
                abort(&client, &location, &id).await;
            });
        }
    }
}

impl Upload {
    /// Waits for one part.
    async fn take_finished(&mut self) -> Result<()> {
        if let Some(part) = self.in_flight.join_next().await {
            self.done
                .push(part.expect("uploading a part neither panics nor is cancelled before this")?);
        }
        Ok(())
    }
}

async fn start(client: &Client, location: &Location) -> Result<Upload> {
    let started = client
        .create_multipart_upload()
        .bucket(&location.bucket)
        .key(&location.key)
        .send()
        .await
        .map_err(|error| failure("write", &location.path, &error))?;
    let id = started.upload_id.ok_or_else(|| {
        describe(
            "write",
            &location.path,
            io::Error::other("S3 gave no id for the upload"),
        )
    })?;
    Ok(Upload {
        id,
        started_parts: 0,
        in_flight: JoinSet::new(),
        done: Vec::new(),
    })
}

async fn upload_part(
    client: &Client,
    location: &Location,
    id: &str,
    number: i32,
    part: Bytes,
) -> Result<CompletedPart> {
    let uploaded = client
        .upload_part()
        .bucket(&location.bucket)
        .key(&location.key)
        .upload_id(id)
        .part_number(number)
        .body(part.into())
        .send()
        .await
        .map_err(|error| failure("write", &location.path, &error))?;
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(uploaded.e_tag)
        .set_checksum_crc32(uploaded.checksum_crc32)
        .build())
}

/// Makes the object of its parts. When the answer to a first attempt was lost, the next one finds no such
/// upload; the object's size then tells that the first one did it, because nobody else writes under this name.
async fn complete(
    client: &Client,
    location: &Location,
    id: &str,
    parts: Vec<CompletedPart>,
    size: u64,
) -> Result<()> {
    let completed = client
        .complete_multipart_upload()
        .bucket(&location.bucket)
        .key(&location.key)
        .upload_id(id)
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
        .send()
        .await;
    let Err(error) = completed else {
        return Ok(());
    };
    if read::size(client, location)
        .await
        .is_ok_and(|found| found == Some(size))
    {
        return Ok(());
    }
    Err(failure("write", &location.path, &error))
}

async fn abort(client: &Client, location: &Location, id: &str) {
    let aborted = client
        .abort_multipart_upload()
        .bucket(&location.bucket)
        .key(&location.key)
        .upload_id(id)
        .send()
        .await;
    if let Err(error) = aborted {
        let error = failure("abort the upload of", &location.path, &error);
        tracing::warn!(path = %location.path, upload = id, %error, "parts of an unfinished upload stay behind");
    }
}
