//! Which tables the system maintains by itself, and when it leaves one alone (operations.md, Orchestrator).

use crate::{Drain, Lock, Thresholds, Timestamp};

/// Which tables are maintained unless they say otherwise themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enrolment {
    /// All but those that say `false`.
    #[default]
    OptOut,
    /// Only those that say `true`.
    OptIn,
}

/// Why the orchestrator leaves a table alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipCause {
    /// The table has `compaction_skip`.
    CompactionSkip,
    /// The table says `snowpack.maintenance_enabled` = `false`.
    OptedOut,
    /// Tables have to ask for maintenance here, and this one does not.
    NotOptedIn,
    /// Its database is not among those the deployment maintains by itself.
    NotInAllowlist,
    /// Drain mode is on.
    Draining,
    /// A job is pending or running.
    ActiveJob,
    /// Its last job is too recent.
    Cadence,
    /// A property of the table cannot be read.
    BadProperty,
}

impl SkipCause {
    /// The name used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CompactionSkip => "compaction_skip",
            Self::OptedOut => "opted_out",
            Self::NotOptedIn => "not_opted_in",
            Self::NotInAllowlist => "not_in_allowlist",
            Self::Draining => "draining",
            Self::ActiveJob => "active_job",
            Self::Cadence => "cadence",
            Self::BadProperty => "bad_property",
        }
    }
}

/// What is looked at before a table's health.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The table's thresholds.
    pub thresholds: &'a Thresholds,
    /// Which tables are maintained here.
    pub enrolment: Enrolment,
    /// Whether the deployment maintains the table's database by itself.
    pub in_allowlist: bool,
    /// The table's lock.
    pub lock: &'a Lock,
    /// The drain switch.
    pub drain: &'a Drain,
}

/// Why the system does not submit a job for the table by itself now; `None` if its health decides. What lasts is said
/// before what passes.
pub fn skip_cause(standing: Standing<'_>, now: Timestamp) -> Option<SkipCause> {
    let thresholds = standing.thresholds;
    let due = |completed_at: Timestamp| now - completed_at >= thresholds.cadence;
    if thresholds.skipped {
        Some(SkipCause::CompactionSkip)
    } else if thresholds.maintenance_enabled == Some(false) {
        Some(SkipCause::OptedOut)
    } else if standing.enrolment == Enrolment::OptIn && thresholds.maintenance_enabled.is_none() {
        Some(SkipCause::NotOptedIn)
    } else if !standing.in_allowlist {
        Some(SkipCause::NotInAllowlist)
    } else if standing.drain.enabled {
        Some(SkipCause::Draining)
    } else if standing.lock.holder.is_some() {
        Some(SkipCause::ActiveJob)
    } else if !standing.lock.upkeep.completed_at.is_none_or(due) {
        Some(SkipCause::Cadence)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{Duration, JobId, Properties, Upkeep};

    fn thresholds(properties: &[(&str, &str)]) -> Thresholds {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let table = properties.iter().map(owned).collect();
        let deployment = HashMap::new();
        Thresholds::resolve(Properties {
            table: &table,
            deployment: &deployment,
        })
        .unwrap()
    }

    fn cause(properties: &[(&str, &str)], change: impl FnOnce(&mut Standing<'_>)) -> Option<SkipCause> {
        let thresholds = thresholds(properties);
        let (lock, drain) = (Lock::default(), Drain::default());
        let mut standing = Standing {
            thresholds: &thresholds,
            enrolment: Enrolment::OptOut,
            in_allowlist: true,
            lock: &lock,
            drain: &drain,
        };
        change(&mut standing);
        skip_cause(standing, Timestamp::from_micros(0))
    }

    const ENABLED: &str = "snowpack.maintenance_enabled";

    #[test]
    fn enrolment_is_tri_state() {
        let opt_in = |standing: &mut Standing<'_>| standing.enrolment = Enrolment::OptIn;
        assert_eq!(cause(&[], |_| ()), None);
        assert_eq!(cause(&[], opt_in), Some(SkipCause::NotOptedIn));
        for mode in [opt_in, |_: &mut Standing<'_>| ()] {
            assert_eq!(cause(&[(ENABLED, "true")], mode), None);
            assert_eq!(cause(&[(ENABLED, "false")], mode), Some(SkipCause::OptedOut));
        }
    }

    #[test]
    fn compaction_skip_wins_over_everything() {
        let both = [(ENABLED, "true"), ("compaction_skip", "true")];
        let drained = Drain {
            enabled: true,
            reason: None,
        };
        assert_eq!(cause(&both, |_| ()), Some(SkipCause::CompactionSkip));
        let thresholds = thresholds(&both);
        let standing = Standing {
            thresholds: &thresholds,
            enrolment: Enrolment::OptIn,
            in_allowlist: false,
            lock: &Lock::default(),
            drain: &drained,
        };
        let now = Timestamp::from_micros(0);
        assert_eq!(skip_cause(standing, now), Some(SkipCause::CompactionSkip));
    }

    #[test]
    fn what_passes_by_itself_is_waited_for() {
        let completed = |seconds_ago: i64| Lock {
            upkeep: Upkeep {
                completed_at: Some(Timestamp::from_micros(0) - Duration::from_seconds(seconds_ago)),
                ..Upkeep::default()
            },
            ..Lock::default()
        };
        let lock_cause = |lock: &Lock| {
            let thresholds = thresholds(&[]);
            let standing = Standing {
                thresholds: &thresholds,
                enrolment: Enrolment::OptOut,
                in_allowlist: true,
                lock,
                drain: &Drain::default(),
            };
            skip_cause(standing, Timestamp::from_micros(0))
        };
        assert_eq!(lock_cause(&completed(6 * 3600)), None);
        assert_eq!(lock_cause(&completed(6 * 3600 - 1)), Some(SkipCause::Cadence));
        let held = Lock {
            holder: Some(JobId::from_u128(1)),
            ..completed(0)
        };
        assert_eq!(lock_cause(&held), Some(SkipCause::ActiveJob));
        assert_eq!(
            cause(&[], |standing| standing.in_allowlist = false),
            Some(SkipCause::NotInAllowlist)
        );
    }
}
