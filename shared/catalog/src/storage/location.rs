//! Spellings of file locations. Java writes `file:/x` and `file:///x` for the same file within one table.

use std::borrow::Cow;

/// Where a location leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// A path on this machine.
    Local(&'a str),
    /// An object in S3.
    S3,
    /// A scheme nobody serves.
    Unknown(&'a str),
}

/// Decides where `location` leads. Nothing is percent-decoded: Hadoop's `Path.toString` writes names as they
/// are on disk, and a partition folder may well be called `a=b%2Fc`.
pub(super) fn place(location: &str) -> Place<'_> {
    if let Some(path) = local_path(location) {
        return Place::Local(path);
    }
    match scheme(location) {
        Some("s3" | "s3a" | "s3n") => Place::S3,
        Some(scheme) => Place::Unknown(scheme),
        None => Place::Local(location),
    }
}

/// One spelling per file, for comparing: plain paths for local files, `s3://` for S3's three schemes.
///
/// Position-delete files may spell a data file otherwise than its manifest does. Doubled slashes in local
/// paths are one slash to the file system, in S3 keys they are part of the name. The result is for comparing
/// only; open files under the spelling the table uses.
pub fn normalize_location(location: &str) -> Cow<'_, str> {
    match place(location) {
        Place::Local(path) if path.contains("//") => Cow::Owned(squeeze_slashes(path)),
        Place::Local(path) => Cow::Borrowed(path),
        Place::S3 => match location.split_once("://") {
            Some((scheme, rest)) if scheme != "s3" => Cow::Owned(format!("s3://{rest}")),
            _ => Cow::Borrowed(location),
        },
        Place::Unknown(_) => Cow::Borrowed(location),
    }
}

/// What the names of the buckets end in that S3 Tables keeps tables in; no other bucket may be named so.
const TABLE_BUCKET_SUFFIX: &str = "--table-s3";

/// Whether S3 Tables keeps the file. It removes unreferenced ones by itself, and lets nobody else list or delete.
pub fn is_in_table_bucket(location: &str) -> bool {
    let bucket = location
        .split_once("://")
        .and_then(|(_, path)| path.split('/').next());
    place(location) == Place::S3 && bucket.is_some_and(|bucket| bucket.ends_with(TABLE_BUCKET_SUFFIX))
}

/// The path of a `file:` URI or of a bare absolute path.
fn local_path(location: &str) -> Option<&str> {
    let Some(rest) = location.strip_prefix("file:") else {
        return location.starts_with('/').then_some(location);
    };
    match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => Some(path),
        Some(authority) => authority
            .strip_prefix("localhost")
            .filter(|path| path.starts_with('/')),
        None => Some(rest),
    }
}

/// The scheme of `scheme:rest`; a colon after the first slash belongs to a path.
fn scheme(location: &str) -> Option<&str> {
    let (scheme, _) = location.split_once(':')?;
    (!scheme.is_empty() && !scheme.contains('/')).then_some(scheme)
}

fn squeeze_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_local_file_leads_to_its_path() {
        for spelling in [
            "/w/a=b%2Fc/x",
            "file:/w/a=b%2Fc/x",
            "file:///w/a=b%2Fc/x",
            "file://localhost/w/a=b%2Fc/x",
        ] {
            assert_eq!(place(spelling), Place::Local("/w/a=b%2Fc/x"), "{spelling}");
            assert_eq!(normalize_location(spelling), "/w/a=b%2Fc/x", "{spelling}");
        }
        assert_eq!(normalize_location("file:////w//a/x"), "/w/a/x");
        assert_eq!(place("rel/a:b"), Place::Local("rel/a:b"));
    }

    #[test]
    fn s3_has_one_scheme_and_keeps_its_slashes() {
        for spelling in ["s3://b//k", "s3a://b//k", "s3n://b//k"] {
            assert_eq!(place(spelling), Place::S3);
            assert_eq!(normalize_location(spelling), "s3://b//k");
        }
    }

    #[test]
    fn table_buckets_are_known_by_name() {
        assert!(
            is_in_table_bucket("s3://63a8e430--table-s3")
                && is_in_table_bucket("s3a://63a8--table-s3/data/x")
        );
        for other in [
            "s3://lake/x--table-s3",
            "/lake--table-s3/x",
            "s3://lake--table-s3-x/y",
        ] {
            assert!(!is_in_table_bucket(other), "{other}");
        }
    }

    #[test]
    fn other_schemes_and_remote_file_hosts_are_unknown() {
        assert_eq!(place("gs://b/k"), Place::Unknown("gs"));
        assert_eq!(place("file://host/x"), Place::Unknown("file"));
    }
}
