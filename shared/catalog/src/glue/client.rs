//! The Glue client: credentials and region as everywhere on AWS, TLS by rustls with ring.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_glue::Client;
use aws_sdk_glue::config::timeout::TimeoutConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use crate::config::{CatalogConfig, configuration, parse_http};
use crate::port::CatalogError;

/// A service endpoint answers a connect within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Glue answers within a second or two; a table with thousands of columns takes longer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a client. Region, endpoint and credentials come from the catalog's properties, else from where
/// `aws-config` looks for them (`AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_GLUE`, profiles, roles).
pub(super) async fn connect(config: &CatalogConfig) -> Result<Client, CatalogError> {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts);
    if let Some(region) = property(config, "region") {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(id) = property(config, "access-key-id") {
        let secret = property(config, "secret-access-key").ok_or_else(|| {
            configuration("glue.access-key-id needs glue.secret-access-key beside it".to_owned())
        })?;
        let session = property(config, "session-token").map(str::to_owned);
        loader =
            loader.credentials_provider(Credentials::new(id, secret, session, None, "catalog properties"));
    }
    let shared = loader.load().await;
    let mut builder = aws_sdk_glue::config::Builder::from(&shared);
    let endpoint = config
        .property("glue.endpoint")
        .or(config.uri.as_deref().filter(|uri| !uri.is_empty()));
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(parse_http("the endpoint of Glue", endpoint)?.as_str());
    }
    Ok(Client::from_conf(builder.build()))
}

/// A property for Glue alone, else for all AWS clients (names of PyIceberg).
fn property<'a>(config: &'a CatalogConfig, name: &str) -> Option<&'a str> {
    config
        .property(&format!("glue.{name}"))
        .or_else(|| config.property(&format!("client.{name}")))
}
