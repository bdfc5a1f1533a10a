//! Whether requests to a REST catalog are signed, and what for: as Glue's and S3 Tables' endpoints and API Gateway want
//! it.

use crate::aws::{self, SignError, Signer};
use crate::config::{CatalogConfig, configuration};
use crate::port::CatalogError;

/// The service signed for unless given (Java's default): a server behind API Gateway.
const DEFAULT_SERVICE: &str = "execute-api";
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

/// Whether requests are signed for a catalog of AWS itself.
pub(super) fn is_for_aws_catalog(signer: &Signer) -> bool {
    CATALOG_SERVICES.contains(&signer.service())
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
        assert!(!is_for_aws_catalog(&own));
        let host = "s3tables.eu-west-1.amazonaws.com";
        let aws = signer_for(host, &[]).await.unwrap();
        assert_eq!((aws.service(), aws.region()), ("s3tables", "eu-west-1"));
        assert!(
            signer_for(host, &[("rest.sigv4-enabled", "false")])
                .await
                .is_none()
        );
        assert!(is_for_aws_catalog(&aws));
        let named = signer_for(host, &[("rest.signing-name", "x"), ("rest.signing-region", "r2")]).await;
        let named = named.unwrap();
        assert_eq!((named.service(), named.region()), ("x", "r2"));
        assert!(!format!("{named:?}").contains("hush"));
    }
}
