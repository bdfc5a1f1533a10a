//! Writes the manifests and the manifest list of one commit attempt, and remembers every path before it is
//! created, so that a lost attempt leaves nothing behind.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, FormatVersion, Manifest, ManifestContentType, ManifestEntry, ManifestFile, ManifestListWriter,
    ManifestStatus, PartitionSpec, SchemaRef, Snapshot, TableMetadata,
};
use snowpack_catalog::LoadedTable;
use snowpack_manifest::{EncodedManifest, ManifestSink};
use uuid::Uuid;

use crate::file_error::FileError;

/// Entries in one new manifest (`SnapshotProducer.MIN_FILE_GROUP_SIZE`): about the default target size.
const ENTRIES_PER_MANIFEST: usize = 10_000;

/// Writes for one attempt.
#[derive(Debug)]
pub(crate) struct Workshop<'a> {
    io: &'a FileIO,
    metadata: &'a TableMetadata,
    folder: String,
    attempt: Uuid,
    manifests: usize,
    /// The snapshot being made.
    pub(crate) snapshot_id: i64,
    written: &'a mut Vec<String>,
}

/// A manifest list that is written.
#[derive(Debug)]
pub(crate) struct WrittenList {
    /// Where it is.
    pub(crate) path: String,
    /// The row ids it assigned; none before version 3.
    pub(crate) row_ids: Option<Range<u64>>,
}

/// A manifest without the files that were taken out of it.
#[derive(Debug)]
pub(crate) struct Filtered {
    /// The new manifest.
    pub(crate) manifest: ManifestFile,
    /// The files taken out.
    pub(crate) removed: Vec<DataFile>,
}

impl<'a> Workshop<'a> {
    /// Starts an attempt on top of `base`; paths go to `written`.
    pub(crate) fn new(base: &'a LoadedTable, written: &'a mut Vec<String>) -> Self {
        Self {
            io: &base.io,
            metadata: &base.metadata,
            folder: metadata_folder(&base.metadata),
            attempt: Uuid::new_v4(),
            manifests: 0,
            snapshot_id: new_snapshot_id(&base.metadata),
            written,
        }
    }

    /// Writes manifests of new files, each with its data sequence number, or inheriting the commit's when that
    /// is `None`.
    pub(crate) async fn add(
        &mut self,
        content: ManifestContentType,
        files: &[(DataFile, Option<i64>)],
        spec: &PartitionSpec,
    ) -> Result<Vec<ManifestFile>, FileError> {
        let mut manifests = Vec::new();
        for chunk in files.chunks(ENTRIES_PER_MANIFEST) {
            let schema = binding_schema(self.metadata, spec);
            let mut manifest = self.manifest(content, schema, spec.clone())?;
            for (file, sequence_number) in chunk {
                manifest.put(|sink| sink.add(file.clone(), *sequence_number))?;
            }
            manifests.push(manifest.finish(self.io).await?);
        }
        Ok(manifests)
    }

