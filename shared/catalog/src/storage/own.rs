//! Which places are a table's own: the only ones in which its files are ever deleted.

use iceberg::spec::TableMetadata;

use super::location::{Place, normalize_location, place};

/// Properties that send new files elsewhere.
const PATH_PROPERTIES: [&str; 4] = [
    "write.data.path",
    "write.metadata.path",
    "write.object-storage.path",
    "write.folder-storage.path",
];
/// Folders that a table keeps below its location, where that is all of a bucket.
const FOLDERS: [&str; 2] = ["data", "metadata"];

/// Every location that a table names for its files, as it spells them, its own first.
pub fn write_locations(metadata: &TableMetadata) -> impl Iterator<Item = &str> {
    let elsewhere = PATH_PROPERTIES
        .iter()
        .filter_map(|name| metadata.properties().get(*name))
        .map(String::as_str);
    std::iter::once(metadata.location()).chain(elsewhere)
}

/// Folders whose files are a table's, unless its metadata says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPlaces(Vec<String>);

impl OwnPlaces {
    /// The places of a table as one or more of its metadata files have it.
    ///
    /// Of a table that has a whole bucket these are its folders in there: nobody else's files in the bucket are its.
    pub fn of<'a>(states: impl IntoIterator<Item = &'a TableMetadata>) -> Self {
        let mut own = Self::default();
        for metadata in states {
            for location in write_locations(metadata) {
                let folder = normalize_location(location);
                let folder = folder.trim_end_matches('/');
                if !is_root(location) {
                    own.add(folder.to_owned());
                } else if location == metadata.location() {
                    for name in FOLDERS {
                        own.add(format!("{folder}/{name}"));
                    }
                }
            }
        }
        own
    }

    fn add(&mut self, folder: String) {
        if !self.0.contains(&folder) {
            self.0.push(folder);
        }
    }

    /// Whether a file lies in one of them, however it is spelled. In doubt it does not.
    pub fn contain(&self, file: &str) -> bool {
        let file = normalize_location(file);
        let is_plain = |path: &str| path.split('/').all(|name| name != ".." && name != ".");
        self.0.iter().any(|folder| {
            let below = file
                .strip_prefix(folder.as_str())
                .and_then(|rest| rest.strip_prefix('/'));
            below.is_some_and(|path| !path.is_empty() && is_plain(path))
        })
    }
}

/// Whether nothing is above a location: a bucket, or the root of the file system.
fn is_root(location: &str) -> bool {
    match place(location) {
        Place::Local(path) => path.trim_matches('/').is_empty(),
        Place::S3 => {
            let path = location.split_once("://").map_or("", |(_, path)| path);
            !path.trim_matches('/').contains('/')
        }
        Place::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadataBuilder, UnboundPartitionSpec};

    use super::*;

    fn table(location: &str, properties: &[(&str, &str)]) -> TableMetadata {
        let owned = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        TableMetadataBuilder::new(
            Schema::builder().build().unwrap(),
            UnboundPartitionSpec::builder().build(),
            SortOrder::unsorted_order(),
            location.to_owned(),
            FormatVersion::V2,
            HashMap::from_iter(owned),
        )
        .unwrap()
        .build()
        .unwrap()
        .metadata
    }

    fn own(location: &str, properties: &[(&str, &str)]) -> OwnPlaces {
        OwnPlaces::of([&table(location, properties)])
    }

    #[test]
    fn files_below_a_location_are_its_own_however_they_are_spelled() {
        for location in ["s3://b/w/t", "s3a://b/w/t/", "s3n://b/w/t"] {
            let own = own(location, &[]);
            for inside in ["s3://b/w/t/data/x", "s3a://b/w/t/x", "s3n://b/w/t/a//b"] {
                assert!(own.contain(inside), "{inside} in {location}");
            }
            for outside in [
                "s3://b/w/t",
                "s3://b/w/t/",
                "s3://b/w/t2/x",
                "s3://b/w/x",
                "s3://c/w/t/x",
                "s3://b/w/t/../u/x",
                "s3://b//w/t/x",
                "/w/t/x",
                "hdfs://b/w/t/x",
            ] {
                assert!(!own.contain(outside), "{outside} in {location}");
            }
        }
        for location in ["/w/t", "file:/w/t/", "file:///w/t", "file://localhost//w//t"] {
            let own = own(location, &[]);
            for inside in ["/w/t/x", "file:/w/t/a/x", "file:///w/t/x", "/w//t/x"] {
                assert!(own.contain(inside), "{inside} in {location}");
            }
            for outside in [
                "/w/t2/x",
                "/w/t/../u/x",
                "/w/t/./../u/x",
                "s3://w/t/x",
                "file:/w/t",
            ] {
                assert!(!own.contain(outside), "{outside} in {location}");
            }
        }
    }

    #[test]
    fn write_paths_of_any_state_count() {
        let before = table("s3://b/t", &[("write.data.path", "s3a://c/data/")]);
        let after = table("s3://b/moved", &[("write.metadata.path", "s3://d/meta")]);
        let own = OwnPlaces::of([&before, &after]);
        for inside in ["s3://b/t/x", "s3://c/data/x", "s3://b/moved/x", "s3://d/meta/x"] {
            assert!(own.contain(inside), "{inside}");
        }
        assert!(!own.contain("s3://c/x") && !own.contain("s3://d/metadata/x"));
    }

    #[test]
    fn of_a_whole_bucket_only_the_tables_folders_are_its_own() {
        for (location, bucket) in [
            ("s3://b", "s3://b"),
            ("s3a://b/", "s3://b"),
            ("/", ""),
            ("file:///", ""),
        ] {
            let own = own(location, &[("write.data.path", "s3://c")]);
            for inside in ["data/x", "metadata/x"] {
                assert!(
                    own.contain(&format!("{bucket}/{inside}")),
                    "{inside} in {location}"
                );
            }
            for outside in ["x", "hive/x"] {
                assert!(
                    !own.contain(&format!("{bucket}/{outside}")),
                    "{outside} in {location}"
                );
            }
            assert!(!own.contain("s3://c/x") && !own.contain("s3://c/data/x"));
        }
    }
}
