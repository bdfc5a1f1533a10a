//! Lambda entry point of the worker: settings, clients and engine once at cold start, then SQS events.

// The engine's futures nest deeper than the default lets the compiler look.
#![recursion_limit = "256"]

use std::sync::Arc;

use anyhow::Context as _;
use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{LambdaEvent, service_fn};
use snowpack_aws::{AwsClients, DynamoStore, SqsQueue};
use snowpack_engine::MaintenanceEngine;
use snowpack_service::{CrashPoint, Limits, SystemClock, Worker};
use snowpack_settings::{Environment, WorkerSettings};
use snowpack_spark::HandingOver;
use snowpack_telemetry::request_span;
use tracing::Instrument as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let environment = Environment::new(std::env::vars_os());
    let WorkerSettings {
        function: settings,
        spark,
        crash_at,
    } = WorkerSettings::read(&environment)?;
    snowpack_telemetry::log_to_stdout(&settings.telemetry.filter, settings.telemetry.metrics)?;
    let clients = AwsClients::load().await;
    let store = Arc::new(DynamoStore::new(clients.dynamodb(), settings.store.table_name));
    let queue = Arc::new(SqsQueue::new(clients.sqs(), settings.store.queue_url));
    let catalog = clients
        .catalog(&settings.catalog)
        .await
        .context("opening the catalog")?;
    let catalog = Arc::new(catalog);
    let spark = snowpack_worker::spark_of(spark, &settings.catalog, &clients)?;
    let native = MaintenanceEngine::new(
        Arc::clone(&catalog),
        SystemClock,
        settings.policy.deployment.clone(),
    );
    let engine = HandingOver::new(native, catalog, SystemClock, settings.policy.deployment, spark);
    let name = std::env::var("AWS_LAMBDA_LOG_STREAM_NAME").unwrap_or_else(|_| "worker".to_owned());
    let worker = Worker::new(store, queue, engine, SystemClock, name, Limits::default());
    let worker = Arc::new(worker.crashing_at(crash_at.map(CrashPoint::new)));
    let handler = service_fn(move |event: LambdaEvent<SqsEvent>| {
        let worker = Arc::clone(&worker);
        async move {
            let deadline = event.context.deadline();
            let span = request_span(&event.context.request_id);
            let handling = snowpack_worker::handle_event(&worker, event.payload, deadline);
            let response = handling.instrument(span).await;
            Ok::<_, lambda_runtime::Error>(response)
        }
    });
    lambda_runtime::run(handler)
        .await
        .map_err(|error| anyhow::anyhow!(error))
}
