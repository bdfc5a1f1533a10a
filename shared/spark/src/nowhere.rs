//! The place where no Spark runs: local commands, and deployments without an application.

use snowpack_service::ports::{RemoteError, RunOrder, RunStatus, SparkRuns};

/// No Spark. There is no value of it.
#[derive(Clone, Copy, Debug)]
pub enum Nowhere {}

impl SparkRuns for Nowhere {
    async fn start(&self, _: &RunOrder) -> Result<String, RemoteError> {
        match *self {}
    }

    async fn status(&self, _: &str) -> Result<RunStatus, RemoteError> {
        match *self {}
    }

    async fn output(&self, _: &str) -> Result<Option<String>, RemoteError> {
        match *self {}
    }

    async fn cancel(&self, _: &str) -> Result<(), RemoteError> {
        match *self {}
    }
}
