//! Reading a metadata file into a [`LoadedTable`], with an error naming table, file and reason for whatever
//! may be wrong with it.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use flate2::read::GzDecoder;
use iceberg::ErrorKind;
use iceberg::io::FileIO;
use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};
use serde::Deserialize;
use serde_json::Value;
use snowpack_domain::TableId;

use super::unsupported;
use crate::port::{CatalogError, LoadedTable};
use crate::storage;

/// Largest metadata document read, uncompressed. Real ones reach tens of megabytes; a gzip bomb does not fit.
const MAX_METADATA_BYTES: u64 = 1 << 30;
/// First bytes of gzip, which is recognised by content: Java has named such files in two ways.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Longest reason passed on; `iceberg` prints whole schemas into some of its errors.
const MAX_REASON_CHARS: usize = 500;
/// Highest format version known.
const MAX_FORMAT_VERSION: u64 = 3;
/// Members the specification requires of every version; parsing alone would not say which is missing.
const REQUIRED: [&str; 4] = ["format-version", "location", "last-updated-ms", "last-column-id"];
/// Members it requires from version 2 on.
const REQUIRED_V2: [&str; 9] = [
    "table-uuid",
    "last-sequence-number",
    "schemas",
    "current-schema-id",
    "partition-specs",
    "default-spec-id",
    "last-partition-id",
    "sort-orders",
    "default-sort-order-id",
];

/// A parsed metadata document.
pub(crate) struct Document {
    pub(crate) metadata: TableMetadata,
    /// All branches and tags.
    pub(crate) refs: BTreeMap<String, SnapshotReference>,
}

/// Reads the metadata file of `table` at `location`.
pub(crate) async fn load(table: &TableId, location: &str, io: &FileIO) -> Result<LoadedTable, CatalogError> {
    let input = io
        .new_input(location)
        .map_err(|error| read_error(table, location, &error))?;
    let bytes = input
        .read()
        .await
        .map_err(|error| read_error(table, location, &error))?;
    let unusable = |reason: Unusable| reason.into_error(table, location);
    let text = decompress(bytes).map_err(|error| unusable(Unusable::Bad(format!("bad gzip: {error}"))))?;
    let raw = serde_json::from_slice(&text);
    let raw = raw.map_err(|error| unusable(Unusable::Bad(format!("not JSON: {error}"))))?;
    let document = parse(table, location, &raw)?;
    Ok(LoadedTable::from_document(table.clone(), location.to_owned(), document, io.clone()).with_raw(text))
}

/// Parses a metadata document.
///
/// `iceberg` asserts some of what it takes for granted; a broken file must fail one job, not the process.
pub(crate) fn parse(table: &TableId, location: &str, raw: &Value) -> Result<Document, CatalogError> {
    catch_unwind(AssertUnwindSafe(|| parse_value(raw)))
        .unwrap_or_else(|panic| {
            Err(Unusable::Bad(format!(
                "it contradicts itself: {}",
                panic_text(&*panic)
            )))
        })
        .map_err(|reason| reason.into_error(table, location))
}

fn read_error(table: &TableId, location: &str, error: &iceberg::Error) -> CatalogError {
    if storage::is_not_found(error) {
        return Unusable::Bad("the file does not exist".to_owned()).into_error(table, location);
    }
    let what = format!("reading the metadata of {table} at {location}: {error}");
    match error.kind() {
        ErrorKind::FeatureUnsupported => CatalogError::Configuration(what),
        _ if storage::is_denied(error) => CatalogError::AccessDenied(what),
        _ => CatalogError::Unavailable(what),
    }
}

/// Why a document cannot be used.
enum Unusable {
    Bad(String),
    Unsupported(String),
}

impl Unusable {
    fn into_error(self, table: &TableId, location: &str) -> CatalogError {
        match self {
            Self::Bad(reason) => CatalogError::BadMetadata {
                table: table.to_string(),
                location: location.to_owned(),
                reason: reason.chars().take(MAX_REASON_CHARS).collect(),
            },
            Self::Unsupported(reason) => {
                CatalogError::Unsupported(format!("table {table}, metadata {location}: {reason}"))
            }
        }
    }
}

