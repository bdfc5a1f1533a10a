//! What every AWS service that holds a catalog has in common: credentials, region, timeouts, TLS by rustls with
//! ring, and the meaning of errors.

mod failure;

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use crate::config::{CatalogConfig, configuration};
use crate::port::CatalogError;
pub(crate) use failure::{Failure, commit_error, is_expiry, is_throttle, read_error};

/// A service endpoint answers a connect within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A catalog answers within a second or two; a table with thousands of columns takes longer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Finds what a service is reached with. Region and credentials come from the catalog's properties, else from
/// where `aws-config` looks for them (`AWS_REGION`, profiles, roles). `region` wins over both.
///
/// # Errors
/// [`CatalogError::Configuration`] for a key without its secret.
pub(crate) async fn settings(
    config: &CatalogConfig,
    service: &str,
    region: Option<&str>,
) -> Result<SdkConfig, CatalogError> {
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
    let property = |name: &str| property(config, service, name);
    if let Some(region) = region.or_else(|| property("region")) {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(id) = property("access-key-id") {
        let secret = property("secret-access-key").ok_or_else(|| {
            configuration(format!(
                "{service}.access-key-id needs {service}.secret-access-key beside it"
            ))
        })?;
        let session = property("session-token").map(str::to_owned);
        loader =
            loader.credentials_provider(Credentials::new(id, secret, session, None, "catalog properties"));
    }
    Ok(loader.load().await)
}

/// A property for one service, else for all AWS clients (names of PyIceberg).
fn property<'a>(config: &'a CatalogConfig, service: &str, name: &str) -> Option<&'a str> {
    config
        .property(&format!("{service}.{name}"))
        .or_else(|| config.property(&format!("client.{name}")))
}
