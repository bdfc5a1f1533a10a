//! The job queue over SQS.

use snowpack_domain::JobId;
use snowpack_service::ports::{JobQueue, StoreError};
use snowpack_wire::message::encode_message;

use crate::service_error::store_error;

/// SQS delays no message longer than this.
const MAX_DELAY_SECONDS: u32 = 900;

/// Sends job messages to one standard queue.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: aws_sdk_sqs::Client,
    queue_url: String,
}

impl SqsQueue {
    /// A queue by its URL.
    pub fn new(client: aws_sdk_sqs::Client, queue_url: impl Into<String>) -> Self {
        Self {
            client,
            queue_url: queue_url.into(),
        }
    }
}

impl JobQueue for SqsQueue {
    /// A delay beyond SQS's limit of 15 minutes is cut to it.
    async fn send(&self, job: &JobId, delay_seconds: u32) -> Result<(), StoreError> {
        let delay = i32::try_from(delay_seconds.min(MAX_DELAY_SECONDS)).expect("at most 900");
        self.client
            .send_message()
            .queue_url(&self.queue_url)
            .message_body(encode_message(job))
            .delay_seconds(delay)
            .send()
            .await
            .map_err(|error| store_error("SendMessage", &error))?;
        Ok(())
    }
}
