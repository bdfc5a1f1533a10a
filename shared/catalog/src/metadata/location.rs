//! Names of metadata files, as Java's `BaseMetastoreTableOperations` gives them.

use std::collections::HashMap;

use iceberg::spec::TableMetadata;
use uuid::Uuid;

/// How a metadata file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Plain,
    Gzip,
}

impl Codec {
    /// `write.metadata.compression-codec`; Java's default is none.
    pub(super) fn of(properties: &HashMap<String, String>) -> Result<Self, String> {
        match properties
            .get("write.metadata.compression-codec")
            .map(|name| name.to_ascii_lowercase())
        {
            None => Ok(Self::Plain),
            Some(name) if name == "none" || name == "uncompressed" => Ok(Self::Plain),
            Some(name) if name == "gzip" => Ok(Self::Gzip),
            Some(name) => Err(format!(
                "write.metadata.compression-codec={name}: use none or gzip"
            )),
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Plain => ".metadata.json",
            Self::Gzip => ".gz.metadata.json",
        }
    }
}

/// A fresh location for the metadata that follows the file at `previous`; `None` for a new table.
pub(super) fn next_location(metadata: &TableMetadata, previous: Option<&str>, codec: Codec) -> String {
    let version = previous.map_or(0, |previous| version_of(previous) + 1);
    let name = format!("{version:05}-{}{}", Uuid::new_v4(), codec.extension());
    match metadata.properties().get("write.metadata.path") {
        Some(folder) => format!("{}/{name}", folder.trim_end_matches('/')),
        None => format!("{}/metadata/{name}", metadata.location()),
    }
}

/// The number in front of a metadata file's first dash, else -1 (`parseVersion`), so that the next is 0.
fn version_of(location: &str) -> i64 {
    let name = location.rsplit('/').next().unwrap_or(location);
    let number = name
        .split_once('-')
        .and_then(|(number, _)| number.parse::<u32>().ok());
    number.map_or(-1, i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_java_reads_them() {
        assert_eq!(version_of("s3://b/t/metadata/00041-x.metadata.json"), 41);
        assert_eq!(version_of("v3.metadata.json"), -1);
        assert_eq!(version_of("/a/abc-def.metadata.json"), -1);
    }

    #[test]
    fn codecs_are_those_of_java() {
        let codec = |name: &str| {
            Codec::of(&HashMap::from([(
                "write.metadata.compression-codec".to_owned(),
                name.to_owned(),
            )]))
        };
        assert_eq!(Codec::of(&HashMap::new()), Ok(Codec::Plain));
        assert_eq!(
            (codec("GZIP"), codec("none")),
            (Ok(Codec::Gzip), Ok(Codec::Plain))
        );
        assert!(codec("zstd").unwrap_err().contains("zstd"));
    }
}
