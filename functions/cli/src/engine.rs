//! The engine of local commands: native only. Tables that ask for Spark are refused in words.

use std::sync::Arc;

use snowpack_catalog::AnyCatalog;
use snowpack_engine::MaintenanceEngine;
use snowpack_service::SystemClock;
use snowpack_spark::{HandingOver, Nowhere};

use crate::catalog::deployment;

/// The engine of `snowpack run` and `snowpack serve`.
pub(crate) type LocalEngine =
    HandingOver<MaintenanceEngine<AnyCatalog, SystemClock>, AnyCatalog, SystemClock, Nowhere>;

/// An engine for the tables of this catalog.
pub(crate) fn engine_of(catalog: &Arc<AnyCatalog>) -> anyhow::Result<LocalEngine> {
    let deployment = deployment()?.settings;
    let native = MaintenanceEngine::new(Arc::clone(catalog), SystemClock, deployment.clone());
    Ok(HandingOver::new(
        native,
        Arc::clone(catalog),
        SystemClock,
        deployment,
        None,
    ))
}
