//! Where a deployment keeps and queues its jobs.

use crate::environment::{Environment, Problem, Problems, SettingsError};

/// Where jobs are kept and queued on AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The DynamoDB table.
    pub table_name: String,
    /// The SQS queue.
    pub queue_url: String,
}

/// Reads `SNOWPACK_TABLE_NAME` and `SNOWPACK_QUEUE_URL`.
pub(crate) fn store(environment: &Environment) -> Result<StoreSettings, SettingsError> {
    let mut problems = Problems::default();
    let table_name = problems.note(environment.required("SNOWPACK_TABLE_NAME"));
    let queue_url = problems.note(queue_url(environment, "SNOWPACK_QUEUE_URL"));
    let settings = table_name
        .zip(queue_url)
        .map(|(table_name, queue_url)| StoreSettings {
            table_name: table_name.to_owned(),
            queue_url: queue_url.to_owned(),
        });
    problems.or(settings)
}

/// The address of a queue that must be given.
pub(crate) fn queue_url<'a>(
    environment: &'a Environment,
    variable: &'static str,
) -> Result<&'a str, Problem> {
    let url = environment.required(variable)?;
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(url);
    }
    Err(Problem {
        variable,
        reason: format!("is {url:?}: use the queue's https:// address, not its name or ARN"),
    })
}
