//! Looks at every input file of a plan before anything is committed: is it there, and of the size its
//! manifest says? A table with a lost or cut file is left unchanged, even when groups commit one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use snowpack_plan::LiveFile;
use snowpack_service::ports::Supervisor;

use crate::error::EngineError;
use crate::file_error::FileError;
use crate::watch::watched;

/// Requests in flight: they carry no data, only latency is to be hidden.
const REQUESTS: usize = 32;

/// Checks that files exist with the right size, each once: a delete file may apply to many data files.
///
/// # Errors
/// [`EngineError::File`] naming the first file that does not, or the supervisor's stop.
pub(crate) async fn check_inputs<'a, S: Supervisor>(
    io: &FileIO,
    files: impl Iterator<Item = &'a Arc<LiveFile>>,
    supervisor: &S,
) -> Result<(), EngineError> {
    let sizes: BTreeMap<String, u64> = files
        .map(|live| (live.file.file_path().to_owned(), live.file.file_size_in_bytes()))
        .collect();
    let check = |(path, expected): (String, u64)| async move {
        let failed = |source| FileError::read(&path, source);
        let found = io
            .new_input(&path)
            .map_err(failed)?
            .metadata()
            .await
            .map_err(failed)?;
        if found.size == expected {
            return Ok(());
        }
        let reason = format!("it has {} bytes, and its manifest says {expected}", found.size);
        Err(FileError::corrupt(&path, reason))
    };
    let checks = futures::stream::iter(sizes).map(check).buffer_unordered(REQUESTS);
    watched(supervisor, checks.try_collect::<()>()).await??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat};

    use super::*;
    use crate::fake::FakeSupervisor;

    fn file(content: DataContentType, path: &str) -> Arc<LiveFile> {
        let file = DataFileBuilder::default()
            .content(content)
            .file_path(path.to_owned())
            .file_format(DataFileFormat::Parquet)
            .record_count(1)
            .file_size_in_bytes(5)
            .build()
            .unwrap();
        Arc::new(LiveFile {
            file,
            spec_id: 0,
            snapshot_id: 1,
            sequence_number: 1,
            file_sequence_number: Some(1),
        })
    }

    async fn check(data: &'static str, deletes: &'static str) -> Result<(), String> {
        let io = FileIO::new_with_memory();
        for (path, content) in [("memory:///data", data), ("memory:///deletes", deletes)] {
            if !content.is_empty() {
                io.new_output(path)
                    .unwrap()
                    .write(Bytes::from_static(content.as_bytes()))
                    .await
                    .unwrap();
            }
        }
        let files = [
            file(DataContentType::Data, "memory:///data"),
            file(DataContentType::PositionDeletes, "memory:///deletes"),
        ];
        check_inputs(&io, files.iter(), &FakeSupervisor::default())
            .await
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn missing_and_cut_files_are_named() {
        assert_eq!(check("12345", "12345").await, Ok(()));
        let cut = check("123", "12345").await.unwrap_err();
        assert!(
            cut.contains("memory:///data is truncated") && cut.contains("3 bytes"),
            "{cut}"
        );
        let missing = check("12345", "").await.unwrap_err();
        assert!(missing.contains("memory:///deletes"), "{missing}");
    }
}
