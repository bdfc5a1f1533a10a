//! The other writers. Each reads the table, decides what it means, commits at once, and tells the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt;
use iceberg::TableUpdate;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, MAIN_BRANCH, NestedField, Operation,
    PrimitiveType, Schema, SnapshotReference, SnapshotRetention, TableMetadata, Type,
};
use rand::Rng;
use rand::seq::{IndexedRandom, IteratorRandom};

use crate::commit::{Draft, NewFile};
use crate::files::{ID, KEY, LAST_UPDATED_ID, PART, ROW_ID_ID, deletes_of, parquet_of, puffin_of};
use crate::model::Flaw;
use crate::reader::{Found, Live, Values};
use crate::scheduler::WriterKind;
use crate::world::{World, lock};

/// Values of the columns `part` and `key`: few, so that deletes meet rows.
const PARTS: i64 = 3;
const KEYS: i64 = 4;

/// Lets another writer do its work, all of it at once. One that finds nothing to work on does nothing.
pub(crate) fn act(world: &Arc<World>, kind: WriterKind) {
    let work = async {
        let writer = Writer::new(world);
        match kind {
            WriterKind::Append => writer.append().await,
            WriterKind::DeletePositions => writer.delete_positions().await,
            WriterKind::DeleteKeys => writer.delete_keys().await,
            WriterKind::Overwrite => writer.overwrite().await,
            WriterKind::Update => writer.update().await,
            WriterKind::Compact => writer.compact().await,
            WriterKind::AddColumn => writer.add_column(),
            WriterKind::ChangeSpec => writer.change_spec(),
            WriterKind::RollBack => writer.roll_back(),
            WriterKind::Tag => writer.tag(),
        }
    };
    work.now_or_never().expect("other writers never wait");
}

/// One writer and the table as it found it.
struct Writer<'a> {
    world: &'a Arc<World>,
    metadata: Arc<TableMetadata>,
    live: Vec<Live>,
    rows: Vec<Found>,
    /// What the table is to hold afterwards.
    meant: BTreeMap<i64, Values>,
}

impl<'a> Writer<'a> {
    fn new(world: &'a Arc<World>) -> Self {
        let (_, metadata) = world.table();
        let head = metadata.current_snapshot();
        let live = head.map_or(Vec::new(), |head| world.live(&metadata, head));
        let rows = world.rows(&metadata, &live);
        let meant = rows
            .iter()
            .map(|found| (found.row.values[&ID], found.row.values.clone()));
        Self {
            world,
            meant: meant.collect(),
            metadata,
            live,
            rows,
        }
    }

    fn pick<T>(&self, from: impl IntoIterator<Item = T>) -> Option<T> {
        from.into_iter().choose(&mut lock(&self.world.scheduler).rng)
    }

    fn number(&self, range: std::ops::Range<i64>) -> i64 {
        lock(&self.world.scheduler).rng.random_range(range)
    }

    fn chance(&self, chance: f64) -> bool {
        lock(&self.world.scheduler).rng.random_bool(chance)
    }

    fn version(&self) -> FormatVersion {
        self.metadata.format_version()
    }

    fn data(&self) -> impl Iterator<Item = (usize, &Live)> {
        self.live.iter().enumerate().filter(|(_, file)| file.is_data())
    }

    fn rows_of(&self, file: usize) -> impl Iterator<Item = &Found> {
        self.rows.iter().filter(move |found| found.file == file)
    }

