//! The ports of health reports and of runs, over the same file.

use std::collections::HashMap;

use snowpack_domain::{Run, RunId, TableHealth, TableId};
use snowpack_service::ports::{HealthStore, ListError, Page, PageRequest, RunStore, StoreError};
use snowpack_wire::stored::Cursor;

use super::{SqliteStore, health, runs};

/// Reads a cursor with one of [`Cursor`]'s readers; `None` on a first page.
fn position<T>(page: &PageRequest, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ListError> {
    let cursor = page.cursor.as_deref();
    cursor
        .map(|text| read(text).ok_or(ListError::BadCursor))
        .transpose()
}

impl HealthStore for SqliteStore {
    async fn put_health(&self, report: &TableHealth) -> Result<(), StoreError> {
        let report = report.clone();
        Ok(self
            .database
            .write(move |transaction| health::put(transaction, &report))
            .await?)
    }

    async fn latest_health(&self, tables: &[TableId]) -> Result<HashMap<TableId, TableHealth>, StoreError> {
        let tables = tables.to_vec();
        Ok(self
            .database
            .read(move |transaction| health::latest(transaction, &tables))
            .await?)
    }

    async fn health_history(
        &self,
        table: &TableId,
        page: &PageRequest,
    ) -> Result<Page<TableHealth>, ListError> {
        let before = position(page, Cursor::decode_health)?;
        let (table, limit) = (table.clone(), page.limit);
        let read = self
            .database
            .read(move |transaction| health::history(transaction, &table, before, limit));
        Ok(read.await.map_err(StoreError::from)?)
    }

    async fn health_position(&self) -> Result<Option<TableId>, StoreError> {
        Ok(self.database.read(health::position).await?)
    }

    async fn set_health_position(&self, table: &TableId) -> Result<(), StoreError> {
        let table = table.clone();
        Ok(self
            .database
            .write(move |transaction| health::set_position(transaction, &table))
            .await?)
    }
}

impl RunStore for SqliteStore {
    async fn put_run(&self, run: &Run) -> Result<(), StoreError> {
        let run = run.clone();
        Ok(self
            .database
            .write(move |transaction| runs::put(transaction, &run))
            .await?)
    }

    async fn run(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        let id = id.clone();
        Ok(self
            .database
            .read(move |transaction| runs::run(transaction, &id))
            .await?)
    }

    async fn runs(&self, page: &PageRequest) -> Result<Page<Run>, ListError> {
        let after = position(page, Cursor::decode_run)?;
        let limit = page.limit;
        let read = self
            .database
            .read(move |transaction| runs::list(transaction, after.as_ref(), limit));
        Ok(read.await.map_err(StoreError::from)?)
    }
}
