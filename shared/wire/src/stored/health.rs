//! The document of a health report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use snowpack_domain::{FileStats, TableHealth, TableId, Timestamp};

use super::document::Head;
use super::parts::{PreviewDocument, action};
use super::{HEALTH_FORMAT, StoredError};

/// A report; times are microseconds since the epoch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthDocument {
    format: u32,
    database: String,
    table: String,
    location: String,
    metadata_location: String,
    format_version: u8,
    snapshot_id: Option<i64>,
    files: FilesDocument,
    snapshot_count: u64,
    oldest_snapshot_at: Option<i64>,
    manifest_count: u64,
    total_records: u64,
    deleted_records: u64,
    outlook: BTreeMap<String, PreviewDocument>,
    #[serde(default)]
    settings_hash: Option<u64>,
    collected_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesDocument {
    data: u64,
    position_delete: u64,
    equality_delete: u64,
    vectors: u64,
    bytes: u64,
    small: u64,
}

/// The document of a report.
pub fn encode_health(health: &TableHealth) -> String {
    let document = HealthDocument::from(health);
    serde_json::to_string(&document).expect("maps with text keys, text and numbers are always JSON")
}

/// The report of a document.
///
/// # Errors
/// [`StoredError`] when the document is of another format or holds what no report can hold.
pub fn decode_health(text: &str) -> Result<TableHealth, StoredError> {
    let head: Head = serde_json::from_str(text)?;
    if head.format != HEALTH_FORMAT {
        return Err(StoredError::UnknownFormat(head.format));
    }
    serde_json::from_str::<HealthDocument>(text)?.into_health()
}

impl From<&TableHealth> for HealthDocument {
    fn from(health: &TableHealth) -> Self {
        let outlook = health.outlook.iter();
        Self {
            format: HEALTH_FORMAT,
            database: health.table.database.to_string(),
            table: health.table.table.to_string(),
            location: health.location.clone(),
            metadata_location: health.metadata_location.clone(),
            format_version: health.format_version,
            snapshot_id: health.snapshot_id,
            files: FilesDocument {
                data: health.files.data_files,
                position_delete: health.files.position_delete_files,
                equality_delete: health.files.equality_delete_files,
                vectors: health.files.deletion_vectors,
                bytes: health.files.total_size_bytes,
                small: health.files.small_files,
            },
            snapshot_count: health.snapshot_count,
            oldest_snapshot_at: health.oldest_snapshot_at.map(Timestamp::as_micros),
            manifest_count: health.manifest_count,
            total_records: health.total_records,
            deleted_records: health.deleted_records,
            outlook: outlook
                .map(|(action, preview)| (action.to_string(), preview.into()))
                .collect(),
            settings_hash: health.settings_hash,
            collected_at: health.collected_at.as_micros(),
        }
    }
}

impl HealthDocument {
    fn into_health(self) -> Result<TableHealth, StoredError> {
        let table = TableId::new(&self.database, &self.table)
            .map_err(|_| StoredError::bad("table", format!("{}.{}", self.database, self.table)))?;
        let outlook = self.outlook.into_iter();
        let outlook = outlook.map(|(name, preview)| Ok((action(&name)?, preview.into_preview()?)));
        Ok(TableHealth {
            table,
            location: self.location,
            metadata_location: self.metadata_location,
            format_version: self.format_version,
            snapshot_id: self.snapshot_id,
            files: FileStats {
                data_files: self.files.data,
                position_delete_files: self.files.position_delete,
                equality_delete_files: self.files.equality_delete,
                deletion_vectors: self.files.vectors,
                total_size_bytes: self.files.bytes,
                small_files: self.files.small,
            },
            snapshot_count: self.snapshot_count,
            oldest_snapshot_at: self.oldest_snapshot_at.map(Timestamp::from_micros),
            manifest_count: self.manifest_count,
            total_records: self.total_records,
            deleted_records: self.deleted_records,
            outlook: outlook.collect::<Result<_, StoredError>>()?,
            settings_hash: self.settings_hash,
            collected_at: Timestamp::from_micros(self.collected_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use snowpack_domain::{Action, Preview, PreviewSource};

    use super::*;

    fn health() -> TableHealth {
        let rewrite = Preview {
            source: PreviewSource::Live,
            numbers: BTreeMap::from([("files_in".to_owned(), Some(9)), ("files_out".to_owned(), None)]),
            note: None,
        };
        TableHealth {
            table: TableId::new("a.b", "t").unwrap(),
            location: "s3://bucket/t".to_owned(),
            metadata_location: "s3://bucket/t/metadata/1.json".to_owned(),
            format_version: 3,
            snapshot_id: Some(i64::MAX),
            files: FileStats {
                data_files: 1,
                position_delete_files: 2,
                equality_delete_files: 3,
                deletion_vectors: 4,
                total_size_bytes: u64::MAX,
                small_files: 6,
            },
            snapshot_count: 7,
            oldest_snapshot_at: Some(Timestamp::from_micros(8)),
            manifest_count: 9,
            total_records: 10,
            deleted_records: 11,
            outlook: BTreeMap::from([(Action::RewriteDataFiles, rewrite)]),
            settings_hash: Some(u64::MAX),
            collected_at: Timestamp::from_micros(12),
        }
    }

    const GOLDEN: &str = r#"{"format":1,"database":"a.b","table":"t","location":"s3://bucket/t","metadata_location":"s3://bucket/t/metadata/1.json","format_version":3,"snapshot_id":9223372036854775807,"files":{"data":1,"position_delete":2,"equality_delete":3,"vectors":4,"bytes":18446744073709551615,"small":6},"snapshot_count":7,"oldest_snapshot_at":8,"manifest_count":9,"total_records":10,"deleted_records":11,"outlook":{"rewrite_data_files":{"source":"live","numbers":{"files_in":9,"files_out":null},"note":null}},"settings_hash":18446744073709551615,"collected_at":12}"#;

    #[test]
    fn golden_document() {
        assert_eq!(encode_health(&health()), GOLDEN);
        assert_eq!(decode_health(GOLDEN).unwrap(), health());
    }

    #[test]
    fn a_report_of_unknown_settings_is_read() {
        let old = GOLDEN.replace(r#""settings_hash":18446744073709551615,"#, "");
        let expected = TableHealth {
            settings_hash: None,
            ..health()
        };
        assert_eq!(decode_health(&old).unwrap(), expected);
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let newer = GOLDEN.replace(r#""format":1"#, r#""format":2"#);
        assert!(matches!(
            decode_health(&newer),
            Err(StoredError::UnknownFormat(2))
        ));
        assert!(decode_health(&GOLDEN.replace("a.b", "a b")).is_err());
        assert!(decode_health(&GOLDEN.replace("rewrite_data_files", "rewrite")).is_err());
    }
}
