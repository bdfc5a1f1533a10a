//! Spark's settings for a run: Iceberg's extensions, and the deployment's catalog under one name.

use std::collections::BTreeMap;

use snowpack_catalog::{AwsEndpoint, CatalogConfig, CatalogKind};

/// The catalog's name in Spark.
pub const CATALOG: &str = "snowpack";

/// Where EMR's images keep Iceberg.
const EMR_ICEBERG_JAR: &str = "/usr/share/aws/iceberg/lib/iceberg-spark3-runtime.jar";

/// Properties of a catalog that Iceberg's Java library knows by the same name and that are no secrets.
const PASSED: [&str; 16] = [
    "audience",
    "client.region",
    "glue.id",
    "header.Polaris-Realm",
    DELEGATION.0,
    "namespace-separator",
    "oauth2-server-uri",
    "prefix",
    "resource",
    "rest.auth.type",
    "rest.signing-name",
    "rest.signing-region",
    "rest.sigv4-enabled",
    "s3.endpoint",
    "s3.path-style-access",
    "scope",
];
/// Asks a REST server for access to tables' files, as Snowpack itself does unless told not to; Java asks only if told.
const DELEGATION: (&str, &str) = ("header.X-Iceberg-Access-Delegation", "vended-credentials");

/// A catalog that a Spark cluster cannot reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Spark can be used with catalogs of the kinds glue and rest, not {0:?}: leave SNOWPACK_SPARK_APPLICATION_ID unset"
)]
pub struct UnfitCatalog(CatalogKind);