fn decompress(bytes: Bytes) -> std::io::Result<Bytes> {
    if !bytes.starts_with(&GZIP_MAGIC) {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    let read = GzDecoder::new(&bytes[..])
        .take(MAX_METADATA_BYTES + 1)
        .read_to_end(&mut text)?;
    if read as u64 > MAX_METADATA_BYTES {
        return Err(std::io::Error::other(format!(
            "more than {MAX_METADATA_BYTES} bytes"
        )));
    }
    Ok(text.into())
}

fn parse_value(raw: &Value) -> Result<Document, Unusable> {
    check_members(raw)?;
    let metadata = TableMetadata::deserialize(raw).map_err(|error| describe(raw, &error.to_string()))?;
    if let Some(column) = unsupported::lost_default(raw, &metadata) {
        let reason = format!("the default value of column {column} cannot be read, which is not supported");
        return Err(Unusable::Unsupported(reason));
    }
    let refs = read_refs(raw, &metadata)?;
    Ok(Document { metadata, refs })
}

fn check_members(raw: &Value) -> Result<(), Unusable> {
    let bad = |reason: String| Err(Unusable::Bad(reason));
    if !raw.is_object() {
        return bad("not a JSON object".to_owned());
    }
    let version = match raw
        .get("format-version")
        .map(|version| (version, version.as_u64()))
    {
        Some((_, Some(version))) => version,
        Some((other, None)) => return bad(format!("format-version is {other}")),
        None => return bad("format-version is missing".to_owned()),
    };
    if version > MAX_FORMAT_VERSION {
        return Err(Unusable::Unsupported(format!(
            "format version {version} is not supported"
        )));
    }
    let later = if version >= 2 { &REQUIRED_V2[..] } else { &[] };
    match REQUIRED
        .iter()
        .chain(later)
        .find(|name| raw.get(**name).is_none())
    {
        Some(name) => bad(format!("{name} is missing")),
        None => Ok(()),
    }
}

/// Tells what this version of `iceberg` cannot read from what is broken: types of version 3 (variant, geometry,
/// geography, unknown), and the void fields that version 1 keeps for a dropped partition field, once their
/// column is dropped too.
fn describe(raw: &Value, error: &str) -> Unusable {
    if let Some(column) = dropped_partition_source(raw) {
        return Unusable::Unsupported(format!(
            "the default partition spec keeps a void field of the dropped column {column}, which is not supported"
        ));
    }
    if let Some((column, kind)) = unsupported::column(&raw["schemas"], "") {
        return Unusable::Unsupported(format!(
            "column {column} is of type {kind}, which is not supported"
        ));
    }
    if raw.get("format-version") == Some(&Value::from(MAX_FORMAT_VERSION)) {
        return Unusable::Unsupported(format!(
            "something in this version 3 table is not supported: {error}"
        ));
    }
    Unusable::Bad(error.to_owned())
}

/// The source of a field of the default partition spec that the current schema has no column for.
fn dropped_partition_source(raw: &Value) -> Option<&Value> {
    let by_id = |list: &str, member: &str, id: &str| {
        let id = raw.get(id)?;
        raw.get(list)?
            .as_array()?
            .iter()
            .find(|element| element.get(member) == Some(id))
    };
    let schema = by_id("schemas", "schema-id", "current-schema-id")?;
    let spec = by_id("partition-specs", "spec-id", "default-spec-id")?;
    let fields = spec.get("fields")?.as_array()?;
    let void = fields
        .iter()
        .filter(|field| field.get("transform").is_some_and(|name| name == "void"));
    void.filter_map(|field| field.get("source-id"))
        .find(|source| !has_field(schema, source))
}

/// Whether a schema has a field of this id at any depth.
fn has_field(schema: &Value, id: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            let named = members.contains_key("name") && members.get("id") == Some(id);
            named || members.values().any(|member| has_field(member, id))
        }
        Value::Array(elements) => elements.iter().any(|element| has_field(element, id)),
        _ => false,
    }
}

/// A table's metadata as JSON, and the branches and tags found there: `TableMetadata` lists them nowhere else.
pub(crate) fn written_form(metadata: &TableMetadata) -> (Value, BTreeMap<String, SnapshotReference>) {
    let raw = serde_json::to_value(metadata).unwrap_or_default();
    let refs = read_refs(&raw, metadata).unwrap_or_default();
    (raw, refs)
}

/// All branches and tags. `TableMetadata` keeps them to itself, and drops those of v1 tables.
fn read_refs(raw: &Value, metadata: &TableMetadata) -> Result<BTreeMap<String, SnapshotReference>, Unusable> {
    let bad = |reason: String| Unusable::Bad(format!("refs: {reason}"));
    let mut refs: BTreeMap<String, SnapshotReference> = match raw.get("refs") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(refs) => {
            Deserialize::deserialize(refs).map_err(|error: serde_json::Error| bad(error.to_string()))?
        }
    };
    for (name, reference) in &refs {
        if metadata.snapshot_by_id(reference.snapshot_id).is_none() {
            return Err(bad(format!(
                "{name} is at the unknown snapshot {}",
                reference.snapshot_id
            )));
        }
    }
    let main = refs.get(MAIN_BRANCH).map(|main| main.snapshot_id);
    match metadata.current_snapshot_id() {
        Some(current) if main.is_none() => drop(refs.insert(MAIN_BRANCH.to_owned(), plain_branch(current))),
        current if current != main => return Err(bad("main is not at the current snapshot".to_owned())),
        _ => {}
    }
    Ok(refs)
}

fn plain_branch(snapshot_id: i64) -> SnapshotReference {
    let retention = SnapshotRetention::Branch {
        min_snapshots_to_keep: None,
        max_snapshot_age_ms: None,
        max_ref_age_ms: None,
    };
    SnapshotReference::new(snapshot_id, retention)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a check failed")
}
