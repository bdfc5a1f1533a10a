//! Decides which delete files apply to no live data file any more.
//!
//! Without reading a delete file only its reach is known, so the rules are conservative:
//! * an equality delete dangles once no live data file in its reach has a lower data sequence number;
//! * a position delete of one file dangles once that file is not live;
//! * a position delete of a partition dangles once no live data file of that partition has a data sequence
//!   number up to its own and was in the table when it was added. Files added later cannot be named by it,
//!   which is what lets rewritten files count as new although they keep an old data sequence number.

use std::collections::{HashMap, HashSet};

use super::scope::{Reach, ScopeKey};

/// Sequence numbers of a live file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sequence {
    /// Data sequence number.
    pub(crate) data: i64,
    /// File sequence number: when it was added; unknown for files of old writers.
    pub(crate) file: Option<i64>,
}

/// The data files that will be live after the commit.
#[derive(Debug, Default)]
pub(crate) struct LiveData {
    partitions: HashMap<ScopeKey, HashSet<Sequence>>,
    referenced: HashSet<String>,
    min_data_sequence: Option<i64>,
}

impl LiveData {
    /// Adds a live data file; `named` says whether some delete file names just this one.
    pub(crate) fn add(&mut self, path: &str, named: bool, scope: ScopeKey, sequence: Sequence) {
        if named {
            self.referenced.insert(path.to_owned());
        }
        self.partitions.entry(scope).or_default().insert(sequence);
        let lowest = self
            .min_data_sequence
            .map_or(sequence.data, |min| min.min(sequence.data));
        self.min_data_sequence = Some(lowest);
    }

    /// Whether a delete file of this reach and these sequence numbers applies to none of the files.
    pub(crate) fn leaves_dangling(&self, reach: &Reach, delete: Sequence) -> bool {
        match reach {
            Reach::File(path) => !self.referenced.contains(path),
            Reach::AllRows => self.min_data_sequence.is_none_or(|min| min >= delete.data),
            Reach::PartitionRows(scope) => self.none_in(scope, |data| data.data < delete.data),
            Reach::PartitionPositions(scope) => self.none_in(scope, |data| {
                data.data <= delete.data && !added_after(data, delete)
            }),
        }
    }

    /// Whether every live data file is newer than the delete, the rule by which Java's
    /// `MergingSnapshotProducer` drops delete files of the whole table on any commit.
    pub(crate) fn all_newer_than(&self, delete: Sequence) -> bool {
        delete.data > 0 && self.min_data_sequence.is_some_and(|min| delete.data < min)
    }

    fn none_in(&self, scope: &ScopeKey, applies: impl Fn(&Sequence) -> bool) -> bool {
        self.partitions
            .get(scope)
            .is_none_or(|files| !files.iter().any(applies))
    }
}

/// Whether the data file came into the table after the delete file.
fn added_after(data: &Sequence, delete: Sequence) -> bool {
    matches!((data.file, delete.file), (Some(data), Some(delete)) if data > delete)
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{Literal, Struct};

    use super::*;

    fn scope(value: i32) -> ScopeKey {
        ScopeKey::new(0, &Struct::from_iter([Some(Literal::int(value))]))
    }

    fn at(data: i64, file: i64) -> Sequence {
        Sequence {
            data,
            file: Some(file),
        }
    }

    fn live(files: &[(&str, i32, Sequence)]) -> LiveData {
        let mut data = LiveData::default();
        for (path, partition, sequence) in files {
            data.add(path, true, scope(*partition), *sequence);
        }
        data
    }

    #[test]
    fn equality_deletes_dangle_once_everything_in_reach_is_as_new() {
        let data = live(&[("a", 1, at(5, 9)), ("b", 2, at(3, 3))]);
        assert!(data.leaves_dangling(&Reach::PartitionRows(scope(1)), at(5, 5)));
        assert!(!data.leaves_dangling(&Reach::PartitionRows(scope(1)), at(6, 6)));
        assert!(!data.leaves_dangling(&Reach::AllRows, at(4, 4)));
        assert!(data.leaves_dangling(&Reach::AllRows, at(3, 3)));
        assert!(data.leaves_dangling(&Reach::PartitionRows(scope(7)), at(9, 9)));
    }

    #[test]
    fn position_deletes_of_a_partition_stay_while_a_file_they_may_name_is_live() {
        let rewritten = live(&[("new", 1, at(5, 9))]);
        assert!(rewritten.leaves_dangling(&Reach::PartitionPositions(scope(1)), at(5, 5)));
        let one_left = live(&[("new", 1, at(5, 9)), ("old", 1, at(2, 2))]);
        assert!(!one_left.leaves_dangling(&Reach::PartitionPositions(scope(1)), at(5, 5)));
        let unknown = Sequence { data: 5, file: None };
        let cautious = live(&[("new", 1, unknown)]);
        assert!(!cautious.leaves_dangling(&Reach::PartitionPositions(scope(1)), at(5, 5)));
        assert!(!rewritten.leaves_dangling(&Reach::PartitionPositions(scope(1)), unknown));
        let same_commit = live(&[("both", 1, at(5, 5))]);
        assert!(!same_commit.leaves_dangling(&Reach::PartitionPositions(scope(1)), at(5, 5)));
    }

    #[test]
    fn position_deletes_of_one_file_follow_that_file() {
        let data = live(&[("a", 1, at(5, 9))]);
        assert!(!data.leaves_dangling(&Reach::File("a".to_owned()), at(9, 9)));
        assert!(data.leaves_dangling(&Reach::File("b".to_owned()), at(9, 9)));
    }

    #[test]
    fn deletes_older_than_all_data_are_dropped_table_wide() {
        let data = live(&[("a", 1, at(5, 9))]);
        assert!(data.all_newer_than(at(4, 4)) && !data.all_newer_than(at(5, 5)));
        assert!(
            !data.all_newer_than(at(0, 0)),
            "written as v1: the number says nothing"
        );
        assert!(!LiveData::default().all_newer_than(at(4, 4)));
    }
}
