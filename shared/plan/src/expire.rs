//! Which refs and snapshots expire (Java's `RemoveSnapshots`).
//!
//! - `main` stays; other refs go when their snapshot is older than their maximum age, or missing.
//! - Of every branch that stays, the newest snapshots stay as long as there are too few or they are young
//!   enough; the branch's own policy beats the defaults.
//! - A snapshot no ref leads to stays while it is young.
//! - Snapshots named by id go, unless a ref that stays points at one.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{MAIN_BRANCH, Snapshot, SnapshotReference, SnapshotRetention, TableMetadata};
use snowpack_catalog::is_in_table_bucket;
use snowpack_domain::{Duration, Expiry, Timestamp};

/// `history.expire.max-ref-age-ms`: the age refs may have unless they say themselves; default for ever.
const MAX_REF_AGE_PROPERTY: &str = "history.expire.max-ref-age-ms";
/// `gc.enabled`: whether files of the table may be deleted at all.
const GC_ENABLED_PROPERTY: &str = "gc.enabled";

/// What an expiry removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpiryPlan {
    /// Refs to remove, by name.
    pub refs: Vec<String>,
    /// Snapshots to remove, oldest first.
    pub snapshots: Vec<i64>,
}

impl ExpiryPlan {
    /// Whether nothing is to be removed.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty() && self.snapshots.is_empty()
    }
}

/// Why an expiry was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryError {
    /// A snapshot named by id does not exist.
    #[error("option expire_snapshots.snapshot_ids: the table has no snapshot {0}")]
    UnknownSnapshot(i64),
    /// A snapshot named by id is what a ref points at.
    #[error(
        "option expire_snapshots.snapshot_ids: snapshot {snapshot} cannot be expired, it is still referenced by {}",
        refs.join(", ")
    )]
    Referenced {
        /// The snapshot.
        snapshot: i64,
        /// The refs that point at it.
        refs: Vec<String>,
    },
    /// A table property cannot be read.
    #[error("table property {property}: {value:?} is not a number of milliseconds; correct or remove it")]
    Property {
        /// The property.
        property: &'static str,
        /// Its value.
        value: String,
    },
}

/// Whether files may be deleted: `gc.enabled` is not set or `true`, read as strictly as Java reads it.
pub(crate) fn gc_enabled(metadata: &TableMetadata) -> bool {
    let value = metadata.properties().get(GC_ENABLED_PROPERTY);
    value.is_none_or(|value| value.eq_ignore_ascii_case("true"))
}

/// Why no file of the table may be deleted by anyone but its storage; `None` when files may be deleted.
pub fn deletes_forbidden(metadata: &TableMetadata) -> Option<&'static str> {
    if is_in_table_bucket(metadata.location()) {
        return Some("S3 Tables removes unreferenced files by itself");
    }
    (!gc_enabled(metadata)).then_some("gc.enabled is false")
}

/// Decides what expires as of `now`. `refs` are all of the table's, `main` included.
///
/// # Errors
/// [`ExpiryError`] when a snapshot named by id is unknown or still referenced, or a property is malformed.
pub fn plan_expiry(
    metadata: &TableMetadata,
    refs: &BTreeMap<String, SnapshotReference>,
    settings: &Expiry,
    now: Timestamp,
) -> Result<ExpiryPlan, ExpiryError> {
    let history = History::of(metadata);
    let (kept_refs, expired_refs) = split_refs(metadata, &history, refs, now)?;
    check_named(&history, &kept_refs, &settings.snapshot_ids)?;
    let mut kept: HashSet<i64> = kept_refs
        .values()
        .map(|reference| reference.snapshot_id)
        .collect();
    for reference in kept_refs.values() {
        kept.extend(history.kept_of_branch(reference, settings, now));
    }
    kept.extend(history.young_and_unreferenced(&kept_refs, millis(settings.older_than)));
    for named in &settings.snapshot_ids {
        kept.remove(named);
    }
    let mut expired: Vec<_> = history
        .0
        .values()
        .filter(|snapshot| !kept.contains(&snapshot.snapshot_id()))
        .collect();
    expired.sort_by_key(|snapshot| (snapshot.timestamp_ms(), snapshot.snapshot_id()));
    Ok(ExpiryPlan {
        refs: expired_refs,
        snapshots: expired.iter().map(|snapshot| snapshot.snapshot_id()).collect(),
    })
}

type Refs<'a> = BTreeMap<&'a str, &'a SnapshotReference>;

