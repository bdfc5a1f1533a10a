//! Health reports and recommendations as the API shows them (api.md, Tables and health).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Number;
use snowpack_domain::{
    Action, Advice, Evidence, FileStats, Issue, PreviewSource, Recommendation, TableHealth,
};

use super::job::number;
use crate::time::format_time;

/// A table's health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthBody {
    /// The table.
    pub table: HealthTableBody,
    /// Its live files.
    pub file_stats: FileStatsBody,
    /// Snapshots in the metadata.
    pub snapshot_count: u64,
    /// When the oldest of them was made.
    pub oldest_snapshot_at: Option<String>,
    /// Manifests of the current snapshot.
    pub manifest_count: u64,
    /// Rows of the data files, deleted ones included.
    pub total_records: u64,
    /// Rows that position deletes and deletion vectors are known to delete.
    pub deleted_records: u64,
    /// What is not as it should be.
    pub issues: Vec<IssueBody>,
    /// Actions that are due, in order of execution.
    pub recommended_actions: Vec<String>,
    /// Whether any is.
    pub needs_maintenance: bool,
    /// When the metadata was read.
    pub collected_at: String,
    /// `live` when that was for this answer, `cached` when it was kept.
    pub source: String,
}

/// The table of a health report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthTableBody {
    /// Its database.
    pub database: String,
    /// Its name.
    pub table_name: String,
    /// Its location.
    pub location: String,
    /// Its format version.
    pub format_version: u8,
    /// Its current snapshot; null before the first commit.
    pub snapshot_id: Option<i64>,
}

/// The live files of the current snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileStatsBody {
    /// Data files.
    pub total_data_files: u64,
    /// Deletes of every kind.
    pub total_delete_files: u64,
    /// Position-delete files.
    pub position_delete_files: u64,
    /// Equality-delete files.
    pub equality_delete_files: u64,
    /// Deletion vectors.
    pub deletion_vectors: u64,
    /// Bytes of the data files.
    pub total_size_bytes: u64,
    /// Mean bytes of a data file.
    pub avg_file_size_bytes: u64,
    /// Data files that compaction calls small.
    pub small_file_count: u64,
    /// Their share in percent, to the hundredth.
    pub small_file_pct: f64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IssueBody {
    /// A code in snake case.
    pub code: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// One sentence for a person.
    pub message: String,
    /// The numbers behind it, by name.
    pub evidence: BTreeMap<String, Number>,
}

/// What the orchestrator would submit for a table now, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecommendationBody {
    /// The table's database.
    pub database: String,
    /// The table.
    pub table_name: String,
    /// Why no job is submitted for the table by itself whatever is due; null when what is due decides.
    pub skip_reason: Option<String>,
    /// One entry for each action, in order of execution.
    pub actions: Vec<ActionAdviceBody>,
    /// When the health was read that this follows from.
    pub collected_at: String,
    /// `live` when that was for this answer, `cached` when it was kept.
    pub source: String,
}

/// Whether an action is due.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionAdviceBody {
    /// The action.
    pub action: String,
    /// Whether it is due.
    pub recommended: bool,
    /// Why, or why not, in one sentence.
    pub reason: String,
    /// The numbers it was decided by, by name.
    pub evidence: BTreeMap<String, Number>,
}

impl HealthBody {
    /// A report of this source and what was made of it.
    pub fn new(health: &TableHealth, advice: &Advice, source: PreviewSource) -> Self {
        let recommended_actions = names(&advice.actions());
        Self {
            table: HealthTableBody::from(health),
            file_stats: FileStatsBody::from(&health.files),
            snapshot_count: health.snapshot_count,
            oldest_snapshot_at: health.oldest_snapshot_at.map(format_time),
            manifest_count: health.manifest_count,
            total_records: health.total_records,
            deleted_records: health.deleted_records,
            issues: advice.issues.iter().map(IssueBody::from).collect(),
            needs_maintenance: !recommended_actions.is_empty(),
            recommended_actions,
            collected_at: format_time(health.collected_at),
            source: source.as_str().to_owned(),
        }
    }
}

impl RecommendationBody {
    /// What was made of a report of this source.
    pub fn new(health: &TableHealth, advice: &Advice, source: PreviewSource) -> Self {
        Self {
            database: health.table.database.to_string(),
            table_name: health.table.table.to_string(),
            skip_reason: advice.skip_cause.map(|cause| cause.as_str().to_owned()),
            actions: advice
                .recommendations
                .iter()
                .map(ActionAdviceBody::from)
                .collect(),
            collected_at: format_time(health.collected_at),
            source: source.as_str().to_owned(),
        }
    }
}

impl From<&TableHealth> for HealthTableBody {
    fn from(health: &TableHealth) -> Self {
        Self {
            database: health.table.database.to_string(),
            table_name: health.table.table.to_string(),
            location: health.location.clone(),
            format_version: health.format_version,
            snapshot_id: health.snapshot_id,
        }
    }
}

