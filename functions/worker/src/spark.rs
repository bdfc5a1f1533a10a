//! The Spark that this deployment hands rewrites to, if it has one.

use snowpack_aws::{AwsClients, EmrServerless, SparkApplication};
use snowpack_catalog::CatalogConfig;
use snowpack_settings::Environment;

/// Reads `SNOWPACK_SPARK_*`; `None` when everything is done natively.
///
/// # Errors
/// When a variable is bad or missing, or Spark cannot reach this kind of catalog.
pub fn spark_of(
    environment: &Environment,
    catalog: &CatalogConfig,
    clients: &AwsClients,
) -> anyhow::Result<Option<EmrServerless>> {
    let Some(settings) = snowpack_settings::spark(environment)? else {
        return Ok(None);
    };
    let application = SparkApplication {
        id: settings.application_id,
        execution_role_arn: settings.execution_role_arn,
        location: settings.location,
        conf: snowpack_spark::session_conf(catalog, &settings.conf)?,
    };
    let runs = EmrServerless::new(clients.emr_serverless(), clients.s3(), application);
    Ok(Some(runs))
}
