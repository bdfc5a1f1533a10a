//! Lambda entry point of the sweeper: whatever the event, one sweep of the job store. Independent of the API and
//! the worker, so that it wakes and frees what they left behind.

use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};
use snowpack_aws::{AwsClients, DynamoStore, SqsDeadLetters, SqsQueue};
use snowpack_service::{SystemClock, sweep};
use snowpack_settings::{Environment, SweeperSettings};
use snowpack_telemetry::request_span;
use tracing::Instrument as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let environment = Environment::new(std::env::vars_os());
    let SweeperSettings {
        store,
        dead_letter_queue_url,
        telemetry,
    } = SweeperSettings::read(&environment)?;
    snowpack_telemetry::log_to_stdout(&telemetry.filter, telemetry.metrics)?;
    let clients = AwsClients::load().await;
    let ports = Arc::new((
        DynamoStore::new(clients.dynamodb(), store.table_name),
        SqsQueue::new(clients.sqs(), store.queue_url),
        SqsDeadLetters::new(clients.sqs(), dead_letter_queue_url),
    ));
    let handler = service_fn(move |event: LambdaEvent<Value>| {
        let ports = Arc::clone(&ports);
        let span = request_span(&event.context.request_id);
        let swept = async move {
            let (store, queue, dead_letters) = &*ports;
            let report = sweep(store, queue, dead_letters, &SystemClock).await?;
            Ok::<_, lambda_runtime::Error>(json!({
                "sent": report.sent,
                "given_up": report.given_up,
                "dead_letters": report.dead_letters,
                "freed": report.freed,
            }))
        };
        swept.instrument(span)
    });
    lambda_runtime::run(handler)
        .await
        .map_err(|error| anyhow::anyhow!(error))
}
