//! Spark's settings for a run: Iceberg's extensions, and the deployment's catalog under one name.

use std::collections::BTreeMap;

use snowpack_catalog::{CatalogConfig, CatalogKind};

/// The catalog's name in Spark.
pub const CATALOG: &str = "snowpack";

/// Where EMR's images keep Iceberg.
const EMR_ICEBERG_JAR: &str = "/usr/share/aws/iceberg/lib/iceberg-spark3-runtime.jar";

/// A catalog that a Spark cluster cannot reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Spark can be used with the catalogs glue and rest, not with a SQL catalog")]
pub struct UnfitCatalog;

/// The settings of every run. Secrets are never among them: they would be readable in the run's description. `extra`
/// wins, and may name secrets as `EMR.secret@ARN`.
///
/// # Errors
/// [`UnfitCatalog`] for a SQL catalog.
pub fn session_conf(
    catalog: &CatalogConfig,
    extra: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, UnfitCatalog> {
    let kind = catalog.kind.spark_type().ok_or(UnfitCatalog)?;
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
    let glue_id = catalog.properties.get("glue.id");
    let own = [
        (
            "uri",
            catalog.uri.as_ref().filter(|_| catalog.kind == CatalogKind::Rest),
        ),
        ("warehouse", catalog.warehouse.as_ref()),
        ("glue.id", glue_id),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    conf.extend(own.map(|(name, value)| (format!("spark.sql.catalog.{CATALOG}.{name}"), value.clone())));
    conf.extend(extra.clone());
    Ok(conf)
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

    #[test]
    fn a_file_on_one_machine_is_no_catalog_for_a_cluster() {
        let sql = CatalogConfig::new(CatalogKind::Sql);
        assert_eq!(session_conf(&sql, &BTreeMap::new()), Err(UnfitCatalog));
    }
}
