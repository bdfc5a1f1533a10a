//! Where new data files go (Java's `LocationProviders`, `PartitionSpec.partitionToPath` and `OutputFileFactory`).

use std::collections::HashMap;
use std::io::Cursor;

use iceberg::spec::{
    Datum, Literal, PartitionSpec, PrimitiveLiteral, Schema, Struct, StructType, TableMetadata, Transform,
    Type,
};
use snowpack_domain::OptionError;

use super::properties::refuse;

/// Years, months and hours of partitions count from it.
const EPOCH_YEAR: i64 = 1970;
/// Bits of the hash that spread files over an object store's partitions.
const HASH_BITS: u32 = 20;

/// Length of the directories the hash is cut into; the last one takes the rest.
const HASH_DIRECTORY_BITS: usize = 4;

/// How many directories have that length.
const HASH_DIRECTORIES: usize = 3;

/// Gives data files their locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocationProvider {
    root: String,
    layout: Layout,
}

/// How files are laid out under the root.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Layout {
    /// `root/partition/name`.
    Directories,
    /// `root/hash/...`: `write.object-storage.enabled`.
    ObjectStore {
        /// Database and table directory, when the root is outside the table's location.
        context: Option<String>,
        /// Whether the partition is part of the location.
        partitioned_paths: bool,
    },
}

impl LocationProvider {
    /// Reads a table's location and properties.
    ///
    /// # Errors
    /// `write.location-provider.impl` names a Java class: only an engine on the JVM can follow it.
    pub(crate) fn of(table: &TableMetadata) -> Result<Self, OptionError> {
        const IMPLEMENTATION: &str = "write.location-provider.impl";
        let properties = table.properties();
        if let Some(class) = properties.get(IMPLEMENTATION) {
            let reason = format!("locations given by the Java class {class} cannot be followed; use Spark");
            return Err(refuse(IMPLEMENTATION, reason));
        }
        Ok(Self::new(table.location(), properties))
    }

    fn new(location: &str, properties: &HashMap<String, String>) -> Self {
        let location = location.trim_end_matches('/');
        let flag = |key, default| {
            properties
                .get(key)
                .map_or(default, |value: &String| value.eq_ignore_ascii_case("true"))
        };
        let object_store = flag("write.object-storage.enabled", false);
        let legacy = object_store.then_some("write.object-storage.path");
        let root = ["write.data.path"]
            .into_iter()
            .chain(legacy)
            .chain(["write.folder-storage.path"])
            .find_map(|key| properties.get(key))
            .map_or_else(
                || format!("{location}/data"),
                |root| root.trim_end_matches('/').to_owned(),
            );
        let layout = match object_store {
            false => Layout::Directories,
            true => Layout::ObjectStore {
                context: (!root.starts_with(location)).then(|| last_two_directories(location)),
                partitioned_paths: flag("write.object-storage.partitioned-paths", true),
            },
        };
        Self { root, layout }
    }

    /// The location of a file of this name. `partition` is its partition's path, empty without partitioning.
    pub(crate) fn locate(&self, partition: &str, name: &str) -> String {
        let root = &self.root;
        let path = match partition {
            "" => name.to_owned(),
            partition => format!("{partition}/{name}"),
        };
        match &self.layout {
            Layout::Directories => format!("{root}/{path}"),
            Layout::ObjectStore {
                context,
                partitioned_paths,
            } => {
                let path = if *partitioned_paths { path.as_str() } else { name };
                let hash = hash_directories(path);
                match context {
                    Some(context) => format!("{root}/{hash}/{context}/{path}"),
                    None if *partitioned_paths => format!("{root}/{hash}/{path}"),
                    None => format!("{root}/{hash}-{path}"),
                }
            }
        }
    }
}

/// `database/table` of a table's location.
fn last_two_directories(location: &str) -> String {
    let path = location.split_once("://").map_or(location, |(_, rest)| rest);
    let mut last: Vec<&str> = path.rsplit('/').filter(|part| !part.is_empty()).take(2).collect();
    last.reverse();
    last.join("/")
}

/// The low bits of the path's murmur3 hash, cut into directories: `1001/1001/1001/10011001`.
fn hash_directories(path: &str) -> String {
    let hash = murmur3::murmur3_32(&mut Cursor::new(path), 0).expect("reading from memory does not fail");
    let bits = format!("{:020b}", hash & ((1 << HASH_BITS) - 1));
    let (directories, rest) = bits.split_at(HASH_DIRECTORY_BITS * HASH_DIRECTORIES);
    let mut parts: Vec<&str> = (0..HASH_DIRECTORIES)
        .map(|i| &directories[i * HASH_DIRECTORY_BITS..(i + 1) * HASH_DIRECTORY_BITS])
        .collect();
    parts.push(rest);
    parts.join("/")
}

/// A partition as directories, `name=value/...`, with names and values encoded as in a URL's form data. Empty
/// without partition fields.
///
/// # Errors
/// The spec does not fit the schema.
pub(crate) fn partition_path(
    spec: &PartitionSpec,
    schema: &Schema,
    partition: &Struct,
) -> Result<String, iceberg::Error> {
    let types: StructType = spec.partition_type(schema)?;
    let directories: Vec<String> = spec
        .fields()
        .iter()
        .zip(types.fields())
        .zip(partition.iter())
        .map(|((field, partition_field), value)| {
            let value = human_value(field.transform, &partition_field.field_type, value);
            format!("{}={}", form_encode(&field.name), form_encode(&value))
        })
        .collect();
    Ok(directories.join("/"))
}

