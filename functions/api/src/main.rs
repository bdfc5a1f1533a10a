//! Lambda entry point of the API: settings, clients and router once at cold start, then API Gateway events.

mod lambda;

use std::sync::Arc;

use anyhow::Context as _;
use snowpack_api::{Api, Ports};
use snowpack_aws::{AwsClients, DynamoStore, SqsQueue};
use snowpack_plan::CatalogTables;
use snowpack_service::{SystemClock, TimeSortedIds};
use snowpack_settings::{Environment, FunctionSettings};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let environment = Environment::new(std::env::vars_os());
    let settings = FunctionSettings::read(&environment)?;
    let deployment = settings.deployment();
    snowpack_telemetry::log_to_stdout(environment.log_filter(), settings.metrics)?;
    let clients = AwsClients::load().await;
    let catalog = clients
        .catalog(&settings.catalog)
        .await
        .context("opening the catalog")?;
    let tables = CatalogTables::new(Arc::new(catalog), deployment).within(settings.scope);
    let ports = Ports {
        store: Arc::new(DynamoStore::new(clients.dynamodb(), settings.store.table_name)),
        queue: Arc::new(SqsQueue::new(clients.sqs(), settings.store.queue_url)),
        tables,
        clock: SystemClock,
        ids: TimeSortedIds::default(),
    };
    let router = snowpack_api::router(Api::new(ports, settings.policy));
    let service = lambda::service(router);
    lambda_http::run(service)
        .await
        .map_err(|error| anyhow::anyhow!(error))
}
