//! AWS Signature Version 4 on HTTP requests.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tokio::sync::Mutex;

/// Credentials are asked for again this long before they end, so that none ends under way.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// Where a bearer token goes when `Authorization` holds the signature (Java's `RESTSigV4AuthSession`).
const MOVED_TOKEN: HeaderName = HeaderName::from_static("original-authorization");

/// Requests cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Nobody says for which region.
    #[error("signed requests need a region: set AWS_REGION")]
    NoRegion,
    /// Nobody is asked for credentials.
    #[error("signed requests need AWS credentials, and no source of any is set up")]
    NoSource,
    /// None could be had.
    #[error("no AWS credentials to sign the request with: {0}")]
    NoCredentials(String),
    /// The request is none that can be signed.
    #[error("signing the request: {0}")]
    Request(String),
}

/// Signs requests with the credentials every AWS client would use.
pub struct Signer {
    service: String,
    region: String,
    provider: SharedCredentialsProvider,
    current: Mutex<Option<Credentials>>,
}

impl Signer {
    /// A signer for a service, in the region and with the credentials of these settings.
    ///
    /// # Errors
    /// [`SignError`] when there is no region or no source of credentials.
    pub fn new(service: impl Into<String>, settings: &SdkConfig) -> Result<Self, SignError> {
        Ok(Self {
            service: service.into(),
            region: settings.region().ok_or(SignError::NoRegion)?.to_string(),
            provider: settings.credentials_provider().ok_or(SignError::NoSource)?,
            current: Mutex::new(None),
        })
    }

    /// The service that is signed for.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The region that is signed for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Adds the signature to a request that is otherwise complete.
    ///
    /// # Errors
    /// [`SignError`] when no credentials can be had, or the request cannot be signed.
    pub async fn sign(&self, request: &mut Request) -> Result<(), SignError> {
        let identity: Identity = self.credentials().await?.into();
        if let Some(token) = request.headers_mut().remove(AUTHORIZATION) {
            request.headers_mut().insert(MOVED_TOKEN, token);
        }
        let added = self.signature(request, &identity, SystemTime::now());
        let added = added.map_err(SignError::Request)?;
        request.headers_mut().extend(added);
        Ok(())
    }

    fn signature(
        &self,
        request: &Request,
        identity: &Identity,
        now: SystemTime,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = SigningParams::builder()
            .identity(identity)
            .region(&self.region)
            .name(&self.service)
            .time(now)
            .settings(settings)
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let headers = request.headers().iter();
        let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let body = request
            .body()
            .and_then(|body| body.as_bytes())
            .unwrap_or_default();
        let (method, url) = (request.method().as_str(), request.url().as_str());
        let signable = SignableRequest::new(method, url, headers, SignableBody::Bytes(body));
        let signed = signable.and_then(|signable| sign(signable, &params));
        let (instructions, _) = signed.map_err(|error| error.to_string())?.into_parts();
        let (headers, _) = instructions.into_parts();
        let added = headers.iter().map(|header| {
            let mut value = HeaderValue::from_str(header.value()).map_err(|error| error.to_string())?;
            value.set_sensitive(header.sensitive());
            Ok((HeaderName::from_static(header.name()), value))
        });
        added.collect()
    }

    async fn credentials(&self) -> Result<Credentials, SignError> {
        let mut current = self.current.lock().await;
        let ends_soon = |credentials: &Credentials| {
            credentials
                .expiry()
                .is_some_and(|end| end < SystemTime::now() + RENEW_BEFORE)
        };
        if let Some(credentials) = current.as_ref().filter(|one| !ends_soon(one)) {
            return Ok(credentials.clone());
        }
        let found = self.provider.provide_credentials().await;
        let found = found.map_err(|error| SignError::NoCredentials(error.to_string()))?;
        Ok(current.insert(found).clone())
    }

    /// Drops credentials that the server no longer takes; whether there were any.
    pub async fn forget(&self) -> bool {
        self.current.lock().await.take().is_some()
    }
}

/// Never shows credentials.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("service", &self.service)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};

    use super::*;

    /// The example of AWS's description of the algorithm, "Signature Calculations for the Authorization Header",
    /// `GET Object`: its keys, its time and its signature.
    #[tokio::test]
    async fn the_signature_is_that_of_the_description() {
        let keys = Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "test",
        );
        let settings = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(keys.clone()))
            .build();
        let signer = Signer::new("s3", &settings).unwrap();
        let mut request = Request::new(
            reqwest::Method::GET,
            "https://examplebucket.s3.amazonaws.com/test.txt".parse().unwrap(),
        );
        request
            .headers_mut()
            .insert("range", HeaderValue::from_static("bytes=0-9"));
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let added = signer.signature(&request, &keys.into(), then).unwrap();
        let (_, authorization) = added.iter().find(|(name, _)| name == AUTHORIZATION).unwrap();
        assert_eq!(
            authorization.to_str().unwrap(),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert!(!format!("{signer:?}").contains("wJalr"));
    }
}