/// A partition value for people (`TransformUtil`). `iceberg` 0.10 shows years, months and hours as numbers since
/// 1970.
fn human_value(transform: Transform, value_type: &Type, value: Option<&Literal>) -> String {
    let ordinal = match value.and_then(Literal::as_primitive_literal) {
        Some(PrimitiveLiteral::Int(ordinal)) => i64::from(ordinal),
        _ => return transform.to_human_string(value_type, value),
    };
    match transform {
        Transform::Year => format!("{:04}", EPOCH_YEAR + ordinal),
        Transform::Month => {
            let (years, month) = (ordinal.div_euclid(12), ordinal.rem_euclid(12) + 1);
            format!("{:04}-{month:02}", EPOCH_YEAR + years)
        }
        Transform::Hour => {
            let (days, hour) = (ordinal.div_euclid(24), ordinal.rem_euclid(24));
            let day = Datum::date(i32::try_from(days).unwrap_or(i32::MAX)).to_human_string();
            format!("{day}-{hour:02}")
        }
        _ => transform.to_human_string(value_type, value),
    }
}

/// Java's `URLEncoder`.
fn form_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                encoded.push(char::from(byte))
            }
            b' ' => encoded.push('+'),
            byte => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                encoded.push('%');
                encoded.push(char::from(HEX[usize::from(byte >> 4)]));
                encoded.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    encoded
}

/// Names files like Spark's tasks do: `00003-3-<uuid>-00001.parquet`, all of one group with the same middle.
#[derive(Debug)]
pub(crate) struct FileNames {
    group: usize,
    operation: uuid::Uuid,
    ending: &'static str,
    files: std::sync::atomic::AtomicU32,
}

impl FileNames {
    pub(crate) fn new(group: usize) -> Self {
        Self {
            group,
            operation: uuid::Uuid::new_v4(),
            ending: ".parquet",
            files: std::sync::atomic::AtomicU32::new(0),
        }
    }

    /// The same with another ending than `.parquet`.
    pub(crate) fn ending_in(self, ending: &'static str) -> Self {
        Self { ending, ..self }
    }

    /// A name that no other call returned.
    pub(crate) fn next(&self) -> String {
        let file = 1 + self.files.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!(
            "{:05}-{}-{}-{:05}{}",
            self.group, self.group, self.operation, file, self.ending
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(properties: &[(&str, &str)]) -> LocationProvider {
        let owned = properties
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        LocationProvider::new("s3://bucket/db/table/", &owned)
    }

    #[test]
    fn directories_by_default_and_under_the_given_path() {
        assert_eq!(
            provider(&[]).locate("", "f.parquet"),
            "s3://bucket/db/table/data/f.parquet"
        );
        assert_eq!(
            provider(&[]).locate("a=1", "f"),
            "s3://bucket/db/table/data/a=1/f"
        );
        let moved = provider(&[
            ("write.data.path", "s3://other/x/"),
            ("write.folder-storage.path", "s3://no"),
        ]);
        assert_eq!(moved.locate("a=1", "f"), "s3://other/x/a=1/f");
    }

    /// Expected values are those of Java's `TransformUtil`.
    #[test]
    fn times_are_shown_for_people() {
        let int = Type::Primitive(iceberg::spec::PrimitiveType::Int);
        let show = |transform, ordinal| human_value(transform, &int, Some(&Literal::int(ordinal)));
        assert_eq!(show(Transform::Year, 54), "2024");
        assert_eq!(show(Transform::Month, 308), "1995-09");
        assert_eq!(show(Transform::Month, -1), "1969-12");
        assert_eq!(show(Transform::Hour, 25), "1970-01-02-01");
        assert_eq!(show(Transform::Hour, -1), "1969-12-31-23");
        assert_eq!(show(Transform::Bucket(8), 7), "7");
        assert_eq!(human_value(Transform::Month, &int, None), "null");
    }

    /// Expected values are those of Java's `TestLocationProvider`.
    #[test]
    fn object_store_layout_spreads_files_by_hash() {
        let store = provider(&[("write.object-storage.enabled", "true")]);
        assert_eq!(
            store.locate("", "a"),
            "s3://bucket/db/table/data/0101/0110/1001/10110010/a"
        );
        let bare = provider(&[
            ("write.object-storage.enabled", "true"),
            ("write.object-storage.partitioned-paths", "false"),
        ]);
        assert_eq!(
            bare.locate("p=1", "test.parquet"),
            "s3://bucket/db/table/data/0110/1010/0011/11101000-test.parquet"
        );
        let outside = provider(&[
            ("write.object-storage.enabled", "true"),
            ("write.object-storage.path", "s3://o/p"),
        ]);
        assert!(outside.locate("p=1", "f").ends_with("/db/table/p=1/f"));
        assert!(outside.locate("p=1", "f").starts_with("s3://o/p/"));
    }

    #[test]
    fn partition_values_are_encoded_as_in_forms() {
        assert_eq!(form_encode("a b/c=ü*-_."), "a+b%2Fc%3D%C3%BC*-_.");
    }

    #[test]
    fn names_count_up() {
        let names = FileNames::new(3);
        assert!(names.next().starts_with("00003-3-"));
        assert!(names.next().ends_with("-00002.parquet"));
    }
}
