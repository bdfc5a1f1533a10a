//! The SQS queue and its dead-letter queue keep their contracts.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use snowpack_aws::{SqsDeadLetters, SqsQueue};
use snowpack_testkit::{Delivery, Receiver, dead_letters_contract, job_queue_contract};
use snowpack_wire::message::decode_message;

/// The receiving end of a queue, as Lambda's poller is on AWS.
pub(crate) struct SqsReceiver {
    pub(crate) client: aws_sdk_sqs::Client,
    pub(crate) queue_url: String,
}

impl Receiver for SqsReceiver {
    type Receipt = String;

    async fn receive(&self, visibility_seconds: u32) -> Option<Delivery<String>> {
        let received = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .visibility_timeout(i32::try_from(visibility_seconds).unwrap())
            .send()
            .await
            .unwrap();
        let message = received.messages?.pop()?;
        Some(Delivery {
            job: decode_message(&message.body?).unwrap(),
            receipt: message.receipt_handle?,
        })
    }

    async fn ack(&self, receipt: String) {
        self.client
            .delete_message()
            .queue_url(&self.queue_url)
            .receipt_handle(receipt)
            .send()
            .await
            .unwrap();
    }

    async fn wait(&self, seconds: u32) {
        tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
    }
}

/// Makes a queue; returns its URL.
pub(crate) async fn made_queue(client: &aws_sdk_sqs::Client, redrive_policy: Option<String>) -> String {
    let request = client.create_queue().queue_name(crate::unique("jobs"));
    let request = match redrive_policy {
        Some(policy) => request.attributes(QueueAttributeName::RedrivePolicy, policy),
        None => request,
    };
    request.send().await.unwrap().queue_url.unwrap()
}

async fn arn(client: &aws_sdk_sqs::Client, queue_url: &str) -> String {
    let answer = client
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .unwrap();
    answer.attributes.unwrap()[&QueueAttributeName::QueueArn].clone()
}

#[tokio::test]
async fn the_queue_keeps_its_contract() {
    let client = aws_sdk_sqs::Client::new(&crate::emulator().await);
    let queue_url = made_queue(&client, None).await;
    let receiver = SqsReceiver {
        client: client.clone(),
        queue_url: queue_url.clone(),
    };
    job_queue_contract(&SqsQueue::new(client, queue_url), &receiver).await;
}

#[tokio::test]
async fn dead_letters_keep_their_contract() {
    let client = aws_sdk_sqs::Client::new(&crate::emulator().await);
    let letters_url = made_queue(&client, None).await;
    let target = arn(&client, &letters_url).await;
    let policy = format!(r#"{{"deadLetterTargetArn":"{target}","maxReceiveCount":5}}"#);
    let queue_url = made_queue(&client, Some(policy)).await;
    let receiver = SqsReceiver {
        client: client.clone(),
        queue_url: queue_url.clone(),
    };
    let dead_letters = SqsDeadLetters::new(client.clone(), letters_url);
    dead_letters_contract(&SqsQueue::new(client, queue_url), &receiver, &dead_letters).await;
}