fn split_refs<'a>(
    metadata: &TableMetadata,
    history: &History<'_>,
    refs: &'a BTreeMap<String, SnapshotReference>,
    now: Timestamp,
) -> Result<(Refs<'a>, Vec<String>), ExpiryError> {
    let default_age = default_ref_age(metadata)?;
    let mut kept = BTreeMap::new();
    let mut expired = Vec::new();
    for (name, reference) in refs {
        let snapshot = history.0.get(&reference.snapshot_id);
        let age_limit = max_ref_age(reference).unwrap_or(default_age);
        let is_young =
            |snapshot: &&Snapshot| millis(now).saturating_sub(snapshot.timestamp_ms()) <= age_limit;
        if name == MAIN_BRANCH || snapshot.is_some_and(is_young) {
            kept.insert(name.as_str(), reference);
        } else {
            expired.push(name.clone());
        }
    }
    Ok((kept, expired))
}

fn default_ref_age(metadata: &TableMetadata) -> Result<i64, ExpiryError> {
    let Some(value) = metadata.properties().get(MAX_REF_AGE_PROPERTY) else {
        return Ok(i64::MAX);
    };
    value.trim().parse().map_err(|_| ExpiryError::Property {
        property: MAX_REF_AGE_PROPERTY,
        value: value.clone(),
    })
}

fn max_ref_age(reference: &SnapshotReference) -> Option<i64> {
    match &reference.retention {
        SnapshotRetention::Branch { max_ref_age_ms, .. } | SnapshotRetention::Tag { max_ref_age_ms } => {
            *max_ref_age_ms
        }
    }
}

fn check_named(history: &History<'_>, kept_refs: &Refs<'_>, named: &[i64]) -> Result<(), ExpiryError> {
    for id in named {
        if !history.0.contains_key(id) {
            return Err(ExpiryError::UnknownSnapshot(*id));
        }
        let pointing = kept_refs
            .iter()
            .filter(|(_, reference)| reference.snapshot_id == *id);
        let refs: Vec<_> = pointing.map(|(name, _)| (*name).to_owned()).collect();
        if !refs.is_empty() {
            return Err(ExpiryError::Referenced { snapshot: *id, refs });
        }
    }
    Ok(())
}

/// The table's snapshots by id.
struct History<'a>(HashMap<i64, &'a Snapshot>);

impl<'a> History<'a> {
    fn of(metadata: &'a TableMetadata) -> Self {
        Self(
            metadata
                .snapshots()
                .map(|snapshot| (snapshot.snapshot_id(), snapshot.as_ref()))
                .collect(),
        )
    }

    /// A snapshot and its ancestors, as far back as they are known. Ends on a damaged history with a cycle.
    fn lineage(&self, head: i64) -> impl Iterator<Item = &'a Snapshot> {
        let parent = |snapshot: &&'a Snapshot| self.0.get(&snapshot.parent_snapshot_id()?).copied();
        std::iter::successors(self.0.get(&head).copied(), parent).take(self.0.len())
    }

    fn kept_of_branch(&self, reference: &SnapshotReference, settings: &Expiry, now: Timestamp) -> Vec<i64> {
        let SnapshotRetention::Branch {
            min_snapshots_to_keep,
            max_snapshot_age_ms,
            ..
        } = &reference.retention
        else {
            return Vec::new();
        };
        let at_least = min_snapshots_to_keep.and_then(|count| usize::try_from(count).ok());
        let at_least = at_least.unwrap_or(settings.retain_last as usize);
        let cutoff = max_snapshot_age_ms
            .map(|age| now - Duration::from_millis(age))
            .unwrap_or(settings.older_than);
        let lineage = self.lineage(reference.snapshot_id).enumerate();
        let kept = lineage
            .take_while(|(index, snapshot)| *index < at_least || snapshot.timestamp_ms() >= millis(cutoff));
        kept.map(|(_, snapshot)| snapshot.snapshot_id()).collect()
    }

    fn young_and_unreferenced(&self, kept_refs: &Refs<'_>, cutoff_ms: i64) -> Vec<i64> {
        let (branches, tags): (Vec<_>, Vec<_>) =
            kept_refs.values().copied().partition(|kept| kept.is_branch());
        let mut referenced = HashSet::new();
        for branch in branches {
            let mut lineage = self.lineage(branch.snapshot_id);
            // A snapshot met before has its ancestors in the set already.
            while lineage
                .next()
                .is_some_and(|snapshot| referenced.insert(snapshot.snapshot_id()))
            {}
        }
        referenced.extend(tags.iter().map(|tag| tag.snapshot_id));
        let young = self
            .0
            .values()
            .filter(|snapshot| snapshot.timestamp_ms() >= cutoff_ms);
        young
            .map(|snapshot| snapshot.snapshot_id())
            .filter(|id| !referenced.contains(id))
            .collect()
    }
}

/// Milliseconds since the epoch, rounded down, as snapshots count them.
fn millis(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(1000)
}

#[cfg(test)]
mod tests;
