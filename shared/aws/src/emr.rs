//! Runs of Spark on EMR Serverless.
//!
//! Each run has a folder in S3 below the deployment's location: the script, the order it reads, and what it leaves.

use std::collections::BTreeMap;

use aws_sdk_emrserverless::Client;
use aws_sdk_emrserverless::types::{
    Configuration, ConfigurationOverrides, JobDriver, JobRunState, SparkSubmit,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use snowpack_service::ports::{RemoteError, RunOrder, RunStatus, SparkRuns, StoreError};

use crate::s3::{get_text, put_text};
use crate::service_error::store_error;

/// The longest a run may take. Half of the least age of an orphan: what a run whose job was cancelled and that could
/// not be stopped writes is never old enough to be taken for one while the run may still commit it.
const MAX_RUN_MINUTES: i64 = 12 * 60;
/// The classification of Spark's settings.
const SPARK_DEFAULTS: &str = "spark-defaults";

/// Where runs are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparkApplication {
    /// The application's id.
    pub id: String,
    /// The role that the runs take on.
    pub execution_role_arn: String,
    /// A folder of the deployment's own, `s3://bucket/prefix`.
    pub location: String,
    /// Spark's settings.
    pub conf: BTreeMap<String, String>,
}

/// Starts, follows and stops runs of one application.
#[derive(Clone, Debug)]
pub struct EmrServerless {
    client: Client,
    s3: aws_sdk_s3::Client,
    application: SparkApplication,
}

impl EmrServerless {
    /// Runs of this application.
    pub fn new(client: Client, s3: aws_sdk_s3::Client, application: SparkApplication) -> Self {
        Self {
            client,
            s3,
            application,
        }
    }

    fn object(&self, token: &str, name: &str) -> String {
        let folder = self.application.location.trim_end_matches('/');
        format!("{folder}/runs/{token}/{name}")
    }

    fn driver(&self, token: &str) -> JobDriver {
        let submit = SparkSubmit::builder()
            .entry_point(self.object(token, "run.py"))
            .entry_point_arguments(self.object(token, "order.json"))
            .entry_point_arguments(self.object(token, "output.json"))
            .build();
        JobDriver::SparkSubmit(submit.expect("it has an entry point"))
    }

    fn configuration(&self) -> ConfigurationOverrides {
        let conf = self.application.conf.clone();
        let defaults = Configuration::builder()
            .classification(SPARK_DEFAULTS)
            .set_properties(Some(conf.into_iter().collect()))
            .build()
            .expect("it has a classification");
        ConfigurationOverrides::builder()
            .application_configuration(defaults)
            .build()
    }
}

impl SparkRuns for EmrServerless {
    /// The service knows the token again, so a run is started once however often this is called.
    async fn start(&self, order: &RunOrder) -> Result<String, RemoteError> {
        let RunOrder {
            token,
            document,
            script,
        } = order;
        for (name, text) in [("run.py", *script), ("order.json", document.as_str())] {
            put_text(&self.s3, &self.object(token, name), text.to_owned())
                .await
                .map_err(|error| file_error(&error))?;
        }
        let started = self
            .client
            .start_job_run()
            .application_id(&self.application.id)
            .execution_role_arn(&self.application.execution_role_arn)
            .client_token(token)
            .name(format!("snowpack {token}"))
            .execution_timeout_minutes(MAX_RUN_MINUTES)
            .job_driver(self.driver(token))
            .configuration_overrides(self.configuration())
            .send()
            .await
            .map_err(|error| match remote_error("StartJobRun", &error) {
                // The application is on its way to another state.
                RemoteError::Refused(reason) if has_code(&error, "ConflictException") => {
                    RemoteError::Unavailable(reason)
                }
                error => error,
            })?;
        Ok(started.job_run_id)
    }

    async fn status(&self, run: &str) -> Result<RunStatus, RemoteError> {
        let answer = self
            .client
            .get_job_run()
            .application_id(&self.application.id)
            .job_run_id(run)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let run = answer.job_run;
                Ok(run.map_or(RunStatus::Unknown, |run| status(&run.state, &run.state_details)))
            }
            Err(error) if is_unknown(&error) => Ok(RunStatus::Unknown),
            Err(error) => Err(remote_error("GetJobRun", &error)),
        }
    }

    async fn output(&self, token: &str) -> Result<Option<String>, RemoteError> {
        get_text(&self.s3, &self.object(token, "output.json"))
            .await
            .map_err(|error| file_error(&error))
    }

    async fn cancel(&self, run: &str) -> Result<(), RemoteError> {
        let answer = self
            .client
            .cancel_job_run()
            .application_id(&self.application.id)
            .job_run_id(run)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) if is_unknown(&error) => Ok(()),
            // It may be refused because the run is over.
            Err(error) => match self.status(run).await? {
                RunStatus::Going => Err(remote_error("CancelJobRun", &error)),
                _ => Ok(()),
            },
        }
    }
}

/// A state that this version does not know is taken for one on the way: the run's time limit ends the wait.
fn status(state: &JobRunState, details: &str) -> RunStatus {
    match state {
        JobRunState::Success => RunStatus::Succeeded,
        JobRunState::Failed => RunStatus::Failed(details.to_owned()),
        JobRunState::Cancelled => RunStatus::Failed(format!("it was cancelled ({details})")),
        _ => RunStatus::Going,
    }
}

fn is_unknown<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    has_code(error, "ResourceNotFoundException")
}

fn has_code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>, code: &str) -> bool {
    let answer = error.as_service_error();
    answer.and_then(ProvideErrorMetadata::code) == Some(code)
}

fn remote_error<E>(operation: &str, error: &SdkError<E, HttpResponse>) -> RemoteError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match store_error(operation, error) {
        StoreError::Unavailable(reason) => RemoteError::Unavailable(reason),
        StoreError::Corrupt(reason) | StoreError::Refused(reason) => RemoteError::Refused(reason),
    }
}

fn file_error(error: &iceberg::Error) -> RemoteError {
    if error.retryable() {
        RemoteError::Unavailable(error.to_string())
    } else {
        RemoteError::Refused(error.to_string())
    }
}