    /// Rewrites a manifest: files for which `doomed` holds become DELETED entries of this snapshot, the
    /// other live ones EXISTING with the numbers they have. Entries deleted before are dropped, as Java does.
    pub(crate) async fn filter(
        &mut self,
        content: ManifestContentType,
        manifest: &Manifest,
        doomed: impl Fn(&DataFile) -> bool,
    ) -> Result<Filtered, FileError> {
        // The manifest's own schema and spec: columns the spec needs may be gone from the table's.
        let meta = manifest.metadata();
        let mut filtered =
            self.manifest(content, Arc::clone(meta.schema()), meta.partition_spec().clone())?;
        let mut removed = Vec::new();
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            if doomed(entry.data_file()) {
                removed.push(entry.data_file().clone());
                filtered.put(|sink| sink.mark_deleted(entry))?;
            } else {
                filtered.put(|sink| sink.keep(entry))?;
            }
        }
        let manifest = filtered.finish(self.io).await?;
        Ok(Filtered { manifest, removed })
    }

    /// Merges manifests of one spec into one (`ManifestMergeManager.createManifest`): of DELETED entries
    /// only this snapshot's stay, entries this snapshot added stay ADDED, all others become EXISTING.
    pub(crate) async fn merge(
        &mut self,
        content: ManifestContentType,
        schema: SchemaRef,
        spec: &PartitionSpec,
        manifests: &[Arc<Manifest>],
    ) -> Result<ManifestFile, FileError> {
        let mut merged = self.manifest(content, schema, spec.clone())?;
        for entry in manifests.iter().flat_map(|manifest| manifest.entries()) {
            let ours = entry.snapshot_id() == Some(self.snapshot_id);
            match entry.status() {
                ManifestStatus::Deleted if !ours => {}
                ManifestStatus::Deleted => merged.put(|sink| sink.mark_deleted(entry))?,
                ManifestStatus::Added if ours => {
                    merged.put(|sink| sink.add(entry.data_file().clone(), entry.sequence_number()))?;
                }
                _ => merged.put(|sink| sink.keep(entry))?,
            }
        }
        merged.finish(self.io).await
    }

    /// Encodes a manifest of files that earlier snapshots added, with all their numbers.
    pub(crate) async fn encode_kept(
        &self,
        content: ManifestContentType,
        schema: &SchemaRef,
        spec: &PartitionSpec,
        entries: impl Iterator<Item = &ManifestEntry>,
    ) -> Result<EncodedManifest, FileError> {
        let version = self.metadata.format_version();
        let failed = |source| FileError::write(&self.folder, source);
        let (schema, spec) = (Arc::clone(schema), spec.clone());
        let mut sink = ManifestSink::new(version, content, self.snapshot_id, schema, spec).map_err(failed)?;
        for entry in entries {
            sink.keep(entry)
                .map_err(|source| FileError::write(entry.file_path(), source))?;
        }
        sink.encode().await.map_err(failed)
    }

    /// Writes an encoded manifest.
    pub(crate) async fn write(&mut self, manifest: EncodedManifest) -> Result<ManifestFile, FileError> {
        let path = self.next_path();
        let written = manifest.write(self.io, &path).await;
        written.map_err(|source| FileError::write(&path, source))
    }

    /// Writes the manifest list. In version 3 data manifests without a first row id get one, from the table's
    /// next row id on.
    pub(crate) async fn list(
        &mut self,
        manifests: Vec<ManifestFile>,
        parent: &Snapshot,
    ) -> Result<WrittenList, FileError> {
        let path = format!(
            "{}/snap-{}-1-{}.avro",
            self.folder, self.snapshot_id, self.attempt
        );
        self.written.push(path.clone());
        let failed = |source| FileError::write(&path, source);
        let output = self.io.new_output(&path).map_err(failed)?;
        let file = output.writer().await.map_err(failed)?;
        let parent = Some(parent.snapshot_id());
        let (id, sequence_number) = (self.snapshot_id, self.metadata.next_sequence_number());
        let first_row_id = self.metadata.next_row_id();
        let mut writer = match self.metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(file, id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(file, id, parent, sequence_number),
            FormatVersion::V3 => {
                ManifestListWriter::v3(file, id, parent, sequence_number, Some(first_row_id))
            }
        };
        writer.add_manifests(manifests.into_iter()).map_err(failed)?;
        let row_ids = writer.next_row_id().map(|next| first_row_id..next);
        writer.close().await.map_err(failed)?;
        Ok(WrittenList { path, row_ids })
    }

    /// Takes back manifests of this attempt that another one of it replaced; returns their paths.
    pub(crate) fn forget(&mut self, paths: &HashSet<&str>) -> Vec<String> {
        let (gone, left) = std::mem::take(self.written)
            .into_iter()
            .partition(|path| paths.contains(path.as_str()));
        *self.written = left;
        gone
    }

    fn manifest(
        &mut self,
        content: ManifestContentType,
        schema: SchemaRef,
        spec: PartitionSpec,
    ) -> Result<NamedSink, FileError> {
        let path = self.next_path();
        let version = self.metadata.format_version();
        match ManifestSink::new(version, content, self.snapshot_id, schema, spec) {
            Ok(sink) => Ok(NamedSink { path, sink }),
            Err(source) => Err(FileError::write(&path, source)),
        }
    }

    fn next_path(&mut self) -> String {
        let path = format!("{}/{}-m{}.avro", self.folder, self.attempt, self.manifests);
        self.manifests += 1;
        self.written.push(path.clone());
        path
    }
}

/// A manifest being written, and its path for errors.
struct NamedSink {
    path: String,
    sink: ManifestSink,
}

impl NamedSink {
    fn put(&mut self, entry: impl FnOnce(&mut ManifestSink) -> iceberg::Result<()>) -> Result<(), FileError> {
        entry(&mut self.sink).map_err(|source| FileError::write(&self.path, source))
    }

    async fn finish(self, io: &FileIO) -> Result<ManifestFile, FileError> {
        let finished = self.sink.finish(io, &self.path).await;
        finished.map_err(|source| FileError::write(&self.path, source))
    }
}

/// The current schema, or the newest that has every column a spec refers to when some were dropped since.
pub(crate) fn binding_schema(metadata: &TableMetadata, spec: &PartitionSpec) -> SchemaRef {
    let binds = |schema: &&SchemaRef| spec.partition_type(schema).is_ok();
    let current = metadata.current_schema();
    let newest = metadata
        .schemas_iter()
        .filter(binds)
        .max_by_key(|schema| schema.schema_id());
    let schema = Some(current).filter(binds).or(newest).unwrap_or(current);
    Arc::clone(schema)
}

/// Where metadata files go: `write.metadata.path`, else `metadata` under the table's location.
fn metadata_folder(metadata: &TableMetadata) -> String {
    match metadata.properties().get("write.metadata.path") {
        Some(path) => path.trim_end_matches('/').to_owned(),
        None => format!("{}/metadata", metadata.location().trim_end_matches('/')),
    }
}

/// A random positive id that no snapshot of the table has.
fn new_snapshot_id(metadata: &TableMetadata) -> i64 {
    loop {
        let id = rand::random::<i64>() & i64::MAX;
        if id > 0 && metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}
