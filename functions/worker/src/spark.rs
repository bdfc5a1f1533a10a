//! The Spark that this deployment hands rewrites to, if it has one.

use snowpack_aws::{AwsClients, EmrServerless, SparkApplication};
use snowpack_catalog::CatalogConfig;
use snowpack_settings::SparkSettings;

/// The application of these settings; `None` when everything is done natively.
///
/// # Errors
/// When Spark cannot reach this kind of catalog.
pub fn spark_of(
    settings: Option<SparkSettings>,
    catalog: &CatalogConfig,
    clients: &AwsClients,
) -> anyhow::Result<Option<EmrServerless>> {
    let Some(settings) = settings else {
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
