//! Version 3 of the fake table: an upgrade, and a writer that deletes rows as Spark does, with one vector for
//! each data file.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use iceberg::TableUpdate;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, ManifestContentType,
    ManifestFile, Operation,
};
use roaring::RoaringTreemap;
use snowpack_manifest::ManifestSink;
use snowpack_plan::LiveFile;
use uuid::Uuid;

use super::FakeTable;
use crate::deletes::vector::encode;

/// The file and offset of a vector or delete file.
pub(super) type Place = (String, Option<i64>);

pub(super) fn place(file: &DataFile) -> Place {
    (file.file_path().to_owned(), file.content_offset())
}

impl FakeTable {
    /// Goes over to format version 3.
    pub(crate) fn upgrade(&self) {
        let format_version = FormatVersion::V3;
        self.update(vec![TableUpdate::UpgradeFormatVersion { format_version }]);
    }

    /// Deletes positions of a data file: writes a vector with what was deleted before, in place of what is about
    /// this file only.
    pub(crate) async fn delete_by_vector(&self, target: &LiveFile, positions: &[usize]) {
        let (_, deletes) = self.live_now().await;
        let path = target.file.file_path();
        let mut all: BTreeSet<usize> = positions.iter().copied().collect();
        all.extend(self.deleted_positions(target, &deletes));
        let of_this_file = deletes.iter().filter(|delete| {
            delete.file.content_type() == DataContentType::PositionDeletes
                && delete.file.referenced_data_file().as_deref() == Some(path)
        });
        let doomed: HashSet<Place> = of_this_file.map(|delete| place(&delete.file)).collect();
        let vector = self.vector(target, &all).await;
        self.row_delta(target.spec_id, vector, &doomed).await;
    }

    /// Writes a vector that is not committed yet.
    async fn vector(&self, target: &LiveFile, positions: &BTreeSet<usize>) -> DataFile {
        let bitmap: RoaringTreemap = positions.iter().map(|position| *position as u64).collect();
        let blob = encode(&bitmap).unwrap();
        let path = format!(
            "{}/data/{}.puffin",
            self.now().metadata.location(),
            Uuid::new_v4()
        );
        let file = DataFileBuilder::default()
            .content(DataContentType::PositionDeletes)
            .file_path(path.clone())
            .file_format(DataFileFormat::Puffin)
            .partition_spec_id(target.spec_id)
            .partition(target.file.partition().clone())
            .record_count(positions.len() as u64)
            .file_size_in_bytes(blob.len() as u64)
            .referenced_data_file(Some(target.file.file_path().to_owned()))
            .content_offset(Some(0))
            .content_size_in_bytes(Some(blob.len() as i64))
            .build()
            .unwrap();
        let output = self.now().io.new_output(&path).unwrap();
        output.write(blob.into()).await.unwrap();
        let target = target.file.file_path();
        let positions = positions.iter().map(|position| (target.to_owned(), *position));
        self.learn(&file, positions.collect());
        file
    }

    /// Adds a vector and removes delete files in one commit.
    async fn row_delta(&self, spec: i32, vector: DataFile, doomed: &HashSet<Place>) {
        let base = self.now();
        let id = rand::random::<i64>() & i64::MAX;
        let mut manifests = Vec::new();
        for manifest in self.manifests(&base).await {
            manifests.push(self.without(manifest, id, doomed).await);
        }
        let path = format!("{}/metadata/{}.avro", base.metadata.location(), Uuid::new_v4());
        let mut sink = self.sink(id, spec);
        sink.add(vector, None).unwrap();
        manifests.insert(0, sink.finish(&base.io, &path).await.unwrap());
        self.commit(&base, id, Operation::Delete, manifests).await;
    }

    async fn without(&self, manifest: ManifestFile, id: i64, doomed: &HashSet<Place>) -> ManifestFile {
        let base = self.now();
        let content = self.manifests.load(&base.io, &manifest).await.unwrap();
        let is_doomed = |file: &DataFile| doomed.contains(&place(file));
        let live = || content.entries().iter().filter(|entry| entry.is_alive());
        if !live().any(|entry| is_doomed(entry.data_file())) {
            return manifest;
        }
        let mut sink = self.sink(id, manifest.partition_spec_id);
        for entry in live() {
            match is_doomed(entry.data_file()) {
                true => sink.mark_deleted(entry).unwrap(),
                false => sink.keep(entry).unwrap(),
            }
        }
        let path = format!("{}/metadata/{}.avro", base.metadata.location(), Uuid::new_v4());
        sink.finish(&base.io, &path).await.unwrap()
    }

    fn sink(&self, id: i64, spec: i32) -> ManifestSink {
        let metadata = self.now().metadata;
        let spec = metadata.partition_spec_by_id(spec).unwrap().as_ref().clone();
        let schema = Arc::clone(metadata.current_schema());
        ManifestSink::new(FormatVersion::V3, ManifestContentType::Deletes, id, schema, spec).unwrap()
    }
}
