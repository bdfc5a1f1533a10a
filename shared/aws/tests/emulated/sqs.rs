//! The SQS queue keeps the contract of job queues.

use std::time::Duration;

use snowpack_aws::SqsQueue;
use snowpack_testkit::{Delivery, Receiver, job_queue_contract};
use snowpack_wire::message::decode_message;

struct SqsReceiver {
    client: aws_sdk_sqs::Client,
    queue_url: String,
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

#[tokio::test]
async fn the_queue_keeps_its_contract() {
    let client = aws_sdk_sqs::Client::new(&crate::emulator().await);
    let made = client
        .create_queue()
        .queue_name(crate::unique("jobs"))
        .send()
        .await
        .unwrap();
    let queue_url = made.queue_url.unwrap();
    let receiver = SqsReceiver {
        client: client.clone(),
        queue_url: queue_url.clone(),
    };
    job_queue_contract(&SqsQueue::new(client, queue_url), &receiver).await;
}
