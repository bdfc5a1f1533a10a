//! Settings of rewrite_manifests.

use super::resolve::Properties;
use super::{JobOptions, OptionError, OptionValue};
use crate::Action;

/// Size a manifest should have, and its default in Iceberg, 8 MiB (`TableProperties.MANIFEST_TARGET_SIZE_BYTES`).
const TARGET_PROPERTY: &str = "commit.manifest.target-size-bytes";
const DEFAULT_TARGET_BYTES: u64 = 8 * 1024 * 1024;
/// Below this a manifest is mostly header, and more manifests than files help nobody.
const MIN_TARGET_BYTES: u64 = 32 * 1024;

/// Every setting of rewrite_manifests. `use_caching` is Spark's own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestRewrite {
    /// Only manifests of this partition spec; absent: of every spec.
    pub spec_id: Option<i32>,
    /// Wanted size of a manifest, at least 32 KiB.
    pub target_bytes: u64,
}

impl ManifestRewrite {
    /// Fills in what the job did not give.
    ///
    /// # Errors
    /// [`OptionError`] when the property cannot be read or `spec_id` is no partition spec id.
    pub fn resolve(options: &JobOptions, properties: Properties<'_>) -> Result<Self, OptionError> {
        let spec_id = match options.get(Action::RewriteManifests, "spec_id") {
            Some(OptionValue::Int(id)) => Some(i32::try_from(*id).map_err(|_| OptionError {
                option: format!("{}.spec_id", Action::RewriteManifests),
                reason: format!("{id} is not the id of a partition spec"),
            })?),
            _ => None,
        };
        let target_bytes = properties
            .iceberg(TARGET_PROPERTY)?
            .unwrap_or(DEFAULT_TARGET_BYTES);
        Ok(Self {
            spec_id,
            target_bytes: target_bytes.max(MIN_TARGET_BYTES),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn resolve(spec_id: Option<i64>, target: Option<&str>) -> Result<ManifestRewrite, OptionError> {
        let mut options = JobOptions::default();
        if let Some(id) = spec_id {
            let id = OptionValue::Int(id);
            options.set(Action::RewriteManifests, "spec_id", id).unwrap();
        }
        let table = target.map(|bytes| (TARGET_PROPERTY.to_owned(), bytes.to_owned()));
        let properties = Properties {
            table: &table.into_iter().collect(),
            deployment: &HashMap::new(),
        };
        ManifestRewrite::resolve(&options, properties)
    }

    #[test]
    fn the_size_comes_from_the_table_and_is_never_tiny() {
        assert_eq!(resolve(None, None).unwrap().target_bytes, 8 << 20);
        assert_eq!(resolve(None, Some("1000000")).unwrap().target_bytes, 1_000_000);
        assert_eq!(resolve(None, Some("1")).unwrap().target_bytes, MIN_TARGET_BYTES);
        assert_eq!(resolve(None, Some("8MB")).unwrap_err().option, TARGET_PROPERTY);
    }

    #[test]
    fn a_spec_id_has_32_bits() {
        assert_eq!(resolve(Some(3), None).unwrap().spec_id, Some(3));
        let refused = resolve(Some(1 << 40), None).unwrap_err();
        assert_eq!(refused.option, "rewrite_manifests.spec_id");
    }
}
