//! What a run left: the rows of a procedure's result, turned into the result of the action.

use std::collections::BTreeMap;

use serde::Deserialize;
use snowpack_domain::{Action, ActionResult, Duration, Metric};

/// The version of the document.
const FORMAT: u32 = 1;

/// Why what a run left is no result.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Not the script's document.
    #[error("Spark's run left something unreadable: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The script of another version wrote it.
    #[error("Spark's run left a result of format {0}, and this version of Snowpack reads {FORMAT}")]
    UnknownFormat(u32),
    /// The procedure did not return what Iceberg documents.
    #[error("Spark's {action} returned no {column}: use Iceberg 1.10 or newer in the application")]
    NoSuchColumn {
        /// The action.
        action: Action,
        /// The column that is missing.
        column: &'static str,
    },
    /// The statement failed.
    #[error("Spark: {0}")]
    Failed(String),
}

#[derive(Deserialize)]
struct OutputDocument {
    format: u32,
    #[serde(default)]
    rows: Vec<BTreeMap<String, serde_json::Value>>,
    error: Option<String>,
}

/// The result of an action that a run did in `elapsed`.
///
/// # Errors
/// [`OutputError`] when the statement failed or the document is not understood.
pub fn read_output(action: Action, document: &str, elapsed: Duration) -> Result<ActionResult, OutputError> {
    let document: OutputDocument = serde_json::from_str(document)?;
    if document.format != FORMAT {
        return Err(OutputError::UnknownFormat(document.format));
    }
    if let Some(error) = document.error {
        return Err(OutputError::Failed(error));
    }
    let counts = Counts {
        action,
        row: document.rows.into_iter().next().unwrap_or_default(),
    };
    let (message, metrics) = match action {
        Action::RewriteDataFiles => counts.compaction()?,
        Action::RewritePositionDeleteFiles => counts.position_deletes()?,
        Action::ExpireSnapshots => counts.expiry()?,
        Action::RewriteManifests => counts.manifests()?,
        Action::RemoveOrphanFiles => {
            let column = "result";
            return Err(OutputError::NoSuchColumn { action, column });
        }
    };
    let metrics = metrics.into_iter().chain([("spark_runs", 1)]);
    Ok(ActionResult {
        action,
        outcome: Ok(message),
        elapsed_seconds: elapsed.as_micros().max(0) as f64 / 1e6,
        metrics: metrics
            .map(|(name, count)| (name.to_owned(), Metric::Count(count)))
            .collect(),
        predicted: BTreeMap::new(),
        preview: None,
    })
}

/// The result beside what the plan expected of the numbers it has.
pub(crate) fn beside(predicted: &BTreeMap<String, u64>, mut result: ActionResult) -> ActionResult {
    let known = predicted
        .iter()
        .filter(|(name, _)| result.metrics.contains_key(*name));
    result.predicted = known.map(|(name, number)| (name.clone(), *number)).collect();
    result
}

