//! What a deployment decides for all of its tables, and what follows from it for one of them.

use std::collections::{BTreeSet, HashMap};

use crate::{
    Action, CacheEntry, DatabaseName, Drain, Duration, Enrolment, Evidence, Issue, Lock, OptionError,
    Recommendation, Severity, SkipCause, Standing, TableHealth, Thresholds, Timestamp, issues, recommend,
    skip_cause,
};

/// Which tables a deployment maintains by itself, and its settings where a table has none of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether tables have to ask for maintenance.
    pub enrolment: Enrolment,
    /// The databases maintained; empty: all.
    pub databases: BTreeSet<DatabaseName>,
    /// Settings named like the `snowpack.*` properties without that prefix.
    pub deployment: HashMap<String, String>,
}

/// What is kept about a table beside its health.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Its cache entry.
    pub entry: &'a CacheEntry,
    /// Its lock.
    pub lock: &'a Lock,
    /// The drain switch.
    pub drain: &'a Drain,
}

/// What is due on a table, what is wrong with it, and why it is left alone all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// One entry for each action, in order of execution.
    pub recommendations: Vec<Recommendation>,
    /// What is not as it should be.
    pub issues: Vec<Issue>,
    /// Why the system does not submit a job by itself now, if so.
    pub skip_cause: Option<SkipCause>,
    /// Least time between two jobs that the system submits for the table.
    pub cadence: Duration,
}

impl Advice {
    /// The actions that are due, in order of execution.
    pub fn actions(&self) -> Vec<Action> {
        let due = self.recommendations.iter().filter(|entry| entry.recommended);
        due.map(|entry| entry.action).collect()
    }
}

impl Policy {
    /// Whether the deployment maintains this database by itself.
    pub fn allows(&self, database: &DatabaseName) -> bool {
        self.databases.is_empty() || self.databases.contains(database)
    }

    /// Why the table is left alone now whatever its health; `None` if its health decides.
    pub fn skip_cause(&self, situation: Situation<'_>, now: Timestamp) -> Option<SkipCause> {
        match situation.entry.thresholds(&self.deployment) {
            Ok(thresholds) => self.skip_cause_with(situation, &thresholds, now),
            Err(_) => Some(cause_beside_bad_property(situation.entry)),
        }
    }

    fn skip_cause_with(
        &self,
        situation: Situation<'_>,
        thresholds: &Thresholds,
        now: Timestamp,
    ) -> Option<SkipCause> {
        let standing = Standing {
            thresholds,
            enrolment: self.enrolment,
            in_allowlist: self.allows(&situation.entry.table.database),
            lock: situation.lock,
            drain: situation.drain,
        };
        skip_cause(standing, now)
    }

    /// Whether anything is due on a table of this health.
    pub fn is_due(&self, entry: &CacheEntry, lock: &Lock, health: &TableHealth, now: Timestamp) -> bool {
        entry.thresholds(&self.deployment).is_ok_and(|thresholds| {
            let recommendations = recommend(health, &thresholds, &lock.upkeep, now);
            recommendations.iter().any(|entry| entry.recommended)
        })
    }

    /// What is due on a table of this health. A property that cannot be read makes nothing due.
    pub fn advise(&self, situation: Situation<'_>, health: &TableHealth, now: Timestamp) -> Advice {
        match situation.entry.thresholds(&self.deployment) {
            Ok(thresholds) => Advice {
                recommendations: recommend(health, &thresholds, &situation.lock.upkeep, now),
                issues: issues(health, &thresholds),
                skip_cause: self.skip_cause_with(situation, &thresholds, now),
                cadence: thresholds.cadence,
            },
            Err(error) => helpless(&error, cause_beside_bad_property(situation.entry)),
        }
    }
}

/// Why a table with a property that cannot be read is left alone: it may want to be.
fn cause_beside_bad_property(entry: &CacheEntry) -> SkipCause {
    entry.opt_out().unwrap_or(SkipCause::BadProperty)
}

