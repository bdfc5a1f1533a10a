//! The ports of health reports and of runs, over the same table.

use std::collections::HashMap;

use snowpack_domain::{Run, RunId, TableHealth, TableId};
use snowpack_service::ports::{HealthStore, ListError, Page, PageRequest, RunStore, StoreError};

use super::{DynamoStore, health, items, keys, runs};

impl HealthStore for DynamoStore {
    async fn put_health(&self, report: &TableHealth) -> Result<(), StoreError> {
        health::put(self, report).await
    }

    async fn latest_health(&self, tables: &[TableId]) -> Result<HashMap<TableId, TableHealth>, StoreError> {
        health::latest(self, tables).await
    }

    async fn health_history(
        &self,
        table: &TableId,
        page: &PageRequest,
    ) -> Result<Page<TableHealth>, ListError> {
        health::history(self, table, page).await
    }

    async fn health_position(&self) -> Result<Option<TableId>, StoreError> {
        items::read_health_sync(self.get(keys::health_sync()).await?.as_ref())
    }

    async fn set_health_position(&self, table: &TableId) -> Result<(), StoreError> {
        self.put(items::health_sync(table)).await
    }
}

impl RunStore for DynamoStore {
    async fn put_run(&self, run: &Run) -> Result<(), StoreError> {
        runs::put(self, run).await
    }

    async fn run(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        runs::run(self, id).await
    }

    async fn runs(&self, page: &PageRequest) -> Result<Page<Run>, ListError> {
        runs::list(self, page).await
    }
}
