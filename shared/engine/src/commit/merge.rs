//! Which manifests a commit merges (Java's `ManifestMergeManager`), so that tables written often do not
//! collect ever more of them.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::ManifestFile;

/// `commit.manifest.target-size-bytes` of Iceberg: 8 MiB.
const TARGET_BYTES: u64 = 8 * 1024 * 1024;
/// `commit.manifest.min-count-to-merge`.
const MIN_COUNT: usize = 100;

/// The table's `commit.manifest*` properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MergePolicy {
    enabled: bool,
    target_bytes: u64,
    min_count: usize,
}

impl MergePolicy {
    /// The table's policy; a property that cannot be read counts as absent.
    pub(crate) fn of(properties: &HashMap<String, String>) -> Self {
        let get = |name: &str| properties.get(name).map(|text| text.trim());
        Self {
            enabled: get("commit.manifest-merge.enabled")
                .is_none_or(|text| !text.eq_ignore_ascii_case("false")),
            target_bytes: get("commit.manifest.target-size-bytes")
                .and_then(|text| text.parse().ok())
                .unwrap_or(TARGET_BYTES),
            min_count: get("commit.manifest.min-count-to-merge")
                .and_then(|text| text.parse().ok())
                .unwrap_or(MIN_COUNT),
        }
    }

    /// Groups manifests of one content, newest first, into what becomes one manifest each. Groups of one stay
    /// as they are. Manifests merge only within their spec, specs newest first, and the group that holds the
    /// newest manifest only once it has `min_count` members, so that most commits rewrite none.
    pub(crate) fn plan(&self, manifests: Vec<ManifestFile>) -> Vec<Vec<ManifestFile>> {
        let Some(first) = manifests.first().map(|manifest| manifest.manifest_path.clone()) else {
            return Vec::new();
        };
        if !self.enabled {
            return manifests.into_iter().map(|manifest| vec![manifest]).collect();
        }
        let mut by_spec: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for manifest in manifests {
            let spec = std::cmp::Reverse(manifest.partition_spec_id);
            by_spec.entry(spec).or_default().push(manifest);
        }
        let mut groups = Vec::new();
        for bin in by_spec.into_values().flat_map(|group| self.pack(group)) {
            let holds_first = bin.iter().any(|manifest| manifest.manifest_path == first);
            if holds_first && bin.len() < self.min_count {
                groups.extend(bin.into_iter().map(|manifest| vec![manifest]));
            } else {
                groups.push(bin);
            }
        }
        groups
    }

    /// Fills bins from the end with a lookback of one (`BinPacking.ListPacker.packEnd`): the bin that stays
    /// small is the first, and is merged next time.
    fn pack(&self, manifests: Vec<ManifestFile>) -> Vec<Vec<ManifestFile>> {
        let mut bins: Vec<Vec<ManifestFile>> = Vec::new();
        let mut room = 0;
        for manifest in manifests.into_iter().rev() {
            let size = u64::try_from(manifest.manifest_length).unwrap_or(0);
            match bins.last_mut() {
                Some(bin) if size <= room => {
                    room -= size;
                    bin.push(manifest);
                }
                _ => {
                    room = self.target_bytes.saturating_sub(size);
                    bins.push(vec![manifest]);
                }
            }
        }
        bins.reverse();
        for bin in &mut bins {
            bin.reverse();
        }
        bins
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::ManifestContentType;

    use super::*;

    fn manifest(name: &str, spec: i32, length: i64) -> ManifestFile {
        ManifestFile {
            manifest_path: name.to_owned(),
            manifest_length: length,
            partition_spec_id: spec,
            content: ManifestContentType::Data,
            sequence_number: 1,
            min_sequence_number: 1,
            added_snapshot_id: 1,
            added_files_count: Some(1),
            existing_files_count: Some(0),
            deleted_files_count: Some(0),
            added_rows_count: Some(1),
            existing_rows_count: Some(0),
            deleted_rows_count: Some(0),
            partitions: None,
            key_metadata: None,
            first_row_id: None,
        }
    }

    fn plan(policy: MergePolicy, manifests: &[(&str, i32, i64)]) -> Vec<Vec<String>> {
        let manifests = manifests
            .iter()
            .map(|(name, spec, length)| manifest(name, *spec, *length));
        let names = |bin: Vec<ManifestFile>| bin.into_iter().map(|m| m.manifest_path).collect();
        policy.plan(manifests.collect()).into_iter().map(names).collect()
    }

    fn policy(target_bytes: u64, min_count: usize) -> MergePolicy {
        MergePolicy {
            enabled: true,
            target_bytes,
            min_count,
        }
    }

    #[test]
    fn the_newest_bin_waits_for_company_and_older_ones_do_not() {
        let four = [("new", 0, 4), ("b", 0, 4), ("c", 0, 4), ("d", 0, 4)];
        assert_eq!(plan(policy(100, 5), &four), [["new"], ["b"], ["c"], ["d"]]);
        assert_eq!(plan(policy(100, 4), &four), [["new", "b", "c", "d"]]);
        assert_eq!(
            plan(policy(8, 100), &four),
            [vec!["new"], vec!["b"], vec!["c", "d"]]
        );
    }

    #[test]
    fn specs_merge_apart_and_large_manifests_stay_alone() {
        let mixed = [
            ("new", 1, 1),
            ("x", 0, 1),
            ("y", 1, 1),
            ("z", 0, 1),
            ("big", 0, 99),
        ];
        assert_eq!(
            plan(policy(10, 9), &mixed),
            [vec!["new"], vec!["y"], vec!["x", "z"], vec!["big"]]
        );
        let off = MergePolicy {
            enabled: false,
            ..policy(100, 2)
        };
        assert_eq!(plan(off, &mixed).len(), 5);
        assert!(plan(off, &[]).is_empty());
    }

    #[test]
    fn properties_are_obeyed() {
        let properties = HashMap::from([
            ("commit.manifest-merge.enabled".to_owned(), "false".to_owned()),
            ("commit.manifest.min-count-to-merge".to_owned(), "7".to_owned()),
        ]);
        let expected = MergePolicy {
            enabled: false,
            target_bytes: TARGET_BYTES,
            min_count: 7,
        };
        assert_eq!(MergePolicy::of(&properties), expected);
    }
}