fn helpless(error: &OptionError, skip_cause: SkipCause) -> Advice {
    let reason = error.to_string();
    let entry = |action| Recommendation {
        action,
        recommended: false,
        reason: reason.clone(),
        evidence: Evidence::new(),
    };
    Advice {
        recommendations: Action::ALL.into_iter().map(entry).collect(),
        issues: vec![Issue {
            code: SkipCause::BadProperty.as_str(),
            severity: Severity::Warning,
            message: reason.clone(),
            evidence: Evidence::new(),
        }],
        skip_cause: Some(skip_cause),
        cadence: Duration::from_seconds(0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{FileStats, Preview, PreviewSource, TableId};

    const NOW: Timestamp = Timestamp::from_micros(1_777_127_400_000_000);

    fn entry(properties: &[(&str, &str)]) -> CacheEntry {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        CacheEntry {
            table: TableId::new("db", "t").unwrap(),
            location: None,
            metadata_location: None,
            format_version: None,
            properties: properties.iter().map(owned).collect(),
            generation: 1,
        }
    }

    /// Six small files that become one.
    fn health() -> TableHealth {
        let numbers = BTreeMap::from([
            ("files_in".to_owned(), Some(6)),
            ("files_out".to_owned(), Some(1)),
        ]);
        let rewrite = Preview {
            source: PreviewSource::Live,
            numbers,
            note: None,
        };
        TableHealth {
            table: TableId::new("db", "t").unwrap(),
            location: "file:///t".to_owned(),
            metadata_location: "file:///t/1.json".to_owned(),
            format_version: 2,
            snapshot_id: Some(1),
            files: FileStats {
                data_files: 6,
                small_files: 6,
                ..FileStats::default()
            },
            snapshot_count: 1,
            oldest_snapshot_at: None,
            manifest_count: 1,
            total_records: 6,
            deleted_records: 0,
            outlook: BTreeMap::from([(Action::RewriteDataFiles, rewrite)]),
            settings_hash: None,
            collected_at: NOW,
        }
    }

    fn advise(policy: &Policy, properties: &[(&str, &str)]) -> Advice {
        let situation = Situation {
            entry: &entry(properties),
            lock: &Lock::default(),
            drain: &Drain::default(),
        };
        let advice = policy.advise(situation, &health(), NOW);
        assert_eq!(advice.skip_cause, policy.skip_cause(situation, NOW));
        assert_eq!(advice.recommendations.len(), Action::ALL.len());
        advice
    }

    #[test]
    fn what_is_due_does_not_depend_on_who_sees_to_it() {
        let elsewhere = Policy {
            databases: BTreeSet::from([DatabaseName::new("other").unwrap()]),
            ..Policy::default()
        };
        let expected = [
            (advise(&Policy::default(), &[]), None),
            (advise(&elsewhere, &[]), Some(SkipCause::NotInAllowlist)),
        ];
        for (advice, cause) in expected {
            assert_eq!(advice.actions(), [Action::RewriteDataFiles]);
            assert_eq!(
                (advice.skip_cause, advice.issues[0].code),
                (cause, "many_small_files")
            );
        }
    }

    #[test]
    fn deployment_settings_count_where_the_table_says_nothing() {
        let policy = Policy {
            deployment: HashMap::from([("min_input_files".to_owned(), "7".to_owned())]),
            ..Policy::default()
        };
        assert!(advise(&policy, &[]).issues.is_empty());
        assert_eq!(
            advise(&policy, &[("snowpack.min_input_files", "6")]).issues.len(),
            1
        );
    }

    #[test]
    fn a_table_that_wants_to_be_left_alone_is_whatever_else_it_says() {
        let bad = ("snowpack.max_manifest_count", "few");
        let (skip, out) = (Some(SkipCause::CompactionSkip), Some(SkipCause::OptedOut));
        for (flags, cause) in [
            (vec![("compaction_skip", "True")], skip),
            (
                vec![("snowpack.compaction_skip", "true"), ("compaction_skip", "yes")],
                skip,
            ),
            (vec![("snowpack.maintenance_enabled", "False")], out),
            (
                vec![
                    ("compaction_skip", "true"),
                    ("snowpack.maintenance_enabled", "no"),
                ],
                skip,
            ),
            (vec![("compaction_skip", "false")], Some(SkipCause::BadProperty)),
        ] {
            let mut properties = flags;
            properties.push(bad);
            let advice = advise(&Policy::default(), &properties);
            assert_eq!(
                (advice.skip_cause, advice.actions()),
                (cause, vec![]),
                "{properties:?}"
            );
        }
    }

    #[test]
    fn what_a_table_wishes_is_told_and_followed_alike() {
        for text in ["true", "True", " TRUE ", "false", "FALSE", "yes", ""] {
            let entry = entry(&[("snowpack.maintenance_enabled", text)]);
            let followed = entry
                .thresholds(&HashMap::new())
                .map(|thresholds| thresholds.maintenance_enabled);
            assert_eq!(entry.maintenance_enabled(), followed.unwrap_or(None), "{text:?}");
        }
        let shouted = entry(&[("snowpack.maintenance_enabled", "True")]);
        assert_eq!(shouted.maintenance_enabled(), Some(true));
    }

    #[test]
    fn a_bad_property_makes_nothing_due_and_is_named() {
        let advice = advise(&Policy::default(), &[("snowpack.max_manifest_count", "few")]);
        assert_eq!(advice.actions(), []);
        assert_eq!(advice.skip_cause, Some(SkipCause::BadProperty));
        assert!(advice.issues[0].message.contains("snowpack.max_manifest_count"));
        assert!(
            advice.recommendations[0]
                .reason
                .contains("snowpack.max_manifest_count")
        );
    }
}
