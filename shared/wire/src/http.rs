//! Bodies of the HTTP API, exactly as the contract has them: what requests may hold, and what answers say.
//!
//! Request bodies are read strictly (unknown and repeated members are refused) and come out checked.
//! Response bodies are plain structs whose members are in the contract's order.

mod health;
mod job;
mod json;
mod operation;
mod options;
mod run;
mod submit;
mod table;

pub use health::{
    ActionAdviceBody, FileStatsBody, HealthBody, HealthTableBody, IssueBody, RecommendationBody,
};
pub use job::{JobBody, PreviewBody, ProgressBody, ResultBody};
pub use operation::{DrainBody, ErrorBody, PurgedBody, StatusBody, read_drain};
pub use run::{RunBody, read_run};
pub use submit::SubmitBody;
pub use table::{CacheStatusBody, TableBody, TableDetailBody};

/// A request body that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BodyError {
    /// The member that is wrong, as a path such as `options.expire_snapshots.retain_last`; absent when the
    /// body as a whole is.
    pub field: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl BodyError {
    fn of_body(message: impl Into<String>) -> Self {
        Self {
            field: None,
            message: message.into(),
        }
    }

    fn of(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            message: message.into(),
        }
    }
}
