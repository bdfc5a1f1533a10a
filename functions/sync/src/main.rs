//! Lambda entry point of sync: whatever the event, the table cache is brought up to date, then the health of tables.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};
use snowpack_aws::{AwsClients, DynamoStore};
use snowpack_plan::CatalogTables;
use snowpack_service::{HealthBook, SystemClock, TableCache, TimeLimit, sync_health, sync_tables};
use snowpack_settings::{Environment, FunctionSettings};
use snowpack_telemetry::request_span;
use tracing::Instrument as _;

/// Time kept before the deadline for what was begun: the slowest metadata reads and a batch of writes.
const RESERVE: Duration = Duration::from_secs(40);

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
    let store = Arc::new(DynamoStore::new(clients.dynamodb(), settings.store.table_name));
    let cache = TableCache::new(Arc::clone(&store), tables.clone(), SystemClock);
    let book = Arc::new(HealthBook::new(Arc::new(cache), settings.policy));
    let handler = service_fn(move |event: LambdaEvent<Value>| {
        let span = request_span(&event.context.request_id);
        let (store, tables, book) = (Arc::clone(&store), tables.clone(), Arc::clone(&book));
        let synced = async move {
            let left = event.context.deadline().duration_since(SystemTime::now());
            let limit = TimeLimit::after(left.unwrap_or_default().saturating_sub(RESERVE));
            let cache = sync_tables(&*store, &tables, &SystemClock, limit).await?;
            let health = sync_health(&book, limit).await?;
            Ok::<_, lambda_runtime::Error>(json!({
                "tables": cache.tables,
                "written": cache.written,
                "removed": cache.removed,
                "unreadable": cache.unreadable,
                "finished": cache.finished,
                "health_collected": health.collected,
                "health_failed": health.failed,
                "health_left": health.left,
            }))
        };
        synced.instrument(span)
    });
    let ran = lambda_runtime::run(handler).await;
    ran.map_err(|error| anyhow::anyhow!(error))
}
