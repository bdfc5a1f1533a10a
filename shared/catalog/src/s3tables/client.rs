//! The client of S3 Tables.

use aws_sdk_s3tables::Client;

use crate::aws;
use crate::config::{CatalogConfig, configuration, parse_http};
use crate::port::CatalogError;

/// Makes a client in the region of the table bucket, and tells the bucket's ARN. An endpoint comes from the
/// catalog's properties, else from where `aws-config` looks for one (`AWS_ENDPOINT_URL`,
/// `AWS_ENDPOINT_URL_S3TABLES`, profiles).
pub(super) async fn connect(config: &CatalogConfig) -> Result<(Client, String), CatalogError> {
    let bucket = config.warehouse.as_deref().unwrap_or_default();
    let region = region(bucket).ok_or_else(|| {
        configuration(format!(
            "the warehouse of an s3tables catalog is the ARN of a table bucket, \
             arn:aws:s3tables:REGION:ACCOUNT:bucket/NAME, and not {bucket:?}"
        ))
    })?;
    let shared = aws::settings(config, "s3tables", Some(region)).await?;
    let mut builder = aws_sdk_s3tables::config::Builder::from(&shared);
    let endpoint = config
        .property("s3tables.endpoint")
        .or(config.uri.as_deref().filter(|uri| !uri.is_empty()));
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(parse_http("the endpoint of S3 Tables", endpoint)?.as_str());
    }
    Ok((Client::from_conf(builder.build()), bucket.to_owned()))
}

/// The region in the ARN of a table bucket.
fn region(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let (head, _partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, _account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let name = resource.strip_prefix("bucket/")?;
    (head == "arn" && service == "s3tables" && !region.is_empty() && !name.is_empty()).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arn_of_a_table_bucket_says_its_region() {
        assert_eq!(
            region("arn:aws:s3tables:eu-west-1:1:bucket/lake"),
            Some("eu-west-1")
        );
        for wrong in [
            "",
            "s3://lake",
            "arn:aws:s3:::lake",
            "arn:aws:s3tables:r:1:bucket/",
            "arn:aws:s3tables:r:1",
        ] {
            assert_eq!(region(wrong), None, "{wrong}");
        }
    }
}
