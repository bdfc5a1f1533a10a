//! Deletion vectors: the deleted positions of one data file, kept as a blob of a Puffin file (spec, Deletion
//! Vectors; Puffin spec, `deletion-vector-v1`).

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::DataFile;
use roaring::RoaringTreemap;

use crate::file_error::FileError;

/// Opens the blob, after its length.
const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// Bytes of the length, of the magic number and of the checksum.
const WORD: usize = 4;

/// Reads the vector a manifest entry describes.
///
/// # Errors
/// The Puffin file cannot be read, or the blob is not what the entry says; names the file.
pub(crate) async fn read(io: &FileIO, file: &DataFile) -> Result<RoaringTreemap, FileError> {
    let blob = read_blob(io, file).await?;
    checked(file, &blob)
}

/// Reads the blob a manifest entry describes as it is stored, to be copied, and checks it.
///
/// # Errors
/// As [`read`].
pub(crate) async fn read_sound_blob(io: &FileIO, file: &DataFile) -> Result<Bytes, FileError> {
    let blob = read_blob(io, file).await?;
    checked(file, &blob)?;
    Ok(blob)
}

async fn read_blob(io: &FileIO, file: &DataFile) -> Result<Bytes, FileError> {
    let path = file.file_path();
    let (Some(offset), Some(size)) = (file.content_offset(), file.content_size_in_bytes()) else {
        return Err(FileError::corrupt(
            path,
            "its manifest entry does not say where the vector is",
        ));
    };
    let range = blob_range(offset, size, file.file_size_in_bytes()).ok_or_else(|| {
        FileError::corrupt(
            path,
            format!("a vector of {size} bytes at {offset} is not within it"),
        )
    })?;
    let unreadable = |error| FileError::read(path, error);
    let input = io.new_input(path).map_err(unreadable)?;
    let reader = input.reader().await.map_err(unreadable)?;
    reader.read(range).await.map_err(unreadable)
}

fn checked(file: &DataFile, blob: &[u8]) -> Result<RoaringTreemap, FileError> {
    let path = file.file_path();
    let positions = decode(blob).map_err(|reason| FileError::corrupt(path, reason))?;
    if positions.len() != file.record_count() {
        let reason = format!(
            "its vector deletes {} rows, and its manifest entry says {}",
            positions.len(),
            file.record_count()
        );
        return Err(FileError::corrupt(path, reason));
    }
    Ok(positions)
}

fn blob_range(offset: i64, size: i64, file_size: u64) -> Option<std::ops::Range<u64>> {
    let (start, size) = (u64::try_from(offset).ok()?, u64::try_from(size).ok()?);
    let end = start.checked_add(size)?;
    (end <= file_size).then_some(start..end)
}

/// Length (big-endian, of magic number and bitmap), magic number, bitmap in the portable format, CRC-32 of both
/// (big-endian).
fn decode(blob: &[u8]) -> Result<RoaringTreemap, String> {
    let word = |at: usize| -> Option<[u8; WORD]> { blob.get(at..at + WORD)?.try_into().ok() };
    let length = word(0).map(u32::from_be_bytes).ok_or("its vector is cut")? as usize;
    if blob.len() != WORD + length + WORD || length < MAGIC.len() {
        return Err(format!("its vector has {} bytes and says {length}", blob.len()));
    }
    let content = &blob[WORD..WORD + length];
    if content[..MAGIC.len()] != MAGIC {
        return Err("its vector does not start with the magic number".to_owned());
    }
    let mut checksum = flate2::Crc::new();
    checksum.update(content);
    if word(WORD + length).map(u32::from_be_bytes) != Some(checksum.sum()) {
        return Err("the checksum of its vector is wrong".to_owned());
    }
    let mut bitmap = &content[MAGIC.len()..];
    let positions = RoaringTreemap::deserialize_from(&mut bitmap)
        .map_err(|error| format!("its vector is no roaring bitmap: {error}"))?;
    if !bitmap.is_empty() {
        return Err(format!("{} bytes follow the bitmap of its vector", bitmap.len()));
    }
    Ok(positions)
}

/// The blob of a vector: what [`read`] takes apart. Runs of positions are kept as such, as Java does
/// (`BitmapPositionDeleteIndex.serialize`).
///
/// # Errors
/// The bitmap has more bytes than the length field can say.
pub(crate) fn encode(positions: &RoaringTreemap) -> Result<Vec<u8>, String> {
    let optimized = positions.bitmaps().map(|(key, bitmap)| {
        let mut bitmap = bitmap.clone();
        bitmap.optimize();
        (key, bitmap)
    });
    let optimized = RoaringTreemap::from_bitmaps(optimized);
    let length = MAGIC.len() + optimized.serialized_size();
    let stated = u32::try_from(length).map_err(|_| format!("a vector of {length} bytes is too large"))?;
    let mut blob = Vec::with_capacity(WORD + length + WORD);
    blob.extend(stated.to_be_bytes());
    blob.extend(MAGIC);
    optimized
        .serialize_into(&mut blob)
        .expect("memory takes every byte");
    let mut checksum = flate2::Crc::new();
    checksum.update(&blob[WORD..]);
    blob.extend(checksum.sum().to_be_bytes());
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blob(positions: &RoaringTreemap) -> Vec<u8> {
        encode(positions).unwrap()
    }

    /// Length, magic number, one bitmap of key 0, of which one array container of five values at offset 16.
    #[test]
    fn the_layout_is_that_of_the_specification() {
        let bitmap = RoaringTreemap::from_iter([1, 3, 5, 7, 9]);
        let expected = [
            0, 0, 0, 42, 0xD1, 0xD3, 0x39, 0x64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3A, 0x30, 0, 0, 1, 0,
            0, 0, 0, 0, 4, 0, 16, 0, 0, 0, 1, 0, 3, 0, 5, 0, 7, 0, 9, 0,
        ];
        assert_eq!(blob(&bitmap)[..expected.len()], expected);
    }

    proptest! {
        #[test]
        fn vectors_come_back(positions in prop::collection::vec(0..(1_u64 << 40), 0..200)) {
            let positions: RoaringTreemap = positions.into_iter().collect();
            prop_assert_eq!(decode(&blob(&positions)), Ok(positions));
        }

        #[test]
        fn runs_come_back_and_stay_small(start in 0..(1_u64 << 40), length in 1..200_000_u64) {
            let positions: RoaringTreemap = (start..start + length).collect();
            let blob = blob(&positions);
            prop_assert!(blob.len() < 200, "{} bytes", blob.len());
            prop_assert_eq!(decode(&blob), Ok(positions));
        }

        #[test]
        fn damage_is_noticed(at: prop::sample::Index, flip in 1_u8.., cut: bool) {
            let mut blob = blob(&RoaringTreemap::from_iter([1, 70_000, 1 << 35]));
            let at = at.index(blob.len());
            match cut {
                true => blob.truncate(at),
                false => blob[at] ^= flip,
            }
            prop_assert!(decode(&blob).is_err());
        }
    }
}
