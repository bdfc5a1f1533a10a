//! The engine of local commands: native only. Tables that ask for Spark are refused in words.

use std::collections::HashMap;
use std::sync::Arc;

use snowpack_catalog::AnyCatalog;
use snowpack_domain::Deployment;
use snowpack_engine::MaintenanceEngine;
use snowpack_service::SystemClock;
use snowpack_spark::{HandingOver, Nowhere};

/// The engine of `snowpack run` and `snowpack serve`.
pub(crate) type LocalEngine =
    HandingOver<MaintenanceEngine<AnyCatalog, SystemClock>, AnyCatalog, SystemClock, Nowhere>;

/// These defaults of options, where there is no Spark.
pub(crate) fn without_spark(settings: HashMap<String, String>) -> Deployment {
    Deployment {
        settings,
        has_spark: false,
    }
}

/// An engine for the tables of this catalog, with these defaults of options.
pub(crate) fn engine_of(catalog: &Arc<AnyCatalog>, deployment: HashMap<String, String>) -> LocalEngine {
    let native = MaintenanceEngine::new(Arc::clone(catalog), SystemClock, deployment.clone());
    HandingOver::new(native, Arc::clone(catalog), SystemClock, deployment, None)
}
