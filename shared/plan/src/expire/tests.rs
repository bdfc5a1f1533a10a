//! Java's rules case by case, and against a naive model on random histories.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fixture::{metadata_from, metadata_json};

/// A snapshot: id, parent, age in days.
type Node = (i64, Option<i64>, i64);

const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 1_700_000_000_000;
const NOW: Timestamp = Timestamp::from_micros(NOW_MS * 1000);

fn metadata(nodes: &[Node], properties: &[(&str, &str)]) -> TableMetadata {
    let mut json = metadata_json();
    let snapshots = nodes.iter().map(|(id, parent, days)| {
        let mut snapshot = json!({
            "snapshot-id": id, "sequence-number": id, "timestamp-ms": NOW_MS - days * DAY_MS,
            "manifest-list": format!("s3://b/{id}"), "summary": {"operation": "append"}
        });
        if let Some(parent) = parent {
            snapshot["parent-snapshot-id"] = (*parent).into();
        }
        snapshot
    });
    json["snapshots"] = snapshots.collect();
    json["last-updated-ms"] = NOW_MS.into();
    json["properties"] = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    metadata_from(&json)
}

fn branch(snapshot: i64) -> SnapshotReference {
    SnapshotReference::new(snapshot, SnapshotRetention::branch(None, None, None))
}

fn tag(snapshot: i64, max_ref_age_ms: Option<i64>) -> SnapshotReference {
    SnapshotReference::new(snapshot, SnapshotRetention::Tag { max_ref_age_ms })
}

fn refs(pairs: &[(&str, SnapshotReference)]) -> BTreeMap<String, SnapshotReference> {
    pairs
        .iter()
        .map(|(name, reference)| ((*name).to_owned(), reference.clone()))
        .collect()
}

fn settings(older_than_days: i64, retain_last: u32) -> Expiry {
    Expiry {
        older_than: NOW - Duration::from_days(older_than_days),
        retain_last,
        snapshot_ids: Vec::new(),
        clean_expired_metadata: false,
    }
}

/// 1 <- 2 <- 3 <- 4, one a day, the newest today.
const LINE: [Node; 4] = [(1, None, 3), (2, Some(1), 2), (3, Some(2), 1), (4, Some(3), 0)];

fn expired(nodes: &[Node], references: &[(&str, SnapshotReference)], settings: &Expiry) -> Vec<i64> {
    plan_expiry(&metadata(nodes, &[]), &refs(references), settings, NOW)
        .unwrap()
        .snapshots
}

#[test]
fn old_snapshots_go_but_the_last_ones_and_those_at_the_cutoff_stay() {
    let main = [("main", branch(4))];
    assert_eq!(expired(&LINE, &main, &settings(2, 1)), [1]);
    assert_eq!(expired(&LINE, &main, &settings(0, 3)), [1]);
    assert_eq!(expired(&LINE, &main, &settings(0, 9)), Vec::<i64>::new());
    let newer = Expiry {
        older_than: NOW + Duration::from_days(9),
        ..settings(0, 1)
    };
    assert_eq!(expired(&LINE, &main, &newer), [1, 2, 3]);
}

#[test]
fn a_branchs_own_policy_beats_the_options() {
    let own = |count, age| SnapshotReference::new(4, SnapshotRetention::branch(count, age, None));
    assert_eq!(
        expired(&LINE, &[("main", own(Some(2), None))], &settings(-1, 1)),
        [1, 2]
    );
    assert_eq!(
        expired(&LINE, &[("main", own(None, Some(2 * DAY_MS)))], &settings(-1, 1)),
        [1]
    );
}

#[test]
fn tags_and_branches_keep_what_they_lead_to() {
    let tagged = [("main", branch(4)), ("t", tag(2, None))];
    assert_eq!(expired(&LINE, &tagged, &settings(0, 1)), [1, 3]);
    let audit = [("main", branch(4)), ("audit", branch(2))];
    assert_eq!(expired(&LINE, &audit, &settings(0, 2)), Vec::<i64>::new());
}

#[test]
fn refs_expire_by_their_own_age_or_the_tables_main_never() {
    let references = refs(&[
        ("main", branch(1)),
        ("own", tag(3, Some(1))),
        ("table", tag(2, None)),
        ("young", branch(4)),
    ]);
    let metadata = metadata(&LINE, &[("history.expire.max-ref-age-ms", "86400000")]);
    let plan = plan_expiry(&metadata, &references, &settings(0, 1), NOW).unwrap();
    assert_eq!(
        plan,
        ExpiryPlan {
            refs: vec!["own".into(), "table".into()],
            snapshots: vec![2, 3]
        }
    );
}

#[test]
fn young_snapshots_without_a_ref_stay() {
    let nodes = [(1, None, 9), (2, Some(1), 8), (3, Some(1), 2), (4, Some(1), 8)];
    assert_eq!(expired(&nodes, &[("main", branch(2))], &settings(5, 1)), [1, 4]);
    // A tag does not hide the ancestors of a branch that passes through its snapshot.
    let tagged = [("a", tag(2, None)), ("main", branch(4))];
    assert_eq!(expired(&LINE, &tagged, &settings(9, 1)), Vec::<i64>::new());
    assert_eq!(expired(&LINE, &tagged, &settings(-1, 1)), [1, 3]);
}