/// The settings of every run. Secrets are never among them: they would be readable in the run's description. `extra`
/// wins, and may name secrets as `EMR.secret@ARN`.
///
/// # Errors
/// [`UnfitCatalog`] for a SQL catalog and for S3 Tables, whose catalog class is not in EMR's images.
pub fn session_conf(
    catalog: &CatalogConfig,
    extra: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, UnfitCatalog> {
    let kind = catalog.kind.spark_type().ok_or(UnfitCatalog(catalog.kind))?;
    let general = [
        ("spark.jars", EMR_ICEBERG_JAR),
        (
            "spark.sql.extensions",
            "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        ),
        ("spark.sql.session.timeZone", "UTC"),
        // No statement of ours has variables, and what users give must not become one.
        ("spark.sql.variable.substitute", "false"),
        (
            "spark.sql.catalog.snowpack",
            "org.apache.iceberg.spark.SparkCatalog",
        ),
        ("spark.sql.catalog.snowpack.cache-enabled", "false"),
        (
            "spark.sql.catalog.snowpack.io-impl",
            "org.apache.iceberg.aws.s3.S3FileIO",
        ),
        ("spark.sql.catalog.snowpack.type", kind),
    ];
    let mut conf: BTreeMap<String, String> = general
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let own = catalog_properties(catalog).into_iter();
    conf.extend(own.map(|(name, value)| (format!("spark.sql.catalog.{CATALOG}.{name}"), value.to_owned())));
    conf.extend(extra.clone());
    Ok(conf)
}

/// What Spark has to know of the catalog; what our own client finds out by itself included.
fn catalog_properties(catalog: &CatalogConfig) -> BTreeMap<&str, &str> {
    let mut own = BTreeMap::new();
    own.extend(catalog.warehouse.as_deref().map(|value| ("warehouse", value)));
    let uri = catalog
        .uri
        .as_deref()
        .filter(|_| catalog.kind == CatalogKind::Rest);
    if let Some(uri) = uri {
        own.extend([("uri", uri), DELEGATION]);
        if let Some(endpoint) = host_of(uri).and_then(AwsEndpoint::of) {
            own.extend([
                ("rest.sigv4-enabled", "true"),
                ("rest.signing-name", endpoint.service),
                ("rest.signing-region", endpoint.region),
            ]);
        }
    }
    let known = |name: &str| {
        PASSED
            .into_iter()
            .find(|passed| passed.eq_ignore_ascii_case(name))
    };
    let given = catalog.properties.iter();
    own.extend(given.filter_map(|(name, value)| Some((known(name)?, value.as_str()))));
    own.retain(|_, value| !value.is_empty());
    own
}

fn host_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    rest.split(['/', ':']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deployments_catalog_is_known_by_one_name() {
        let mut glue = CatalogConfig::new(CatalogKind::Glue);
        glue.properties.insert("glue.id".into(), "123456789012".into());
        let conf = session_conf(&glue, &BTreeMap::new()).unwrap();
        assert_eq!(conf["spark.sql.catalog.snowpack.type"], "glue");
        assert_eq!(conf["spark.sql.catalog.snowpack.glue.id"], "123456789012");
        assert_eq!(conf["spark.sql.variable.substitute"], "false");
        assert!(!conf.contains_key("spark.sql.catalog.snowpack.uri"));
    }

    #[test]
    fn secrets_of_a_rest_catalog_stay_here_and_the_operator_wins() {
        let mut rest = CatalogConfig::new(CatalogKind::Rest);
        rest.uri = Some("https://catalog".into());
        rest.warehouse = Some("lake".into());
        rest.properties.insert("token".into(), "s3cret".into());
        let extra = BTreeMap::from([
            ("spark.jars".to_owned(), "s3://b/iceberg.jar".to_owned()),
            (
                "spark.sql.catalog.snowpack.token".to_owned(),
                "EMR.secret@arn".to_owned(),
            ),
        ]);
        let conf = session_conf(&rest, &extra).unwrap();
        assert_eq!(conf["spark.sql.catalog.snowpack.uri"], "https://catalog");
        assert_eq!(conf["spark.sql.catalog.snowpack.warehouse"], "lake");
        assert_eq!(conf["spark.jars"], "s3://b/iceberg.jar");
        assert_eq!(conf["spark.sql.catalog.snowpack.token"], "EMR.secret@arn");
        assert!(conf.values().all(|value| value != "s3cret"));
    }

    /// The settings of a REST catalog with these properties, without what all catalogs have.
    fn rest(uri: &str, properties: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut catalog = CatalogConfig::new(CatalogKind::Rest);
        catalog.uri = Some(uri.to_owned());
        let given = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        catalog.properties.extend(given);
        let conf = session_conf(&catalog, &BTreeMap::new()).unwrap().into_iter();
        conf.filter_map(|(name, value)| {
            Some((
                name.strip_prefix("spark.sql.catalog.snowpack.")?.to_owned(),
                value,
            ))
        })
        .collect()
    }

    #[test]
    fn what_is_no_secret_reaches_spark_under_javas_names() {
        let given = [
            ("oauth2-server-uri", "https://idp/token"),
            ("scope", "PRINCIPAL_ROLE:ALL"),
            ("header.polaris-realm", "POLARIS"),
            ("s3.endpoint", "https://minio"),
        ];
        let secret = [
            ("credential", "id:s3cret"),
            ("header.Authorization", "s3cret"),
            ("rest.secret-access-key", "s3cret"),
            ("s3.secret-access-key", "s3cret"),
        ];
        let conf = rest("https://polaris/api/catalog", &[given, secret].concat());
        assert_eq!(conf["oauth2-server-uri"], "https://idp/token");
        assert_eq!(conf["scope"], "PRINCIPAL_ROLE:ALL");
        assert_eq!(conf["header.Polaris-Realm"], "POLARIS");
        assert_eq!(conf["s3.endpoint"], "https://minio");
        assert!(conf.values().all(|value| !value.contains("s3cret")), "{conf:?}");
        assert!(!conf.contains_key("rest.sigv4-enabled"));
    }

    #[test]
    fn what_our_client_does_by_itself_is_said_to_spark() {
        let glue = rest("https://glue.eu-west-1.amazonaws.com/iceberg", &[]);
        assert_eq!(glue["rest.sigv4-enabled"], "true");
        assert_eq!(glue["rest.signing-name"], "glue");
        assert_eq!(glue["rest.signing-region"], "eu-west-1");
        assert_eq!(glue["header.X-Iceberg-Access-Delegation"], "vended-credentials");
        let own = [
            ("rest.signing-region", "us-east-1"),
            ("header.x-iceberg-access-delegation", ""),
        ];
        let told = rest("https://s3tables.eu-west-1.amazonaws.com/iceberg", &own);
        assert_eq!(told["rest.signing-name"], "s3tables");
        assert_eq!(told["rest.signing-region"], "us-east-1");
        assert!(!told.contains_key("header.X-Iceberg-Access-Delegation"));
    }

    #[test]
    fn a_catalog_that_a_cluster_cannot_reach_is_named() {
        for kind in [CatalogKind::Sql, CatalogKind::S3Tables] {
            let refused = session_conf(&CatalogConfig::new(kind), &BTreeMap::new()).unwrap_err();
            assert_eq!(refused, UnfitCatalog(kind));
            assert!(refused.to_string().contains(&format!("{kind:?}")), "{refused}");
        }
    }
}
