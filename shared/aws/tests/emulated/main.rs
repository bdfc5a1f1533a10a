//! The AWS adapters against an emulated AWS, at the endpoint in `SNOWPACK_TEST_AWS_ENDPOINT`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod dynamo;
mod faulty_http;
mod s3;
mod sqs;
mod workers;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Clients' settings for the emulator, which takes any credentials.
async fn emulator() -> SdkConfig {
    let endpoint = std::env::var("SNOWPACK_TEST_AWS_ENDPOINT")
        .expect("SNOWPACK_TEST_AWS_ENDPOINT names the emulator: start it with tests/run contract");
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .load()
        .await
}

/// A name no other test of this or an earlier run uses.
fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}
