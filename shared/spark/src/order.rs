//! What a run is to do: the document that the script reads.

use std::collections::BTreeMap;

use serde::Serialize;
use snowpack_domain::{
    Action, Compaction, Expiry, JobOptions, ManifestRewrite, OptionError, PositionDeleteCompaction,
    Properties, TableId, Timestamp,
};
use snowpack_plan::{ACTION_SUMMARY_KEY, TARGET_SUMMARY_KEY};
use snowpack_service::ports::{Provenance, RunOrder};

use crate::conf::CATALOG;
use crate::statement::{
    Call, expire_snapshots, rewrite_data_files, rewrite_manifests, rewrite_position_deletes,
};

/// The script that runs an order.
pub const SCRIPT: &str = include_str!("run.py");

/// The version of the document.
const FORMAT: u32 = 1;

/// Why an action cannot be ordered.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// An option or a property standing in for one cannot be used.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Spark does not do it for us.
    #[error("{0} is never handed to Spark")]
    NotHandedOver(Action),
    /// Only jobs are handed over: somebody has to follow the run.
    #[error("a run without a job cannot be handed to Spark: submit a job instead")]
    NoJob,
}

#[derive(Serialize)]
struct OrderDocument {
    format: u32,
    statement: String,
    /// What the summaries of the run's snapshots say besides Iceberg's own.
    summary: BTreeMap<&'static str, String>,
}

/// The name of a job's run of an action. Attempts share it, so that each finds the run of the one before.
///
/// # Errors
/// [`OrderError::NoJob`].
pub(crate) fn token(action: Action, provenance: &Provenance) -> Result<String, OrderError> {
    let job = provenance.job.as_ref().ok_or(OrderError::NoJob)?;
    Ok(format!("{job}-{action}"))
}

/// Orders an action on a table, as of `now`.
///
/// # Errors
/// [`OrderError`] when options cannot be used, the action stays native, or there is no job.
pub fn order(
    table: &TableId,
    action: Action,
    options: &JobOptions,
    properties: Properties<'_>,
    provenance: &Provenance,
    now: Timestamp,
) -> Result<RunOrder, OrderError> {
    let mut summary = BTreeMap::from([
        (ACTION_SUMMARY_KEY, action.to_string()),
        ("snowpack.fence", provenance.fence.to_string()),
    ]);
    summary.extend(
        provenance
            .job
            .as_ref()
            .map(|job| ("snowpack.job-id", job.to_string())),
    );
    let statement: Call = match action {
        Action::RewriteDataFiles => {
            let settings = Compaction::resolve(options, properties)?;
            summary.insert(TARGET_SUMMARY_KEY, settings.target_file_bytes.to_string());
            rewrite_data_files(CATALOG, table, &settings)
        }
        Action::RewritePositionDeleteFiles => {
            let settings = PositionDeleteCompaction::resolve(options, properties)?;
            summary.insert(TARGET_SUMMARY_KEY, settings.sizes.target_bytes.to_string());
            rewrite_position_deletes(CATALOG, table, &settings)
        }
        Action::ExpireSnapshots => {
            expire_snapshots(CATALOG, table, &Expiry::resolve(options, properties, now)?)
        }
        Action::RewriteManifests => {
            rewrite_manifests(CATALOG, table, &ManifestRewrite::resolve(options, properties)?)
        }
        Action::RemoveOrphanFiles => return Err(OrderError::NotHandedOver(action)),
    };
    let document = OrderDocument {
        format: FORMAT,
        statement: statement.sql(),
        summary,
    };
    Ok(RunOrder {
        token: token(action, provenance)?,
        document: serde_json::to_string(&document).expect("text and numbers are always JSON"),
        script: SCRIPT,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use snowpack_domain::JobId;

    use super::*;

    fn order_of(action: Action, job: Option<JobId>) -> Result<RunOrder, OrderError> {
        let nothing = HashMap::new();
        let properties = Properties {
            table: &nothing,
            deployment: &nothing,
        };
        let table = TableId::new("db", "t").unwrap();
        let provenance = Provenance { job, fence: 7 };
        let now = Timestamp::from_micros(0);
        order(
            &table,
            action,
            &JobOptions::default(),
            properties,
            &provenance,
            now,
        )
    }

    #[test]
    fn all_actions_but_one_are_ordered_under_a_name_of_their_own() {
        let mut tokens = std::collections::BTreeSet::new();
        for action in Action::ALL {
            let ordered = order_of(action, Some(JobId::from_u128(5)));
            if action == Action::RemoveOrphanFiles {
                assert!(matches!(ordered, Err(OrderError::NotHandedOver(_))));
                continue;
            }
            let ordered = ordered.unwrap();
            let document: serde_json::Value = serde_json::from_str(&ordered.document).unwrap();
            assert!(document["statement"].as_str().unwrap().contains(action.as_str()));
            assert_eq!(document["summary"]["snowpack.fence"], "7");
            assert_eq!(document["summary"]["snowpack.action"], action.as_str());
            // What EMR Serverless takes for an idempotency token.
            assert!(ordered.token.len() <= 64, "{}", ordered.token);
            tokens.insert(ordered.token);
        }
        assert_eq!(tokens.len(), 4);
    }

    #[test]
    fn only_jobs_are_handed_over() {
        let refused = order_of(Action::RewriteDataFiles, None).unwrap_err();
        assert!(matches!(refused, OrderError::NoJob));
    }
}