type Told = (String, Vec<(&'static str, u64)>);

/// The one row of a procedure's result.
struct Counts {
    action: Action,
    row: BTreeMap<String, serde_json::Value>,
}

impl Counts {
    fn get(&self, column: &'static str) -> Result<u64, OutputError> {
        let found = self.row.get(column).and_then(serde_json::Value::as_u64);
        found.ok_or(OutputError::NoSuchColumn {
            action: self.action,
            column,
        })
    }

    fn compaction(&self) -> Result<Told, OutputError> {
        let (read, written) = (
            self.get("rewritten_data_files_count")?,
            self.get("added_data_files_count")?,
        );
        let failed = self.get("failed_data_files_count")?;
        let removed = self.get("removed_delete_files_count")?;
        let mut message = if read + written + removed + failed == 0 {
            nothing("data file")
        } else {
            format!("Compacted {read} files into {written} files")
        };
        if failed > 0 {
            message.push_str(&format!("; left {failed} files whose groups failed"));
        }
        let metrics = vec![
            ("files_in", read),
            ("files_out", written),
            ("files_failed", failed),
            ("bytes_in", self.get("rewritten_bytes_count")?),
            ("delete_files_removed", removed),
        ];
        Ok((message, metrics))
    }

    fn position_deletes(&self) -> Result<Told, OutputError> {
        let (read, written) = (
            self.get("rewritten_delete_files_count")?,
            self.get("added_delete_files_count")?,
        );
        let message = if read + written == 0 {
            nothing("position delete file")
        } else {
            format!("Rewrote {read} position delete files into {written}")
        };
        let metrics = vec![
            ("files_in", read),
            ("files_out", written),
            ("bytes_in", self.get("rewritten_bytes_count")?),
            ("bytes_out", self.get("added_bytes_count")?),
        ];
        Ok((message, metrics))
    }

    fn expiry(&self) -> Result<Told, OutputError> {
        let data = self.get("deleted_data_files_count")?;
        let deletes = self.get("deleted_position_delete_files_count")?
            + self.get("deleted_equality_delete_files_count")?;
        let (manifests, lists) = (
            self.get("deleted_manifest_files_count")?,
            self.get("deleted_manifest_lists_count")?,
        );
        let message = if lists == 0 {
            "Nothing to do: no snapshot was to expire".to_owned()
        } else {
            format!(
                "Expired {lists} snapshots: deleted {data} data files, {deletes} delete files and {manifests} manifests"
            )
        };
        let metrics = vec![
            // Each snapshot has one.
            ("snapshots", lists),
            ("data_files", data),
            ("delete_files", deletes),
            ("manifests", manifests),
            ("manifest_lists", lists),
            ("statistics_files", self.get("deleted_statistics_files_count")?),
        ];
        Ok((message, metrics))
    }

    fn manifests(&self) -> Result<Told, OutputError> {
        let (read, written) = (
            self.get("rewritten_manifests_count")?,
            self.get("added_manifests_count")?,
        );
        let message = if read + written == 0 {
            nothing("manifest")
        } else {
            format!("Rewrote {read} manifests into {written}")
        };
        Ok((message, vec![("manifests_in", read), ("manifests_out", written)]))
    }
}

fn nothing(noun: &str) -> String {
    format!("Nothing to do: Spark found no {noun} to rewrite")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(action: Action, document: &serde_json::Value) -> Result<ActionResult, OutputError> {
        read_output(action, &document.to_string(), Duration::from_seconds(90))
    }

    #[test]
    fn a_compaction_says_what_ours_says() {
        let row = json!({
            "rewritten_data_files_count": 6, "added_data_files_count": 1, "rewritten_bytes_count": 2186,
            "failed_data_files_count": 0, "removed_delete_files_count": 2
        });
        let result = read(Action::RewriteDataFiles, &json!({"format": 1, "rows": [row]})).unwrap();
        assert_eq!(result.outcome, Ok("Compacted 6 files into 1 files".into()));
        assert_eq!(result.elapsed_seconds, 90.0);
        let expected = [
            ("files_in", 6),
            ("bytes_in", 2186),
            ("delete_files_removed", 2),
            ("spark_runs", 1),
        ];
        for (name, count) in expected {
            assert_eq!(result.metrics[name], Metric::Count(count), "{name}");
        }
    }

    #[test]
    fn an_error_keeps_its_words() {
        let failed = json!({"format": 1, "error": "AnalysisException: no such table"});
        let error = read(Action::RewriteManifests, &failed).unwrap_err();
        assert_eq!(error.to_string(), "Spark: AnalysisException: no such table");
    }

    #[test]
    fn what_is_not_understood_is_no_success() {
        let refused = |document: serde_json::Value| read(Action::RewriteManifests, &document).unwrap_err();
        assert!(matches!(
            refused(json!({"format": 2, "rows": []})),
            OutputError::UnknownFormat(2)
        ));
        let short = refused(json!({"format": 1, "rows": [{"rewritten_manifests_count": 1}]}));
        assert!(short.to_string().contains("added_manifests_count"), "{short}");
        assert!(matches!(
            refused(json!({"format": 1})),
            OutputError::NoSuchColumn { .. }
        ));
        assert!(matches!(refused(json!([])), OutputError::Unreadable(_)));
    }

    #[test]
    fn nothing_is_said_as_everywhere() {
        let rows = json!([{"rewritten_delete_files_count": 0, "added_delete_files_count": 0,
            "rewritten_bytes_count": 0, "added_bytes_count": 0}]);
        let result = read(
            Action::RewritePositionDeleteFiles,
            &json!({"format": 1, "rows": rows}),
        )
        .unwrap();
        assert!(result.outcome.unwrap().starts_with("Nothing to do"));
    }
}
