//! The Glue client.

use aws_sdk_glue::Client;

use crate::aws;
use crate::config::{CatalogConfig, parse_http};
use crate::port::CatalogError;

/// Makes a client. An endpoint comes from the catalog's properties, else from where `aws-config` looks for one
/// (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_GLUE`, profiles).
pub(super) async fn connect(config: &CatalogConfig) -> Result<Client, CatalogError> {
    let shared = aws::settings(config, "glue", None).await?;
    let mut builder = aws_sdk_glue::config::Builder::from(&shared);
    let endpoint = config
        .property("glue.endpoint")
        .or(config.uri.as_deref().filter(|uri| !uri.is_empty()));
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(parse_http("the endpoint of Glue", endpoint)?.as_str());
    }
    Ok(Client::from_conf(builder.build()))
}
