//! Clients of the AWS services: one HTTP client, one source of credentials and region, bounded patience.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::service_config::ServiceConfigKey;
use snowpack_catalog::{AnyCatalog, CatalogConfig, CatalogError, SignError, Signer};

use crate::s3::S3StorageFactory;

/// A service endpoint answers a connect within milliseconds; this is a network that drops packets.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// DynamoDB and SQS answer in milliseconds; an answer this late will not come.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Retries included: well below the 29 s that API Gateway waits.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
/// S3 takes a part of 16 MiB in this time even from a slow link.
const S3_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts of one call, the first included; the SDK waits between them with jitter.
const ATTEMPTS: u32 = 4;
/// S3 asks to slow down under load that is ours, so more patience helps.
const S3_ATTEMPTS: u32 = 6;

/// Makes the clients of one process.
#[derive(Clone, Debug)]
pub struct AwsClients {
    config: SdkConfig,
}

impl AwsClients {
    /// Finds credentials, region and endpoints where every AWS tool does (`AWS_REGION`, `AWS_PROFILE`,
    /// `AWS_ENDPOINT_URL`, ...). Nothing is contacted for it but the sources of credentials and region.
    pub async fn load() -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(OPERATION_TIMEOUT)
                    .build(),
            )
            .load()
            .await;
        Self { config }
    }

    /// Opens the catalog that a function works on; its tables' files are reached with these credentials, unless it hands
    /// out others.
    ///
    /// # Errors
    /// As [`snowpack_catalog::open`].
    pub async fn catalog(&self, config: &CatalogConfig) -> Result<AnyCatalog, CatalogError> {
        let objects = Arc::new(S3StorageFactory::new(self.s3()));
        snowpack_catalog::open(config, Some(objects)).await
    }

    /// A signer of requests to a service in a region, with these credentials.
    ///
    /// # Errors
    /// [`SignError`] when there is no source of credentials.
    pub fn signer(&self, service: &str, region: &str) -> Result<Signer, SignError> {
        let there = self.config.to_builder();
        Signer::new(service, &there.region(Region::new(region.to_owned())).build())
    }

    /// A client of DynamoDB.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.config)
    }

    /// A client of SQS.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.config)
    }

    /// A client of EMR Serverless.
    pub fn emr_serverless(&self) -> aws_sdk_emrserverless::Client {
        aws_sdk_emrserverless::Client::new(&self.config)
    }

    /// A client of S3. A configured endpoint is addressed path-style, because stores other than AWS's rarely
    /// have a host name per bucket.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(S3_ATTEMPT_TIMEOUT)
            .build();
        let config = aws_sdk_s3::config::Builder::from(&self.config)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(S3_ATTEMPTS))
            .force_path_style(self.has_s3_endpoint())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    fn has_s3_endpoint(&self) -> bool {
        let key = ServiceConfigKey::builder()
            .service_id("S3")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .expect("every part of the key is set");
        let own = self
            .config
            .service_config()
            .and_then(|settings| settings.load_config(key));
        own.is_some() || self.config.endpoint_url().is_some()
    }
}
