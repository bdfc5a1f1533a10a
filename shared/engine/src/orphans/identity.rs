//! When two spellings of a location mean the same file (Java's `FileURI`, Hadoop's `Path`).
//!
//! In doubt two spellings are taken for the same file: that keeps a file, the opposite would delete one.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};
use snowpack_domain::OrphanRemoval;

/// The scheme of paths on this machine.
const FILE: &str = "file";

/// Scheme and authority of a location in lower case, the names that stand for others replaced. Either may be
/// empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Prefix {
    scheme: String,
    authority: String,
}

impl Prefix {
    /// Whether what this prefix references may be what `listed` lists: a part left out of a reference matches
    /// any (`FileURI.schemeMatch`, `authorityMatch`).
    pub(crate) fn matches(&self, listed: &Self) -> bool {
        let part = |own: &str, other: &str| own.is_empty() || own == other;
        part(&self.scheme, &listed.scheme) && part(&self.authority, &listed.authority)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// A location taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileUri {
    pub(crate) prefix: Prefix,
    /// Absolute, without doubled slashes, dot segments or a slash at its end.
    pub(crate) path: String,
}

impl FileUri {
    /// Whether nothing is above it: a bucket, or the root of a file system.
    pub(crate) fn is_root(&self) -> bool {
        self.path == "/"
    }

    /// Whether `other` is this location or below it.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        let below = || other.path.strip_prefix(self.path.trim_end_matches('/'));
        self.prefix == other.prefix && below().is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// A number for the path that no other path is likely to have.
    pub(crate) fn path_hash(&self) -> PathHash {
        let digest = Sha256::digest(self.path.as_bytes());
        let (head, _) = digest.split_at(size_of::<u128>());
        PathHash(u128::from_be_bytes(
            head.try_into().expect("SHA-256 has more bytes than a u128"),
        ))
    }
}

/// Half of a path's SHA-256, in place of the path. Were two paths ever to share it, a file would be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PathHash(u128);

/// Which schemes and authorities stand for which.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    schemes: BTreeMap<String, String>,
    authorities: BTreeMap<String, String>,
}

impl Names {
    pub(crate) fn of(settings: &OrphanRemoval) -> Self {
        Self {
            schemes: settings.equal_schemes.clone(),
            authorities: settings.equal_authorities.clone(),
        }
    }

    /// Reads a location as metadata spells it. Nothing is percent-decoded, as in Hadoop.
    pub(crate) fn reference(&self, location: &str) -> FileUri {
        let (scheme, rest) = split_scheme(location);
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) if !scheme.is_empty() => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            _ => ("", rest),
        };
        let scheme = canonical(&self.schemes, scheme);
        let authority = canonical(&self.authorities, authority);
        let is_here = scheme == FILE && authority == "localhost";
        FileUri {
            prefix: Prefix {
                scheme,
                authority: if is_here { String::new() } else { authority },
            },
            path: normalized(path),
        }
    }

    /// Reads the location of something that exists: a path without a scheme is one on this machine.
    pub(crate) fn place(&self, location: &str) -> FileUri {
        let mut uri = self.reference(location);
        if uri.prefix.scheme.is_empty() {
            uri.prefix.scheme = canonical(&self.schemes, FILE);
        }
        uri
    }
}

fn canonical(names: &BTreeMap<String, String>, name: &str) -> String {
    let name = name.to_lowercase();
    names.get(&name).cloned().unwrap_or(name)
}

/// `scheme:rest`; a colon after anything that cannot be in a scheme belongs to a path.
fn split_scheme(location: &str) -> (&str, &str) {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    match location.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        _ => ("", location),
    }
}

fn normalized(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn names() -> Names {
        let map = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
            owned.collect()
        };
        Names {
            schemes: map(&[("s3a", "s3"), ("s3n", "s3")]),
            authorities: map(&[("nn1", "cluster")]),
        }
    }

    #[test]
    fn every_spelling_of_a_file_is_one_place() {
        let names = names();
        for spellings in [
            &[
                "/w/a=b%2Fc/x",
                "file:/w/a=b%2Fc/x",
                "file:///w/a=b%2Fc/x",
                "FILE://localhost/w//a=b%2Fc/./y/../x",
            ][..],
            &["s3://b/w/x", "s3a://b/w/x", "S3N://B/w//x", "s3://b/w/x/"],
            &["hdfs://nn1/w/x", "hdfs://cluster/w/x"],
        ] {
            for spelling in spellings {
                assert_eq!(names.place(spelling), names.place(spellings[0]), "{spelling}");
            }
        }
        for (one, other) in [
            ("s3://b/w/x", "s3://b/w/X"),
            ("s3://b/w/x", "s3://c/w/x"),
            ("s3://b/w/x", "gs://b/w/x"),
            ("/w/x", "/w/x y"),
            ("/w/a:b", "/w/a"),
        ] {
            assert_ne!(names.place(one), names.place(other), "{one} {other}");
        }
    }

    #[test]
    fn what_a_reference_leaves_out_matches_anything() {
        let names = names();
        let matches = |reference: &str, listed: &str| {
            names
                .reference(reference)
                .prefix
                .matches(&names.place(listed).prefix)
        };
        assert!(matches("/w/x", "file:/w/x") && matches("/w/x", "s3://b/w/x"));
        assert!(matches("file:/w/x", "/w/x"));
        assert!(!matches("s3://b/w/x", "/w/x") && !matches("s3://b/w/x", "s3://c/w/x"));
    }

    #[test]
    fn a_place_contains_what_is_below_it_and_not_what_starts_alike() {
        let names = names();
        let contains = |place: &str, other: &str| names.place(place).contains(&names.place(other));
        assert!(contains("s3://b/t", "s3a://b/t/data/x") && contains("/t/", "file:/t"));
        assert!(contains("/", "/t") && contains("s3://b", "s3://b/t"));
        assert!(!contains("s3://b/t", "s3://b/t2") && !contains("s3://b/t/x", "s3://b/t"));
        assert!(!contains("s3://b/t", "s3://c/t/x"));
        for root in ["s3://b", "s3://b/", "/", "file:///", "s3://b/x/.."] {
            assert!(names.place(root).is_root(), "{root}");
        }
        assert!(!names.place("s3://b/x").is_root());
    }
}