    fn draft(&self, operation: Operation) -> Draft<'a> {
        Draft::new(self.world, Arc::clone(&self.metadata), operation)
    }

    /// Takes a data file out, and in version 3 its deletion vector with it.
    fn remove(&self, draft: &mut Draft<'_>, data: &Live) {
        draft.remove(&data.file);
        let vectors = self.live.iter().filter(|file| is_vector_of(file, data));
        vectors.for_each(|vector| draft.remove(&vector.file));
    }

    fn new_row(&self, part: i64) -> Values {
        let id = {
            let mut model = lock(&self.world.model);
            model.next_id += 1;
            model.next_id
        };
        let mut row = Values::from([(ID, id), (PART, part), (KEY, self.number(0..KEYS))]);
        for field in self.metadata.current_schema().as_struct().fields().iter().skip(3) {
            if self.chance(0.7) {
                row.insert(field.id, id * 10);
            }
        }
        row
    }

    /// Rows of one partition of a spec.
    fn new_rows(&self, spec: i32) -> Vec<Values> {
        let (part, key) = (self.number(0..PARTS), self.number(0..KEYS));
        let mut rows: Vec<_> = (0..self.number(1..5)).map(|_| self.new_row(part)).collect();
        if self.is_by(spec, KEY) {
            for row in &mut rows {
                row.insert(KEY, key);
            }
        }
        rows
    }

    fn is_by(&self, spec: i32, column: i32) -> bool {
        let spec = self.metadata.partition_spec_by_id(spec).unwrap();
        spec.fields().iter().any(|field| field.source_id == column)
    }

    /// A data file of the table's current columns.
    fn data_file(&self, draft: &Draft<'_>, spec: i32, rows: &[Values], moved: bool) -> DataFile {
        let schema = self.metadata.current_schema();
        let mut columns: BTreeSet<i32> = schema.as_struct().fields().iter().map(|field| field.id).collect();
        if moved && self.version() == FormatVersion::V3 {
            columns.extend([ROW_ID_ID, LAST_UPDATED_ID]);
        }
        let partition = self.metadata.partition_spec_by_id(spec).unwrap();
        let values = partition
            .fields()
            .iter()
            .map(|field| rows[0][&field.source_id])
            .collect();
        draft.write(
            NewFile::data(spec, values, rows.len()),
            parquet_of(rows, &columns),
        )
    }

    async fn append(mut self) {
        let mut draft = self.draft(Operation::Append);
        let spec = self.metadata.default_partition_spec_id();
        let rows = self.new_rows(spec);
        let file = self.data_file(&draft, spec, &rows, false);
        draft.add(file, None);
        self.meant.extend(rows.into_iter().map(|row| (row[&ID], row)));
        self.commit(draft).await;
    }

    async fn delete_positions(mut self) {
        if self.version() == FormatVersion::V1 {
            return;
        }
        let Some(first) = self.pick(&self.rows).cloned() else {
            return;
        };
        let scope = &self.live[first.file];
        let wide = self.chance(0.4);
        let reached = |found: &&Found| {
            found.file == first.file || wide && self.live[found.file].shares_partition(scope)
        };
        let share = if self.chance(0.2) { 1.0 } else { 0.4 };
        let mut doomed: Vec<Found> = self.rows.iter().filter(reached).cloned().collect();
        doomed.retain(|found| {
            (found.file, found.position) == (first.file, first.position) || self.chance(share)
        });
        let mut draft = self.draft(Operation::Delete);
        match self.version() {
            FormatVersion::V3 => self.add_vectors(&mut draft, &doomed),
            _ => self.add_position_deletes(&mut draft, scope, &doomed),
        }
        doomed
            .iter()
            .for_each(|found| drop(self.meant.remove(&found.row.values[&ID])));
        self.commit(draft).await;
    }

    fn add_position_deletes(&self, draft: &mut Draft<'_>, scope: &Live, doomed: &[Found]) {
        let path = |found: &Found| self.live[found.file].path().to_owned();
        let positions = doomed.iter().map(|found| (path(found), found.position)).collect();
        let paths: BTreeSet<_> = doomed.iter().map(path).collect();
        let referenced = paths
            .first()
            .filter(|_| paths.len() == 1 && self.chance(0.5))
            .cloned();
        let new = NewFile {
            content: DataContentType::PositionDeletes,
            referenced,
            ..NewFile::beside(scope, doomed.len())
        };
        let backdated = lock(&self.world.model).flaw == Some(Flaw::BackdatedDeletes);
        let file = draft.write(new, deletes_of(&positions));
        draft.add(file, backdated.then_some(scope.sequence));
    }

    /// A vector for each file, with what was deleted before, in the place of the one it had.
    fn add_vectors(&self, draft: &mut Draft<'_>, doomed: &[Found]) {
        let files: BTreeSet<_> = doomed.iter().map(|found| found.file).collect();
        for file in files {
            let data = &self.live[file];
            let mut positions = self.world.deleted_positions(data, &self.live);
            positions.extend(
                doomed
                    .iter()
                    .filter(|found| found.file == file)
                    .map(|found| found.position),
            );
            let (puffin, offset, length) = puffin_of(&positions);
            let new = NewFile {
                content: DataContentType::PositionDeletes,
                format: DataFileFormat::Puffin,
                referenced: Some(data.path().to_owned()),
                blob: Some((offset, length)),
                ..NewFile::beside(data, positions.len())
            };
            let old = self.live.iter().filter(|file| is_vector_of(file, data));
            old.for_each(|vector| draft.remove(&vector.file));
            let backdated = lock(&self.world.model).flaw == Some(Flaw::BackdatedDeletes);
            let vector = draft.write(new, puffin);
            draft.add(vector, backdated.then_some(data.sequence));
        }
    }

    async fn delete_keys(mut self) {
        let Some(scope) = self.pick(self.data().map(|(_, file)| file)).cloned() else {
            return;
        };
        if self.version() == FormatVersion::V1 {
            return;
        }
        let column = if self.chance(0.7) { KEY } else { ID };
        let most = if column == KEY {
            KEYS
        } else {
            lock(&self.world.model).next_id + 1
        };
        let keys: BTreeSet<i64> = (0..self.number(1..3)).map(|_| self.number(0..most)).collect();
        let rows: Vec<Values> = keys.iter().map(|key| Values::from([(column, *key)])).collect();
        let mut draft = self.draft(Operation::Delete);
        let new = NewFile {
            content: DataContentType::EqualityDeletes,
            equality_ids: Some(vec![column]),
            ..NewFile::beside(&scope, rows.len())
        };
        let file = draft.write(new, parquet_of(&rows, &BTreeSet::from([column])));
        draft.add(file, None);
        let spec = self.metadata.partition_spec_by_id(scope.spec_id).unwrap();
        let everywhere = spec.is_unpartitioned();
        for found in &self.rows {
            let reached = everywhere || self.live[found.file].shares_partition(&scope);
            if reached && keys.contains(&found.row.values[&column]) {
                self.meant.remove(&found.row.values[&ID]);
            }
        }
        self.commit(draft).await;
    }

    async fn overwrite(mut self) {
        let Some(index) = self.pick(self.data()).map(|(index, _)| index) else {
            return;
        };
        let file = self.live[index].clone();
        let gone: Vec<_> = self.rows_of(index).map(|found| found.row.values[&ID]).collect();
        gone.iter().for_each(|id| drop(self.meant.remove(id)));
        let mut draft = self.draft(Operation::Overwrite);
        self.remove(&mut draft, &file);
        if self.chance(0.7) {
            let spec = self.metadata.default_partition_spec_id();
            let rows = self.new_rows(spec);
            let new = self.data_file(&draft, spec, &rows, false);
            draft.add(new, None);
            self.meant.extend(rows.into_iter().map(|row| (row[&ID], row)));
        }
        self.commit(draft).await;
    }

    async fn update(mut self) {
        let Some(file) = self.pick(&self.rows).map(|found| found.file) else {
            return;
        };
        let data = self.live[file].clone();
        let mut draft = self.draft(Operation::Overwrite);
        let by_key = self.is_by(data.spec_id, KEY);
        let mut rows = Vec::new();
        for (index, found) in self.rows_of(file).enumerate() {
            let mut row = moved(found);
            if index == 0 || self.chance(0.4) {
                row.remove(&LAST_UPDATED_ID);
                if !by_key {
                    row.insert(KEY, self.number(0..KEYS));
                }
            }
            rows.push(row);
        }
        for row in &rows {
            let mut values = row.clone();
            values.retain(|id, _| ![ROW_ID_ID, LAST_UPDATED_ID].contains(id));
            self.meant.insert(row[&ID], values);
        }
        self.remove(&mut draft, &data);
        let new = self.data_file(&draft, data.spec_id, &rows, true);
        draft.add(new, None);
        self.commit(draft).await;
    }

    /// Live rows of up to three files into one, under the sequence number of the newest snapshot.
    async fn compact(self) {
        let Some(scope) = self.pick(&self.rows).map(|found| self.live[found.file].clone()) else {
            return;
        };
        let files = self
            .data()
            .filter(|(_, file)| file.shares_partition(&scope))
            .take(3);
        let files: Vec<_> = files.map(|(index, file)| (index, file.clone())).collect();
        let rows = files.iter().flat_map(|(index, _)| self.rows_of(*index));
        let rows: Vec<_> = rows.map(moved).collect();
        let mut draft = self.draft(Operation::Replace);
        files.iter().for_each(|(_, file)| self.remove(&mut draft, file));
        if !rows.is_empty() {
            let new = self.data_file(&draft, scope.spec_id, &rows, true);
            draft.add(new, Some(self.metadata.last_sequence_number()));
        }
        self.commit(draft).await;
    }

    fn add_column(self) {
        let schema = self.metadata.current_schema();
        let id = self.metadata.last_column_id() + 1;
        let name = crate::files::column_name(id);
        let column = NestedField::optional(id, name, Type::Primitive(PrimitiveType::Long));
        let fields = schema
            .as_struct()
            .fields()
            .iter()
            .cloned()
            .chain([Arc::new(column)]);
        let schema = Schema::builder().with_fields(fields).build().unwrap();
        let current = TableUpdate::SetCurrentSchema { schema_id: -1 };
        self.world.apply(vec![TableUpdate::AddSchema { schema }, current]);
    }

    fn change_spec(self) {
        let ids = self.metadata.partition_specs_iter().map(|spec| spec.spec_id());
        let mut ids: Vec<_> = ids.collect();
        ids.sort_unstable();
        let spec_id = *ids
            .choose(&mut lock(&self.world.scheduler).rng)
            .expect("a table has a spec");
        self.world.apply(vec![TableUpdate::SetDefaultSpec { spec_id }]);
    }

    fn roll_back(self) {
        let Some(head) = self.metadata.current_snapshot() else {
            return;
        };
        let Some(snapshot_id) = head.parent_snapshot_id() else {
            return;
        };
        if self.metadata.snapshot_by_id(snapshot_id).is_none() {
            return;
        }
        self.set_ref(
            MAIN_BRANCH,
            snapshot_id,
            SnapshotRetention::branch(None, None, None),
        );
        let mut model = lock(&self.world.model);
        model.rows = model.kept[&snapshot_id].as_ref().clone();
    }

    fn tag(self) {
        if let Some(head) = self.metadata.current_snapshot_id() {
            let retention = SnapshotRetention::Tag { max_ref_age_ms: None };
            self.set_ref(&format!("tag-{head}"), head, retention);
        }
    }

    fn set_ref(&self, name: &str, snapshot_id: i64, retention: SnapshotRetention) {
        let (ref_name, reference) = (name.to_owned(), SnapshotReference::new(snapshot_id, retention));
        self.world
            .apply(vec![TableUpdate::SetSnapshotRef { ref_name, reference }]);
    }

    async fn commit(self, draft: Draft<'_>) {
        draft.commit().await;
        self.world.committed_by_writer(&self.meant);
    }
}

fn is_vector_of(file: &Live, data: &Live) -> bool {
    file.file.file_format() == DataFileFormat::Puffin
        && file.file.referenced_data_file().as_deref() == Some(data.path())
}

/// A row on its way to another file, its lineage taken along.
fn moved(found: &Found) -> Values {
    let mut row = found.row.values.clone();
    if let Some((id, updated)) = found.row.lineage {
        row.extend([(ROW_ID_ID, id), (LAST_UPDATED_ID, updated)]);
    }
    row
}