#[test]
fn named_snapshots_go_unless_a_ref_points_at_them() {
    let table = metadata(&LINE, &[]);
    let main = refs(&[("main", branch(4)), ("release", tag(4, None))]);
    let named = |id| Expiry {
        snapshot_ids: vec![id],
        ..settings(9, 9)
    };
    assert_eq!(plan_expiry(&table, &main, &named(2), NOW).unwrap().snapshots, [2]);
    assert_eq!(
        plan_expiry(&table, &main, &named(7), NOW),
        Err(ExpiryError::UnknownSnapshot(7))
    );
    let error = plan_expiry(&table, &main, &named(4), NOW).unwrap_err();
    assert!(
        error.to_string().ends_with("still referenced by main, release"),
        "{error}"
    );
}

#[test]
fn a_malformed_property_is_named() {
    let table = metadata(&LINE, &[("history.expire.max-ref-age-ms", "soon")]);
    let error = plan_expiry(&table, &refs(&[("main", branch(4))]), &settings(0, 1), NOW).unwrap_err();
    assert!(error.to_string().contains("history.expire.max-ref-age-ms"));
}

#[test]
fn garbage_collection_is_on_unless_switched_off() {
    for (value, enabled) in [("true", true), ("TRUE", true), ("false", false), ("no", false)] {
        assert_eq!(
            gc_enabled(&metadata(&[], &[("gc.enabled", value)])),
            enabled,
            "{value}"
        );
    }
    assert!(gc_enabled(&metadata(&[], &[])));
}

/// The rules one by one, each over the whole table.
fn naive(nodes: &[Node], references: &BTreeMap<String, SnapshotReference>, settings: &Expiry) -> ExpiryPlan {
    let find = |id: i64| nodes.iter().find(|node| node.0 == id);
    let lineage = |head: i64| {
        let mut found = Vec::new();
        let mut next = find(head);
        while let Some(node) = next {
            found.push(*node);
            next = node.1.and_then(find);
        }
        found
    };
    let cutoff_days = (NOW - settings.older_than).as_micros() / 1000 / DAY_MS;
    let is_kept = |name: &str, reference: &SnapshotReference| {
        let age = find(reference.snapshot_id).map(|node| node.2 * DAY_MS);
        let limit = max_ref_age(reference).unwrap_or(i64::MAX);
        name == "main" || age.is_some_and(|age| age <= limit)
    };
    let kept_refs: Vec<_> = references
        .iter()
        .filter(|(name, reference)| is_kept(name, reference))
        .collect();
    let must_stay = |node: &&Node| {
        kept_refs.iter().any(|(_, reference)| match &reference.retention {
            SnapshotRetention::Tag { .. } => reference.snapshot_id == node.0,
            SnapshotRetention::Branch {
                min_snapshots_to_keep,
                max_snapshot_age_ms,
                ..
            } => {
                let least =
                    min_snapshots_to_keep.map_or(settings.retain_last as usize, |count| count as usize);
                let days = max_snapshot_age_ms.map_or(cutoff_days, |age| age / DAY_MS);
                let line = lineage(reference.snapshot_id);
                let position = line.iter().position(|found| found.0 == node.0);
                position.is_some_and(|at| {
                    at == 0
                        || line[..=at]
                            .iter()
                            .enumerate()
                            .all(|(index, found)| index < least || found.2 <= days)
                })
            }
        })
    };
    let is_reachable = |node: &&Node| {
        kept_refs.iter().any(|(_, reference)| {
            let line = lineage(reference.snapshot_id);
            let length = if reference.is_branch() { line.len() } else { 1 };
            line.iter().take(length).any(|found| found.0 == node.0)
        })
    };
    let mut gone: Vec<_> = nodes
        .iter()
        .filter(|node| !must_stay(node) && (is_reachable(node) || node.2 > cutoff_days))
        .collect();
    gone.sort_by_key(|node| (-node.2, node.0));
    ExpiryPlan {
        refs: references
            .iter()
            .filter(|(name, reference)| !is_kept(name, reference))
            .map(|(name, _)| name.clone())
            .collect(),
        snapshots: gone.iter().map(|node| node.0).collect(),
    }
}

fn reference(snapshots: i64) -> impl Strategy<Value = SnapshotReference> {
    let days = || prop::option::of((0_i64..12).prop_map(|days| days * DAY_MS));
    let retention = prop_oneof![
        days().prop_map(|max_ref_age_ms| SnapshotRetention::Tag { max_ref_age_ms }),
        (prop::option::of(1..5_i32), days(), days())
            .prop_map(|(count, age, ref_age)| SnapshotRetention::branch(count, age, ref_age)),
    ];
    (1..=snapshots, retention).prop_map(|(id, retention)| SnapshotReference::new(id, retention))
}

/// Trees of snapshots with random parents (now and then an unknown one) and any clock skew, and refs.
fn history() -> impl Strategy<Value = (Vec<Node>, BTreeMap<String, SnapshotReference>)> {
    (1_i64..15).prop_flat_map(|count| {
        let nodes = (1..=count)
            .map(|id| (Just(id), prop::option::of(0..id), 0_i64..12))
            .collect::<Vec<_>>();
        let others = prop::collection::btree_map("[a-d]", reference(count), 0..4);
        (nodes, others, 1..=count).prop_map(|(nodes, mut references, head)| {
            references.insert("main".to_owned(), branch(head));
            (nodes, references)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn agrees_with_the_naive_model((nodes, references) in history(), days in 0_i64..12, retain_last in 1_u32..5) {
        let settings = settings(days, retain_last);
        let plan = plan_expiry(&metadata(&nodes, &[]), &references, &settings, NOW).unwrap();
        prop_assert_eq!(plan, naive(&nodes, &references, &settings));
    }
}
