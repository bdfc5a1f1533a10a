//! AWS Signature Version 4 on requests to a REST catalog, as Glue's and S3 Tables' endpoints and API Gateway
//! want it.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tokio::sync::Mutex;

use super::failure::Failure;
use crate::aws;
use crate::config::{CatalogConfig, configuration};
use crate::port::CatalogError;

/// The service signed for unless given (Java's default): a server behind API Gateway.
const DEFAULT_SERVICE: &str = "execute-api";
/// Credentials are asked for again this long before they end, so that none ends under way.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// The services of AWS that are catalogs.
const CATALOG_SERVICES: [&str; 2] = ["glue", "s3tables"];
/// What their hosts' names end in: mostly, in China, and in Europe's sovereign cloud; IPv4 first, then both.
const DOMAINS: [&str; 6] = [
    "amazonaws.com",
    "api.aws",
    "amazonaws.com.cn",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "api.amazonwebservices.eu",
];
/// Where a bearer token goes when `Authorization` holds the signature (Java's `RESTSigV4AuthSession`).
const MOVED_TOKEN: HeaderName = HeaderName::from_static("original-authorization");

/// Signs requests with the credentials every AWS client would use.
pub(super) struct Signer {
    service: String,
    region: String,
    provider: SharedCredentialsProvider,
    current: Mutex<Option<Credentials>>,
}

impl Signer {
    /// The signer that the properties ask for, or the address needs; none otherwise.
    ///
    /// # Errors
    /// [`CatalogError::Configuration`] when no region or source of credentials is known.
    pub(super) async fn new(config: &CatalogConfig, host: &str) -> Result<Option<Self>, CatalogError> {
        let endpoint = AwsEndpoint::of(host);
        let wanted = match config.property("rest.sigv4-enabled") {
            Some(wanted) => wanted.eq_ignore_ascii_case("true"),
            None => config.property("rest.auth.type") == Some("sigv4") || endpoint.is_some(),
        };
        if !wanted {
            return Ok(None);
        }
        let given = config.property("rest.signing-region");
        let region = given.or(endpoint.as_ref().map(|endpoint| endpoint.region));
        let settings = aws::settings(config, "rest", region).await?;
        let region = settings.region().ok_or_else(|| {
            configuration("signed requests need a region: set rest.signing-region or AWS_REGION".to_owned())
        })?;
        let provider = settings.credentials_provider().ok_or_else(|| {
            configuration("signed requests need AWS credentials, and no source of any is set up".to_owned())
        })?;
        let named = config.property("rest.signing-name");
        let service = named.or(endpoint.as_ref().map(|endpoint| endpoint.service));
        Ok(Some(Self {
            service: service.unwrap_or(DEFAULT_SERVICE).to_owned(),
            region: region.to_string(),
            provider,
            current: Mutex::new(None),
        }))
    }

    /// Whether it signs for a catalog of AWS itself.
    pub(super) fn is_for_aws_catalog(&self) -> bool {
        CATALOG_SERVICES.contains(&self.service.as_str())
    }

    /// Adds the signature to a request that is otherwise complete.
    pub(super) async fn sign(&self, request: &mut Request) -> Result<(), Failure> {
        if let Some(token) = request.headers_mut().remove(AUTHORIZATION) {
            request.headers_mut().insert(MOVED_TOKEN, token);
        }
        let identity: Identity = self.credentials().await.map_err(Failure::Auth)?.into();
        let added = self.signature(request, &identity);
        let added = added.map_err(|reason| Failure::NotSent(format!("signing the request: {reason}")))?;
        request.headers_mut().extend(added);
        Ok(())
    }

