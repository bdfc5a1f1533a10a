//! Whether requests to a REST catalog are signed, and what for: as Glue's and S3 Tables' endpoints and API Gateway want
//! it.

use crate::aws::{self, SignError, Signer};
use crate::config::{CatalogConfig, configuration};
use crate::port::CatalogError;

/// The service signed for unless given (Java's default): a server behind API Gateway.
const DEFAULT_SERVICE: &str = "execute-api";

/// The signer that the properties ask for, or the address needs; none otherwise.
///
/// # Errors
/// [`CatalogError::Configuration`] when no region or source of credentials is known.
pub(super) async fn signer(config: &CatalogConfig, host: &str) -> Result<Option<Signer>, CatalogError> {
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
    let named = config.property("rest.signing-name");
    let service = named.or(endpoint.as_ref().map(|endpoint| endpoint.service));
    let signer = Signer::new(service.unwrap_or(DEFAULT_SERVICE), &settings);
    Ok(Some(signer.map_err(|error| match error {
        SignError::NoRegion => configuration(format!("{error} or rest.signing-region")),
        other => configuration(other.to_string()),
    })?))
}

/// An endpoint of AWS that speaks the REST specification and takes signed requests only.
#[derive(Debug, PartialEq, Eq)]
struct AwsEndpoint<'a> {
    service: &'a str,
    region: &'a str,
}

impl<'a> AwsEndpoint<'a> {
    /// Reads `glue.REGION.amazonaws.com` and `s3tables.REGION.amazonaws.com`, with `-fips`, in China and of
    /// both address families.
    fn of(host: &'a str) -> Option<Self> {
        let (service, rest) = host.split_once('.')?;
        let service = service.strip_suffix("-fips").unwrap_or(service);
        let (region, domain) = rest.split_once('.')?;
        let known = matches!(service, "glue" | "s3tables")
            && matches!(domain, "amazonaws.com" | "amazonaws.com.cn" | "api.aws");
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
        let s3tables = AwsEndpoint::of("s3tables.cn-north-1.amazonaws.com.cn").unwrap();
        assert_eq!((s3tables.service, s3tables.region), ("s3tables", "cn-north-1"));
        for host in ["localhost", "glue.example.com", "s3.eu-west-1.amazonaws.com"] {
            assert_eq!(AwsEndpoint::of(host), None, "{host}");
        }
    }

    async fn signer_for(host: &str, properties: &[(&str, &str)]) -> Option<Signer> {
        let mut config = CatalogConfig::new(CatalogKind::Rest);
        let keys = [("rest.access-key-id", "AKID"), ("rest.secret-access-key", "hush")];
        for (name, value) in keys.iter().chain(properties) {
            config.properties.insert((*name).to_owned(), (*value).to_owned());
        }
        signer(&config, host).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_signed_for_follows_from_properties_or_host() {
        assert!(signer_for("h", &[]).await.is_none());
        let own = [("rest.sigv4-enabled", "true"), ("rest.signing-region", "r1")];
        let own = signer_for("h", &own).await.unwrap();
        assert_eq!((own.service(), own.region()), ("execute-api", "r1"));
        let host = "s3tables.eu-west-1.amazonaws.com";
        let aws = signer_for(host, &[]).await.unwrap();
        assert_eq!((aws.service(), aws.region()), ("s3tables", "eu-west-1"));
        assert!(
            signer_for(host, &[("rest.sigv4-enabled", "false")])
                .await
                .is_none()
        );
        let named = signer_for(host, &[("rest.signing-name", "x"), ("rest.signing-region", "r2")]).await;
        let named = named.unwrap();
        assert_eq!((named.service(), named.region()), ("x", "r2"));
        assert!(!format!("{named:?}").contains("hush"));
    }
}
