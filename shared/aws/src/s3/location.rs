//! Locations of objects: `s3://bucket/key`, as Iceberg writes them.

use iceberg::{Error, ErrorKind, Result};

/// `s3a` and `s3n` are Hadoop's names for the same store.
const SCHEMES: [&str; 3] = ["s3", "s3a", "s3n"];

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// As the caller spelled it, for messages.
    pub(super) path: String,
    pub(super) bucket: String,
    /// Taken as it is: Iceberg does not percent-encode locations.
    pub(super) key: String,
}

impl Location {
    /// # Errors
    /// When the path has another scheme, no bucket or no key.
    pub(super) fn parse(path: &str) -> Result<Self> {
        let parts = path
            .split_once("://")
            .filter(|(scheme, _)| SCHEMES.contains(scheme));
        let object = parts.and_then(|(_, rest)| rest.split_once('/'));
        match object {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(Self {
                path: path.to_owned(),
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            }),
            _ => Err(Error::new(
                ErrorKind::DataInvalid,
                format!("{path:?} is not the location of an object: expected s3://bucket/key"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_of_s3_is_read_and_keys_are_kept() {
        for scheme in SCHEMES {
            let location = Location::parse(&format!("{scheme}://b/a%20b/c d//e?f#g")).unwrap();
            assert_eq!(
                (location.bucket.as_str(), location.key.as_str()),
                ("b", "a%20b/c d//e?f#g")
            );
        }
    }

    #[test]
    fn what_is_no_object_is_refused_by_name() {
        for path in [
            "",
            "s3:",
            "s3://",
            "s3://b",
            "s3://b/",
            "s3:///k",
            "file:///a/b",
            "/a/b",
            "gs://b/k",
        ] {
            assert!(Location::parse(path).unwrap_err().to_string().contains(path));
        }
    }
}