impl From<&FileStats> for FileStatsBody {
    fn from(files: &FileStats) -> Self {
        Self {
            total_data_files: files.data_files,
            total_delete_files: files.delete_files(),
            position_delete_files: files.position_delete_files,
            equality_delete_files: files.equality_delete_files,
            deletion_vectors: files.deletion_vectors,
            total_size_bytes: files.total_size_bytes,
            avg_file_size_bytes: files.average_file_bytes(),
            small_file_count: files.small_files,
            small_file_pct: (files.small_file_percent() * 100.0).round() / 100.0,
        }
    }
}

impl From<&Issue> for IssueBody {
    fn from(issue: &Issue) -> Self {
        Self {
            code: issue.code.to_owned(),
            severity: issue.severity.as_str().to_owned(),
            message: issue.message.clone(),
            evidence: numbers(&issue.evidence),
        }
    }
}

impl From<&Recommendation> for ActionAdviceBody {
    fn from(entry: &Recommendation) -> Self {
        Self {
            action: entry.action.to_string(),
            recommended: entry.recommended,
            reason: entry.reason.clone(),
            evidence: numbers(&entry.evidence),
        }
    }
}

fn numbers(evidence: &Evidence) -> BTreeMap<String, Number> {
    let numbers = evidence.iter();
    numbers
        .filter_map(|(name, metric)| Some(((*name).to_owned(), number(*metric)?)))
        .collect()
}

fn names(actions: &[Action]) -> Vec<String> {
    actions.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use snowpack_domain::{Duration, Metric, Severity, SkipCause, TableId, Timestamp};

    fn health() -> TableHealth {
        TableHealth {
            table: TableId::new("offer_service", "offers").unwrap(),
            location: "s3://bucket/offers".to_owned(),
            metadata_location: "s3://bucket/offers/metadata/9.json".to_owned(),
            format_version: 2,
            snapshot_id: Some(i64::MAX),
            files: FileStats {
                data_files: 3,
                position_delete_files: 1,
                equality_delete_files: 2,
                deletion_vectors: 4,
                total_size_bytes: 100,
                small_files: 2,
            },
            snapshot_count: 5,
            oldest_snapshot_at: Some(Timestamp::from_micros(1_777_127_400_000_000)),
            manifest_count: 6,
            total_records: 300,
            deleted_records: 7,
            outlook: BTreeMap::new(),
            settings_hash: None,
            collected_at: Timestamp::from_micros(1_777_127_400_500_000),
        }
    }

    fn advice() -> Advice {
        let entry = |action, recommended| Recommendation {
            action,
            recommended,
            reason: "r".to_owned(),
            evidence: Evidence::from([("files_in", Metric::Count(3))]),
        };
        Advice {
            recommendations: vec![
                entry(Action::RewriteDataFiles, true),
                entry(Action::RemoveOrphanFiles, false),
            ],
            issues: vec![Issue {
                code: "many_small_files",
                severity: Severity::Warning,
                message: "2 data files are small".to_owned(),
                evidence: Evidence::from([("found", Metric::Count(2)), ("share", Metric::Ratio(0.5))]),
            }],
            skip_cause: Some(SkipCause::Cadence),
            cadence: Duration::from_seconds(3600),
        }
    }

    fn check<T: Serialize>(body: &T, golden: &str) {
        let compact: String = golden.lines().map(str::trim).collect();
        assert_eq!(serde_json::to_string(body).unwrap(), compact);
    }

    #[test]
    fn golden_report() {
        check(
            &HealthBody::new(&health(), &advice(), PreviewSource::Live),
            r#"{"table":{"database":"offer_service","table_name":"offers","location":"s3://bucket/offers",
            "format_version":2,"snapshot_id":9223372036854775807},"file_stats":{"total_data_files":3,
            "total_delete_files":7,"position_delete_files":1,"equality_delete_files":2,"deletion_vectors":4,
            "total_size_bytes":100,"avg_file_size_bytes":33,"small_file_count":2,"small_file_pct":66.67},
            "snapshot_count":5,"oldest_snapshot_at":"2026-04-25T14:30:00+00:00","manifest_count":6,
            "total_records":300,"deleted_records":7,"issues":[{"code":"many_small_files","severity":"warning",
            "message":"2 data files are small","evidence":{"found":2,"share":0.5}}],
            "recommended_actions":["rewrite_data_files"],"needs_maintenance":true,
            "collected_at":"2026-04-25T14:30:00.500000+00:00","source":"live"}"#,
        );
    }

    #[test]
    fn golden_recommendation() {
        check(
            &RecommendationBody::new(&health(), &advice(), PreviewSource::Cached),
            r#"{"database":"offer_service","table_name":"offers","skip_reason":"cadence","actions":[
            {"action":"rewrite_data_files","recommended":true,"reason":"r","evidence":{"files_in":3}},
            {"action":"remove_orphan_files","recommended":false,"reason":"r","evidence":{"files_in":3}}],
            "collected_at":"2026-04-25T14:30:00.500000+00:00","source":"cached"}"#,
        );
    }
}
