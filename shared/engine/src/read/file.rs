//! Opens one Parquet file with a single read of its tail, and serves column chunks from it.
//!
//! The size comes from the manifest: the storage is never asked for it, and a file of another size is found
//! out because its last bytes are not a Parquet footer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use iceberg::io::{FileIO, FileRead};
use iceberg::spec::{DataFile, DataFileFormat};
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{
    FooterTail, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataPushDecoder, ParquetMetaDataReader,
};

use super::sound::sound_now;
use crate::file_error::FileError;
use crate::write::RawRowGroup;

/// Read from the end at once. Holds the footer of all but the widest files, and whole small files, so those
/// cost one request.
const TAIL_BYTES: u64 = 1024 * 1024;

/// Column chunks nearer to each other than this are fetched together: one request costs more than the bytes.
const COALESCE_BYTES: u64 = 1024 * 1024;

/// Ranges of one row group fetched at the same time.
const CONCURRENT_RANGES: usize = 8;

/// An open Parquet file: its footer, its last bytes, and a handle for the rest.
pub(crate) struct ParquetFile {
    path: Arc<str>,
    metadata: Arc<ParquetMetaData>,
    handle: Arc<dyn FileRead>,
    tail: Bytes,
    tail_start: u64,
}

impl ParquetFile {
    /// Opens the file a manifest entry describes.
    ///
    /// # Errors
    /// Not Parquet, or encrypted; missing or unreadable; shorter than the manifest says, or without a valid
    /// footer. Always names the file.
    pub(crate) async fn open(io: &FileIO, file: &DataFile) -> Result<Self, FileError> {
        let path = file.file_path();
        if file.file_format() != DataFileFormat::Parquet {
            let reason = format!("only Parquet files can be read, this is {}", file.file_format());
            return Err(FileError::unsupported(path, reason));
        }
        if file.key_metadata().is_some_and(|key| !key.is_empty()) {
            return Err(FileError::unsupported(path, "it is encrypted"));
        }
        let size = file.file_size_in_bytes();
        if size < (2 * FOOTER_SIZE) as u64 {
            return Err(FileError::corrupt(
                path,
                format!("{size} bytes cannot be a Parquet file"),
            ));
        }
        let input = io.new_input(path).map_err(|e| FileError::read(path, e))?;
        let handle: Arc<dyn FileRead> =
            Arc::from(input.reader().await.map_err(|e| FileError::read(path, e))?);
        let tail_start = size.saturating_sub(TAIL_BYTES);
        let tail = read_exactly(handle.as_ref(), path, tail_start..size).await?;
        let metadata = read_footer(handle.as_ref(), path, size, &tail).await?;
        Ok(Self {
            path: path.into(),
            metadata: Arc::new(metadata),
            handle,
            tail,
            tail_start,
        })
    }

    /// The footer.
    pub(crate) fn metadata(&self) -> &Arc<ParquetMetaData> {
        &self.metadata
    }

    /// Reads the page index, where the file has one, into [`ParquetFile::metadata`].
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub(crate) async fn read_page_index(&mut self) -> Result<(), FileError> {
        let path = Arc::clone(&self.path);
        let corrupt = |e: ParquetError| FileError::corrupt(&path, e);
        let size = self.tail_start + self.tail.len() as u64;
        let footer = ParquetMetaData::clone(&self.metadata);
        let mut decoder = ParquetMetaDataPushDecoder::try_new_with_metadata(size, footer).map_err(corrupt)?;
        loop {
            match decoder.try_decode().map_err(corrupt)? {
                DecodeResult::Data(metadata) => {
                    self.metadata = Arc::new(metadata);
                    return Ok(());
                }
                DecodeResult::NeedsData(ranges) => {
                    let bytes = self.fetch_all(&ranges).await?;
                    decoder.push_ranges(ranges, bytes).map_err(corrupt)?;
                }
                DecodeResult::Finished => return Ok(()),
            }
        }
    }

    /// Reads a row group as it is.
    ///
    /// # Errors
    /// The storage fails, or the file is shorter than its footer says.
    pub(crate) async fn raw_row_group(&self, index: usize) -> Result<RawRowGroup, FileError> {
        let columns = self.metadata.row_group(index).columns().iter();
        let ranges: Vec<_> = columns
            .map(|column| column.byte_range())
            .map(|(start, length)| start..start.saturating_add(length))
            .collect();
        Ok(RawRowGroup {
            footer: Arc::clone(&self.metadata),
            index,
            columns: self.fetch_all(&ranges).await?,
        })
    }