    fn signature(
        &self,
        request: &Request,
        identity: &Identity,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = SigningParams::builder()
            .identity(identity)
            .region(&self.region)
            .name(&self.service)
            .time(SystemTime::now())
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

    async fn credentials(&self) -> Result<Credentials, CatalogError> {
        let mut current = self.current.lock().await;
        let ends_soon = |credentials: &Credentials| {
            credentials
                .expiry()
                .is_some_and(|end| end < SystemTime::now() + RENEW_BEFORE)
        };
        if let Some(credentials) = current.as_ref().filter(|one| !ends_soon(one)) {
            return Ok(credentials.clone());
        }
        let found = self.provider.provide_credentials().await.map_err(|error| {
            CatalogError::AccessDenied(format!("no AWS credentials to sign the request with: {error}"))
        })?;
        Ok(current.insert(found).clone())
    }

    /// Drops credentials that the server no longer takes; whether there were any.
    pub(super) async fn forget(&self) -> bool {
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

/// An endpoint of AWS that speaks the REST specification and takes signed requests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwsEndpoint<'a> {
    /// The service that requests are signed for.
    pub service: &'a str,
    /// Its region.
    pub region: &'a str,
}

impl<'a> AwsEndpoint<'a> {
    /// The endpoint of that host: `glue.REGION.DOMAIN` or `s3tables.REGION.DOMAIN`, with `-fips` or without; `None` for
    /// every other host.
    pub fn of(host: &'a str) -> Option<Self> {
        let (service, rest) = host.split_once('.')?;
        let service = service.strip_suffix("-fips").unwrap_or(service);
        let (region, domain) = rest.split_once('.')?;
        let known = CATALOG_SERVICES.contains(&service) && DOMAINS.contains(&domain);
        known.then_some(Self { service, region })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CatalogKind;

    #[test]
    fn endpoints_of_aws_are_known_by_their_hosts() {
        for host in ["glue.eu-west-1.amazonaws.com", "glue-fips.eu-west-1.api.aws"] {
            let glue = AwsEndpoint::of(host).unwrap();
            assert_eq!((glue.service, glue.region), ("glue", "eu-west-1"), "{host}");
        }
        for domain in ["amazonaws.com.cn", "api.amazonwebservices.com.cn"] {
            let host = format!("s3tables.cn-north-1.{domain}");
            let s3tables = AwsEndpoint::of(&host).unwrap();
            assert_eq!((s3tables.service, s3tables.region), ("s3tables", "cn-north-1"));
        }
        for host in ["localhost", "glue.example.com", "s3.eu-west-1.amazonaws.com"] {
            assert_eq!(AwsEndpoint::of(host), None, "{host}");
        }
    }

    async fn signer(host: &str, properties: &[(&str, &str)]) -> Option<Signer> {
        let mut config = CatalogConfig::new(CatalogKind::Rest);
        let keys = [("rest.access-key-id", "AKID"), ("rest.secret-access-key", "hush")];
        for (name, value) in keys.iter().chain(properties) {
            config.properties.insert((*name).to_owned(), (*value).to_owned());
        }
        Signer::new(&config, host).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_signed_for_follows_from_properties_or_host() {
        assert!(signer("h", &[]).await.is_none());
        let own = [("rest.sigv4-enabled", "true"), ("rest.signing-region", "r1")];
        let own = signer("h", &own).await.unwrap();
        assert_eq!((own.service.as_str(), own.region.as_str()), ("execute-api", "r1"));
        assert!(!own.is_for_aws_catalog());
        let host = "s3tables.eu-west-1.amazonaws.com";
        let aws = signer(host, &[]).await.unwrap();
        assert_eq!(
            (aws.service.as_str(), aws.region.as_str()),
            ("s3tables", "eu-west-1")
        );
        assert!(aws.is_for_aws_catalog());
        assert!(signer(host, &[("rest.sigv4-enabled", "false")]).await.is_none());
        let named = signer(host, &[("rest.signing-name", "x"), ("rest.signing-region", "r2")]).await;
        let named = named.unwrap();
        assert_eq!((named.service.as_str(), named.region.as_str()), ("x", "r2"));
        assert!(!format!("{named:?}").contains("hush"));
    }
}
