//! The job queue and its dead-letter queue over SQS.

use aws_sdk_sqs::types::QueueAttributeName;
use snowpack_domain::JobId;
use snowpack_service::ports::{DeadLetter, DeadLetters, JobQueue, QueueDepth, StoreError};
use snowpack_wire::message::{decode_message, encode_message};

use crate::service_error::store_error;

/// SQS delays no message longer than this.
const MAX_DELAY_SECONDS: u32 = 900;

/// How many messages one call takes; SQS gives no more.
const LETTERS_PER_CALL: i32 = 10;
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

    async fn depth(&self) -> Result<QueueDepth, StoreError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(&self.queue_url)
            .set_attribute_names(Some(vec![Visible, Delayed, InFlight]))
            .send()
            .await
            .map_err(|error| store_error("GetQueueAttributes", &error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name: QueueAttributeName| {
            let count = attributes.get(&name).and_then(|text| text.parse::<u64>().ok());
            count.ok_or_else(|| StoreError::Corrupt(format!("the queue does not tell its {name}")))
        };
        Ok(QueueDepth {
            waiting: count(Visible)? + count(Delayed)?,
            in_flight: count(InFlight)?,
        })
    }
}

/// Takes messages from the dead-letter queue.
#[derive(Clone, Debug)]
pub struct SqsDeadLetters {
    client: aws_sdk_sqs::Client,
    queue_url: String,
}

impl SqsDeadLetters {
    /// The dead-letter queue by its URL.
    pub fn new(client: aws_sdk_sqs::Client, queue_url: impl Into<String>) -> Self {
        Self {
            client,
            queue_url: queue_url.into(),
        }
    }
}

impl DeadLetters for SqsDeadLetters {
    async fn receive(&self, hidden_seconds: u32) -> Result<Vec<DeadLetter>, StoreError> {
        let received = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(LETTERS_PER_CALL)
            .visibility_timeout(i32::try_from(hidden_seconds).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| store_error("ReceiveMessage", &error))?;
        let letter = |message: aws_sdk_sqs::types::Message| DeadLetter {
            job: decode_message(message.body.as_deref().unwrap_or_default()).ok(),
            receipt: message.receipt_handle.unwrap_or_default(),
        };
        Ok(received
            .messages
            .unwrap_or_default()
            .into_iter()
            .map(letter)
            .collect())
    }

    async fn remove(&self, receipt: &str) -> Result<(), StoreError> {
        self.client
            .delete_message()
            .queue_url(&self.queue_url)
            .receipt_handle(receipt)
            .send()
            .await
            .map_err(|error| store_error("DeleteMessage", &error))?;
        Ok(())
    }
}
