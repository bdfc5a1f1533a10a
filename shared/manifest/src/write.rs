//! Writes one manifest: `iceberg` encodes it in memory, its container is finished, the storage gets it whole.

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, FormatVersion, ManifestContentType, ManifestEntry, ManifestFile, ManifestWriter,
    ManifestWriterBuilder, PartitionSpec, SchemaRef,
};
use iceberg::{Error, ErrorKind, Result};

use crate::names::{finished, stand_in_spec};

/// Where `iceberg` writes before the container is finished.
const DRAFT: &str = "memory:///manifest.avro";

/// A manifest being written.
pub struct ManifestSink {
    writer: ManifestWriter,
    drafts: FileIO,
    spec: PartitionSpec,
}

impl ManifestSink {
    /// A manifest of `content` files of one spec, made by `snapshot_id`. v1 has no delete files.
    ///
    /// # Errors
    /// [`ErrorKind::FeatureUnsupported`] for delete files in format version 1.
    pub fn new(
        version: FormatVersion,
        content: ManifestContentType,
        snapshot_id: i64,
        schema: SchemaRef,
        spec: PartitionSpec,
    ) -> Result<Self> {
        let drafts = FileIO::new_with_memory();
        let builder = ManifestWriterBuilder::new(
            drafts.new_output(DRAFT)?,
            Some(snapshot_id),
            schema,
            stand_in_spec(&spec),
        );
        let writer = match (version, content) {
            (FormatVersion::V1, ManifestContentType::Data) => builder.build_v1(),
            (FormatVersion::V1, ManifestContentType::Deletes) => {
                let reason = "format version 1 has no delete files";
                return Err(Error::new(ErrorKind::FeatureUnsupported, reason));
            }
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
            (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
        };
        Ok(Self { writer, drafts, spec })
    }

    /// A file this snapshot adds. Without a data sequence number it gets the commit's.
    ///
    /// # Errors
    /// [`ErrorKind::DataInvalid`] for a file of another content.
    pub fn add(&mut self, file: DataFile, sequence_number: Option<i64>) -> Result<()> {
        // A negative number makes the writer leave it to be inherited.
        self.writer.add_file(file, sequence_number.unwrap_or(-1))
    }

    /// A file that an earlier snapshot added, with all its numbers.
    ///
    /// # Errors
    /// [`ErrorKind::DataInvalid`] for a file of another content, or an entry without sequence numbers.
    pub fn keep(&mut self, entry: &ManifestEntry) -> Result<()> {
        self.writer.add_existing_file(
            entry.data_file().clone(),
            entry.snapshot_id().unwrap_or_default(),
            entry.sequence_number().unwrap_or_default(),
            entry.file_sequence_number,
        )
    }

    /// A file that this snapshot removes, with its sequence numbers.
    ///
    /// # Errors
    /// As [`ManifestSink::keep`].
    pub fn mark_deleted(&mut self, entry: &ManifestEntry) -> Result<()> {
        self.writer.add_delete_file(
            entry.data_file().clone(),
            entry.sequence_number().unwrap_or_default(),
            entry.file_sequence_number,
        )
    }

    /// Encodes the manifest without writing it, for callers that decide by its size.
    ///
    /// # Errors
    /// What encoding said.
    pub async fn encode(self) -> Result<EncodedManifest> {
        let listed = self.writer.write_manifest_file().await?;
        let draft = self.drafts.new_input(DRAFT)?.read().await?;
        let bytes =
            finished(&draft, &self.spec).map_err(|reason| Error::new(ErrorKind::Unexpected, reason))?;
        Ok(EncodedManifest { bytes, listed })
    }

    /// Writes the manifest and says how a manifest list lists it.
    ///
    /// # Errors
    /// What encoding or the storage said.
    pub async fn finish(self, io: &FileIO, path: &str) -> Result<ManifestFile> {
        self.encode().await?.write(io, path).await
    }
}

/// A manifest that is complete and not in storage yet.
#[derive(Debug)]
pub struct EncodedManifest {
    bytes: Vec<u8>,
    listed: ManifestFile,
}

impl EncodedManifest {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Writes it and says how a manifest list lists it.
    ///
    /// # Errors
    /// What the storage said.
    pub async fn write(self, io: &FileIO, path: &str) -> Result<ManifestFile> {
        let manifest_length = self.bytes.len() as i64;
        io.new_output(path)?.write(Bytes::from(self.bytes)).await?;
        Ok(ManifestFile {
            manifest_path: path.to_owned(),
            manifest_length,
            ..self.listed
        })
    }
}
