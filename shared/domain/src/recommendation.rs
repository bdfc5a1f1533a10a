//! What a table needs: the one function that the API, the orchestrator and health reports ask.
//!
//! An action is recommended only if it would do something: what it would do comes from the same plans that a dry run
//! shows. Otherwise tables would be maintained in vain for ever, for example those whose few small files are each in a
//! partition of its own. Thresholds that a plan does not know decide on top of it.

use std::collections::BTreeMap;

use crate::{Action, Duration, Metric, PreviewSource, TableHealth, Thresholds, Timestamp, Upkeep};

/// Numbers behind a statement, by name.
pub type Evidence = BTreeMap<&'static str, Metric>;

/// Whether an action is due on a table, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommendation {
    /// The action.
    pub action: Action,
    /// Whether it is due.
    pub recommended: bool,
    /// Why, or why not, in one sentence.
    pub reason: String,
    /// The numbers it was decided by.
    pub evidence: Evidence,
}

/// How much an issue matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Readers or storage pay for it.
    Warning,
    /// Readers pay many times what they should.
    Critical,
}

impl Severity {
    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Something that is not as it should be, whether an action can mend it now or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Issue {
    /// A code in snake case.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence for a person.
    pub message: String,
    /// The numbers behind it.
    pub evidence: Evidence,
}

/// How many times its threshold makes an issue critical.
const CRITICAL_FACTOR: u64 = 10;

/// What is due on a table as of `now`: one entry for each action, in order of execution.
pub fn recommend(
    health: &TableHealth,
    thresholds: &Thresholds,
    upkeep: &Upkeep,
    now: Timestamp,
) -> Vec<Recommendation> {
    let judge = |action| match action {
        Action::RewriteDataFiles => data_files(health, thresholds),
        Action::RewritePositionDeleteFiles => position_deletes(health, thresholds),
        Action::ExpireSnapshots => snapshots(health, thresholds),
        Action::RewriteManifests => manifests(health, thresholds),
        Action::RemoveOrphanFiles => orphans(thresholds, upkeep, now),
    };
    let entry = |action| {
        let (due, evidence) = judge(action);
        let (recommended, reason) = match impossible(health, action) {
            Some(why) => (false, why),
            None => match due {
                Ok(reason) => (true, reason),
                Err(reason) => (false, reason),
            },
        };
        Recommendation {
            action,
            recommended,
            reason,
            evidence,
        }
    };
    Action::ALL.into_iter().map(entry).collect()
}

/// Why it is due, or else why not, and the numbers.
type Judged = (Result<String, String>, Evidence);

/// Why the action cannot be run at all, if so.
fn impossible(health: &TableHealth, action: Action) -> Option<String> {
    match health.outlook.get(&action) {
        Some(outlook) if outlook.source == PreviewSource::None => Some(
            outlook
                .note
                .clone()
                .unwrap_or_else(|| "it cannot be planned".to_owned()),
        ),
        Some(_) => None,
        None => Some("it was not planned".to_owned()),
    }
}

fn count(value: u64) -> Metric {
    Metric::Count(value)
}

fn data_files(health: &TableHealth, thresholds: &Thresholds) -> Judged {
    let files = &health.files;
    let number = |name| health.expects(Action::RewriteDataFiles, name).unwrap_or(0);
    let (taken, left) = (number("files_in"), number("files_out"));
    let evidence = Evidence::from([
        ("data_files", count(files.data_files)),
        ("small_files", count(files.small_files)),
        ("delete_files", count(files.delete_files())),
        ("files_in", count(taken)),
        ("files_out", count(left)),
        ("bytes_in", count(number("bytes_in"))),
        ("delete_files_applied", count(number("delete_files_applied"))),
        ("min_input_files", count(thresholds.min_input_files)),
        ("delete_file_threshold", count(thresholds.delete_file_threshold)),
    ]);
    let judged = if taken > 0 {
        Ok(format!(
            "{taken} of {} data files become {left}",
            files.data_files
        ))
    } else if files.small_files >= thresholds.min_input_files {
        Err(format!(
            "{} data files are small, but there are too few in any partition to gain from a rewrite",
            files.small_files
        ))
    } else if files.delete_files() >= thresholds.delete_file_threshold {
        Err(format!(
            "there are {} delete files, but none of the data files has enough deletes to be rewritten",
            files.delete_files()
        ))
    } else {
        Err("the data files have the right sizes and few deletes".to_owned())
    };
    (judged, evidence)
}

fn position_deletes(health: &TableHealth, thresholds: &Thresholds) -> Judged {
    let files = &health.files;
    let taken = health
        .expects(Action::RewritePositionDeleteFiles, "files_in")
        .unwrap_or(0);
    let found = files.position_delete_files + files.deletion_vectors;
    let evidence = Evidence::from([
        ("position_delete_files", count(files.position_delete_files)),
        ("deletion_vectors", count(files.deletion_vectors)),
        ("files_in", count(taken)),
        ("delete_file_threshold", count(thresholds.delete_file_threshold)),
    ]);
    let judged = if found < thresholds.delete_file_threshold {
        Err(format!("there are {found} position deletes, which is few"))
    } else if taken == 0 {
        Err("the position deletes are in as few files as they can be".to_owned())
    } else {
        Ok(format!("{taken} files of position deletes can be packed"))
    };
    (judged, evidence)
}

fn snapshots(health: &TableHealth, thresholds: &Thresholds) -> Judged {
    let number = |name| health.expects(Action::ExpireSnapshots, name).unwrap_or(0);
    let (expired, refs) = (number("snapshots"), number("refs"));
    let evidence = Evidence::from([
        ("snapshots", count(health.snapshot_count)),
        ("expirable_snapshots", count(expired)),
        ("expirable_refs", count(refs)),
        ("max_snapshot_count", count(thresholds.max_snapshot_count)),
    ]);
    let judged = match (expired, refs) {
        (0, 0) if health.snapshot_count > thresholds.max_snapshot_count => Err(format!(
            "there are {} snapshots, but none is past its retention yet",
            health.snapshot_count
        )),
        (0, 0) => Err("no snapshot is past its retention".to_owned()),
        (0, refs) => Ok(format!("{refs} branches or tags are past their retention")),
        (expired, _) => Ok(format!(
            "{expired} of {} snapshots are past their retention",
            health.snapshot_count
        )),
    };
    (judged, evidence)
}

fn manifests(health: &TableHealth, thresholds: &Thresholds) -> Judged {
    let number = |name| health.expects(Action::RewriteManifests, name).unwrap_or(0);
    let (taken, left) = (number("manifests_in"), number("manifests_out"));
    let evidence = Evidence::from([
        ("manifests", count(health.manifest_count)),
        ("manifests_in", count(taken)),
        ("manifests_out", count(left)),
        ("max_manifest_count", count(thresholds.max_manifest_count)),
    ]);
    let judged = if health.manifest_count <= thresholds.max_manifest_count {
        Err(format!("{} manifests are not too many", health.manifest_count))
    } else if taken == 0 {
        Err(format!(
            "the {} manifests are in shape already",
            health.manifest_count
        ))
    } else {
        Ok(format!(
            "{taken} of {} manifests become about {left}",
            health.manifest_count
        ))
    };
    (judged, evidence)
}

fn orphans(thresholds: &Thresholds, upkeep: &Upkeep, now: Timestamp) -> Judged {
    const HOUR_MICROS: i64 = 3_600_000_000;
    let hours = |span: Duration| count(u64::try_from(span.as_micros() / HOUR_MICROS).unwrap_or(0));
    let mut evidence = Evidence::from([("orphan_scan_cadence_hours", hours(thresholds.orphan_scan_cadence))]);
    let Some(last) = upkeep.orphans_removed_at else {
        return (Ok("orphan files were never looked for".to_owned()), evidence);
    };
    evidence.insert("hours_since_orphan_scan", hours(now - last));
    let judged = if now - last >= thresholds.orphan_scan_cadence {
        Ok("orphan files were not looked for in a while".to_owned())
    } else {
        Err("orphan files were looked for not long ago".to_owned())
    };
    (judged, evidence)
}

/// What is wrong with a table.
pub fn issues(health: &TableHealth, thresholds: &Thresholds) -> Vec<Issue> {
    let files = &health.files;
    let counts = [
        (
            "many_small_files",
            files.small_files,
            thresholds.min_input_files,
            "data files are small",
        ),
        (
            "many_delete_files",
            files.delete_files(),
            thresholds.delete_file_threshold,
            "delete files slow down readers",
        ),
        (
            "many_snapshots",
            health.snapshot_count,
            thresholds.max_snapshot_count.saturating_add(1),
            "snapshots keep files from being deleted",
        ),
        (
            "many_manifests",
            health.manifest_count,
            thresholds.max_manifest_count.saturating_add(1),
            "manifests slow down planning",
        ),
    ];
    let too_many = counts.into_iter().filter(|(_, found, least, _)| found >= least);
    let mut issues: Vec<_> = too_many
        .map(|(code, found, least, what)| Issue {
            code,
            severity: match found >= least.saturating_mul(CRITICAL_FACTOR) {
                true => Severity::Critical,
                false => Severity::Warning,
            },
            message: format!("{found} {what}"),
            evidence: Evidence::from([("found", count(found)), ("threshold", count(least))]),
        })
        .collect();
    let rewrite = health.outlook.get(&Action::RewriteDataFiles);
    if let Some(note) = rewrite
        .filter(|outlook| outlook.source == PreviewSource::None)
        .and_then(|outlook| outlook.note.as_ref())
    {
        issues.push(Issue {
            code: "cannot_be_compacted",
            severity: Severity::Info,
            message: note.clone(),
            evidence: Evidence::new(),
        });
    }
    issues
}

#[cfg(test)]
mod tests;
