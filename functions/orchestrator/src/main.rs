//! Lambda entry point of the orchestrator: a tick of the schedule or a person's event in, the run's record out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use snowpack_aws::{AwsClients, DynamoStore, SqsQueue};
use snowpack_orchestrator::{answer, read_event};
use snowpack_plan::CatalogTables;
use snowpack_service::{Orchestrator, RunPorts, SystemClock, TimeLimit, TimeSortedIds};
use snowpack_settings::{Environment, FunctionSettings, run_limits};
use snowpack_telemetry::request_span;
use tracing::Instrument as _;

/// Time kept before the deadline to submit what was found and to keep the record.
const RESERVE: Duration = Duration::from_secs(90);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let environment = Environment::new(std::env::vars_os());
    let settings = FunctionSettings::read(&environment)?;
    let deployment = settings.deployment();
    snowpack_telemetry::log_to_stdout(environment.log_filter(), settings.metrics)?;
    let limits = run_limits(&environment)?;
    let clients = AwsClients::load().await;
    let catalog = clients
        .catalog(&settings.catalog)
        .await
        .context("opening the catalog")?;
    let tables = CatalogTables::new(Arc::new(catalog), deployment).within(settings.scope);
    let ports = RunPorts {
        store: Arc::new(DynamoStore::new(clients.dynamodb(), settings.store.table_name)),
        queue: Arc::new(SqsQueue::new(clients.sqs(), settings.store.queue_url)),
        tables,
        clock: SystemClock,
        ids: Arc::new(TimeSortedIds::default()),
    };
    let orchestrator = Arc::new(Orchestrator::new(ports, settings.policy, limits));
    let handler = service_fn(move |event: LambdaEvent<Value>| {
        let orchestrator = Arc::clone(&orchestrator);
        let span = request_span(&event.context.request_id);
        let ran = async move {
            let request = read_event(&event.payload)?;
            let left = event.context.deadline().duration_since(SystemTime::now());
            let limit = TimeLimit::after(left.unwrap_or_default().saturating_sub(RESERVE));
            Ok::<_, lambda_runtime::Error>(answer(&orchestrator.run(&request, limit).await?)?)
        };
        ran.instrument(span)
    });
    let ran = lambda_runtime::run(handler).await;
    ran.map_err(|error| anyhow::anyhow!(error))
}