    async fn fetch_all(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, FileError> {
        let merged = merge(ranges);
        let fetched: Vec<Bytes> = futures::stream::iter(merged.iter().cloned())
            .map(|range| self.fetch(range))
            .buffered(CONCURRENT_RANGES)
            .try_collect()
            .await?;
        Ok(ranges.iter().map(|range| cut(&merged, &fetched, range)).collect())
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Bytes, FileError> {
        if range.start >= self.tail_start {
            let start = usize::try_from(range.start - self.tail_start).unwrap_or(usize::MAX);
            let end = usize::try_from(range.end.saturating_sub(self.tail_start)).unwrap_or(usize::MAX);
            return match self.tail.get(start..end) {
                Some(_) => Ok(self.tail.slice(start..end)),
                None => Err(FileError::corrupt(
                    &self.path,
                    "its footer points past the end of the file",
                )),
            };
        }
        read_exactly(self.handle.as_ref(), &self.path, range).await
    }
}

/// Reads a range; fewer bytes than asked for mean the file is shorter than its manifest says.
async fn read_exactly(handle: &dyn FileRead, path: &str, range: Range<u64>) -> Result<Bytes, FileError> {
    let wanted = range.end.saturating_sub(range.start);
    let bytes = handle
        .read(range.clone())
        .await
        .map_err(|e| FileError::read(path, e))?;
    if bytes.len() as u64 != wanted {
        let reason = format!(
            "bytes {} to {} should be there, {} were",
            range.start,
            range.end,
            bytes.len()
        );
        return Err(FileError::corrupt(path, reason));
    }
    Ok(bytes)
}

async fn read_footer(
    handle: &dyn FileRead,
    path: &str,
    size: u64,
    tail: &Bytes,
) -> Result<ParquetMetaData, FileError> {
    let end = tail.len() - FOOTER_SIZE;
    let last: [u8; FOOTER_SIZE] = tail[end..]
        .try_into()
        .expect("the tail is at least a footer long");
    let footer = FooterTail::try_new(&last).map_err(|e| FileError::corrupt(path, e))?;
    if footer.is_encrypted_footer() {
        return Err(FileError::unsupported(path, "it is encrypted"));
    }
    let length = footer.metadata_length();
    let bytes = match end.checked_sub(length) {
        Some(start) => tail.slice(start..end),
        None => {
            let metadata_end = size - FOOTER_SIZE as u64;
            let start = metadata_end
                .checked_sub(length as u64)
                .ok_or_else(|| FileError::corrupt(path, "its footer is longer than the file"))?;
            read_exactly(handle, path, start..metadata_end).await?
        }
    };
    // Copied row groups pass the encodings of their pages on in full.
    let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
    sound_now(path, || {
        ParquetMetaDataReader::decode_metadata_with_options(&bytes, Some(&options))
            .map_err(|e| FileError::corrupt(path, e))
    })
}

impl AsyncFileReader for ParquetFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.fetch(range).map(|bytes| bytes.map_err(external)).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let this = &*self;
        async move { this.fetch_all(&ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        futures::future::ready(Ok(Arc::clone(&self.metadata))).boxed()
    }
}

/// Carries a [`FileError`] through parquet's reader; [`from_parquet`] takes it out again.
fn external(error: FileError) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// The error of a reader: the storage's own where there was one, else the file is corrupt.
pub(crate) fn from_parquet(path: &str, error: ParquetError) -> FileError {
    match error {
        ParquetError::External(source) => match source.downcast::<FileError>() {
            Ok(error) => *error,
            Err(source) => FileError::corrupt(path, source),
        },
        error => FileError::corrupt(path, error),
    }
}

/// Joins ranges that overlap or nearly touch, in order of their start.
fn merge(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(COALESCE_BYTES) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// The bytes of one requested range, out of the merged range that covers it.
fn cut(merged: &[Range<u64>], fetched: &[Bytes], range: &Range<u64>) -> Bytes {
    let index = merged.partition_point(|candidate| candidate.start <= range.start) - 1;
    let offset = usize::try_from(range.start - merged[index].start).expect("a fetched range fits memory");
    let length = usize::try_from(range.end - range.start).expect("a fetched range fits memory");
    fetched[index].slice(offset..offset + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_are_fetched_together_and_cut_apart_again() {
        let far = 10 * COALESCE_BYTES;
        let ranges = vec![far..far + 4, 0..4, 6..10];
        let merged = merge(&ranges);
        assert_eq!(merged, vec![0..10, far..far + 4]);
        let fetched = vec![Bytes::from_static(b"0123456789"), Bytes::from_static(b"abcd")];
        let cuts: Vec<Bytes> = ranges.iter().map(|range| cut(&merged, &fetched, range)).collect();
        assert_eq!(
            cuts,
            vec![Bytes::from_static(b"abcd"), "0123".into(), "6789".into()]
        );
        assert!(merge(&[]).is_empty());
    }
}
