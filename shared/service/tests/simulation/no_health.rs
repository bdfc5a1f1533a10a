//! Health is no matter of the protocol: nothing is kept here.

use std::collections::HashMap;

use snowpack_domain::{TableHealth, TableId};
use snowpack_service::ports::{HealthStore, ListError, Page, PageRequest, StoreError};

use crate::faulty_store::FaultyStore;

impl HealthStore for FaultyStore {
    async fn put_health(&self, _: &TableHealth) -> Result<(), StoreError> {
        Ok(())
    }

    async fn latest_health(&self, _: &[TableId]) -> Result<HashMap<TableId, TableHealth>, StoreError> {
        Ok(HashMap::new())
    }

    async fn health_history(&self, _: &TableId, _: &PageRequest) -> Result<Page<TableHealth>, ListError> {
        Ok(Page {
            items: Vec::new(),
            next: None,
        })
    }

    async fn health_position(&self) -> Result<Option<TableId>, StoreError> {
        Ok(None)
    }

    async fn set_health_position(&self, _: &TableId) -> Result<(), StoreError> {
        Ok(())
    }
}
