//! What the table has to hold: the plain rows that the writers meant, now and in every snapshot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iceberg::spec::{Snapshot, TableMetadata};

use crate::files::ID;
use crate::reader::Row;
use crate::world::{World, lock};

/// Rows by id.
pub(crate) type Rows = BTreeMap<i64, Row>;

/// A fault put in on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The catalog applies a commit whatever was committed before it.
    NoCompareAndSet,
    /// Position deletes are committed under the sequence number of the file they apply to, so that nobody sees
    /// that they are new.
    BackdatedDeletes,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) rows: Rows,
    /// The rows of every snapshot there was.
    pub(crate) kept: HashMap<i64, Arc<Rows>>,
    pub(crate) next_id: i64,
    pub(crate) next_file: u64,
    pub(crate) flaw: Option<Flaw>,
}

impl World {
    /// The rows of a snapshot, each id once.
    pub(crate) fn read(&self, metadata: &TableMetadata, snapshot: &Snapshot) -> Rows {
        let live = self.live(metadata, snapshot);
        let mut rows = Rows::new();
        for found in self.rows(metadata, &live) {
            let twice = rows.insert(found.row.values[&ID], found.row);
            assert!(twice.is_none(), "a row is there twice: {twice:?}");
        }
        rows
    }

    /// Takes up what another writer committed: its rows are the ones it meant, and rows it left alone keep
    /// their lineage.
    pub(crate) fn committed_by_writer(&self, meant: &BTreeMap<i64, crate::reader::Values>) {
        let (_, metadata) = self.table();
        let head = metadata.current_snapshot().expect("something was committed");
        let rows = self.read(&metadata, head);
        let values: BTreeMap<_, _> = rows.iter().map(|(id, row)| (*id, row.values.clone())).collect();
        assert_eq!(&values, meant, "another writer got wrong what it meant");
        let mut model = lock(&self.model);
        for (id, row) in &rows {
            let before = model.rows.get(id).and_then(|before| before.lineage);
            let now = row.lineage.map(|(row_id, _)| row_id);
            assert!(
                before.is_none_or(|(row_id, _)| Some(row_id) == now),
                "row {id} lost its row id"
            );
        }
        model.rows = rows;
        let rows = Arc::new(model.rows.clone());
        model.kept.insert(head.snapshot_id(), rows);
    }

    /// Checks what the action committed: the rows are those of the model.
    pub(crate) fn committed_by_action(&self) {
        let (_, metadata) = self.table();
        let Some(head) = metadata.current_snapshot() else {
            return;
        };
        let rows = self.read(&metadata, head);
        let mut model = lock(&self.model);
        assert_same(&rows, &model.rows, "after a commit of the action");
        // Rows from before version 3 get their ids with any commit.
        model.rows.clone_from(&rows);
        model.kept.insert(head.snapshot_id(), Arc::new(rows));
    }

    /// Checks every snapshot that is kept.
    pub(crate) fn check_kept(&self) {
        let (_, metadata) = self.table();
        for snapshot in metadata.snapshots() {
            let expected = Arc::clone(&lock(&self.model).kept[&snapshot.snapshot_id()]);
            let rows = self.read(&metadata, snapshot);
            assert_same(&rows, &expected, "in a kept snapshot");
        }
    }
}

/// # Panics
/// Rows were lost, resurrected or changed.
fn assert_same(rows: &Rows, expected: &Rows, when: &str) {
    let lost: Vec<_> = expected.keys().filter(|id| !rows.contains_key(id)).collect();
    let resurrected: Vec<_> = rows.keys().filter(|id| !expected.contains_key(id)).collect();
    assert!(
        lost.is_empty() && resurrected.is_empty(),
        "{when}: lost rows {lost:?}, resurrected rows {resurrected:?}"
    );
    for (id, row) in rows {
        let expected = &expected[id];
        assert_eq!(row.values, expected.values, "{when}: row {id} changed");
        if expected.lineage.is_some() {
            assert_eq!(
                row.lineage, expected.lineage,
                "{when}: the lineage of row {id} changed"
            );
        }
    }
}
