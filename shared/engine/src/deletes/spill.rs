//! Keys on disk: parted by their hash into files, of which each can be worked on by itself.
//!
//! The files have no names, so that the system takes them back however the process ends.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use super::key_table::{KeyTable, key_hash};

/// Files that keys are parted into. A full scratch space makes files of 16 MiB, whose keys take a few times that
/// in memory: less than the deletes of a group may.
pub(super) const PARTITIONS: usize = 64;

/// Scratch space of one spill, in bytes. A group spills keys and rows, each once, and is done with both before
/// its sort starts; keys of the whole table are spilled once in an action. With what the sorts of two groups
/// may take that stays below the 10 GiB of a Lambda function.
pub(crate) const SPILL_BYTES: u64 = 1024 * 1024 * 1024;

/// Bytes collected before a file is written to. One spill has [`PARTITIONS`] such buffers.
const BUFFER_BYTES: usize = 32 * 1024;

/// Bits of a [`Filter`]: 16 MiB, in which ten million keys leave 93 % of other keys out.
const FILTER_BITS: usize = 1 << 27;

/// Why keys could not be set aside on disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpillError {
    /// The scratch space is used up.
    #[error(
        "the equality deletes need more than the {0} bytes of scratch space given for them; lower \
         rewrite_data_files.max-file-group-size-bytes, or apply them with Spark's rewrite_data_files"
    )]
    Full(u64),
    /// The scratch directory cannot be written or read.
    #[error("equality deletes could not be set aside in the directory for temporary files: {0}")]
    Io(#[from] io::Error),
}

/// Which file a key belongs to. Not by the bits a hash table looks at, or its keys would collide.
fn partition(hash: u64) -> usize {
    (hash >> 40) as usize % PARTITIONS
}

/// Records being set aside: keys with `N` numbers each.
pub(super) struct Spill<const N: usize> {
    files: Vec<BufWriter<File>>,
    limit_bytes: u64,
    used_bytes: u64,
}

impl<const N: usize> Spill<N> {
    /// An empty spill.
    ///
    /// # Errors
    /// The scratch directory cannot be written.
    pub(super) fn create(limit_bytes: u64) -> Result<Self, SpillError> {
        let file = |_| Ok(BufWriter::with_capacity(BUFFER_BYTES, tempfile::tempfile()?));
        Ok(Self {
            files: (0..PARTITIONS).map(file).collect::<io::Result<_>>()?,
            limit_bytes,
            used_bytes: 0,
        })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// The scratch space is used up or cannot be written.
    pub(super) fn push(
        &mut self,
        hash: u64,
        set: u32,
        key: &[u8],
        numbers: [u64; N],
    ) -> Result<(), SpillError> {
        let length = u32::try_from(key.len()).expect("a key is one row of a batch, less than 4 GiB");
        self.used_bytes += key.len() as u64 + 8 * (1 + N as u64);
        if self.used_bytes > self.limit_bytes {
            return Err(SpillError::Full(self.limit_bytes));
        }
        let file = &mut self.files[partition(hash)];
        file.write_all(&set.to_le_bytes())?;
        file.write_all(&length.to_le_bytes())?;
        for number in numbers {
            file.write_all(&number.to_le_bytes())?;
        }
        Ok(file.write_all(key)?)
    }

    /// Ends writing.
    ///
    /// # Errors
    /// The scratch space cannot be written.
    pub(super) fn seal(self) -> Result<Sealed<N>, SpillError> {
        let files = self
            .files
            .into_iter()
            .map(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
        Ok(Sealed {
            files: files.collect::<io::Result<_>>()?,
        })
    }
}

/// Records set aside, to be read as often as needed.
pub(super) struct Sealed<const N: usize> {
    files: Vec<File>,
}

impl<const N: usize> Sealed<N> {
    /// Reads the records of one of [`PARTITIONS`] in the order they were written.
    pub(super) fn read(&self, partition: usize) -> Records<'_, N> {
        let file = &self.files[partition];
        Records {
            reader: BufReader::with_capacity(BUFFER_BYTES, Cursor { file, at: 0 }),
            key: Vec::new(),
        }
    }
}

/// Reads a file that others read at the same time.
struct Cursor<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// A record: the key of a set, and its numbers.
pub(super) struct Record<'a, const N: usize> {
    pub(super) set: u32,
    pub(super) key: &'a [u8],
    pub(super) numbers: [u64; N],
}

/// The records of one file.
pub(super) struct Records<'a, const N: usize> {
    reader: BufReader<Cursor<'a>>,
    key: Vec<u8>,
}

impl<const N: usize> Records<'_, N> {
    /// The next record.
    ///
    /// # Errors
    /// The scratch space cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_, N>>, SpillError> {
        let mut head = [0; 4];
        match self.reader.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let set = u32::from_le_bytes(head);
        self.reader.read_exact(&mut head)?;
        self.key.resize(u32::from_le_bytes(head) as usize, 0);
        let mut numbers = [0; N];
        for number in &mut numbers {
            let mut bytes = [0; 8];
            self.reader.read_exact(&mut bytes)?;
            *number = u64::from_le_bytes(bytes);
        }
        self.reader.read_exact(&mut self.key)?;
        let key = &self.key;
        Ok(Some(Record { set, key, numbers }))
    }
}

/// Tells for most keys that they are in no set, so that their rows need not be set aside.
struct Filter(Vec<u64>);

impl Filter {
    fn new() -> Self {
        Self(vec![0; FILTER_BITS / 64])
    }

    fn place(hash: u64) -> (usize, u64) {
        let bit = hash as usize % FILTER_BITS;
        (bit / 64, 1 << (bit % 64))
    }

    fn add(&mut self, hash: u64) {
        let (word, bit) = Self::place(hash);
        self.0[word] |= bit;
    }

    fn may_have(&self, hash: u64) -> bool {
        let (word, bit) = Self::place(hash);
        self.0[word] & bit != 0
    }
}

/// Deleted keys being set aside.
pub(super) struct KeySpill {
    spill: Spill<1>,
    filter: Filter,
}

impl KeySpill {
    /// Sets aside the keys of a table that has become too large.
    ///
    /// # Errors
    /// As [`Spill::push`].
    pub(super) fn of(table: &KeyTable, limit_bytes: u64) -> Result<Self, SpillError> {
        let mut spill = Self {
            spill: Spill::create(limit_bytes)?,
            filter: Filter::new(),
        };
        for (set, key, sequence_number) in table.iter() {
            spill.add(set, key, sequence_number)?;
        }
        Ok(spill)
    }

    /// Notes that a key is deleted at a data sequence number.
    ///
    /// # Errors
    /// As [`Spill::push`].
    pub(super) fn add(&mut self, set: u32, key: &[u8], sequence_number: i64) -> Result<(), SpillError> {
        let hash = key_hash(set, key);
        self.filter.add(hash);
        self.spill.push(hash, set, key, [sequence_number.cast_unsigned()])
    }

    /// Ends writing.
    ///
    /// # Errors
    /// As [`Spill::seal`].
    pub(super) fn seal(self) -> Result<SpilledKeys, SpillError> {
        Ok(SpilledKeys {
            keys: self.spill.seal()?,
            filter: self.filter,
        })
    }
}

/// Deleted keys on disk.
pub(super) struct SpilledKeys {
    keys: Sealed<1>,
    filter: Filter,
}

impl SpilledKeys {
    /// Whether a key of this hash may be deleted.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.filter.may_have(hash)
    }

    /// The keys of one of [`PARTITIONS`].
    ///
    /// # Errors
    /// The scratch space cannot be read.
    pub(super) fn load(&self, partition: usize) -> Result<KeyTable, SpillError> {
        let mut table = KeyTable::default();
        let mut records = self.keys.read(partition);
        while let Some(record) = records.next()? {
            let [sequence_number] = record.numbers;
            table.add(record.set, record.key, sequence_number.cast_signed());
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_disk_each_in_one_file() {
        let mut table = KeyTable::default();
        table.add(0, b"early", 7);
        let mut spill = KeySpill::of(&table, SPILL_BYTES).unwrap();
        for number in 0..1000_u32 {
            spill
                .add(number % 3, &number.to_be_bytes(), i64::from(number))
                .unwrap();
            spill.add(number % 3, &number.to_be_bytes(), -1).unwrap();
        }
        let keys = spill.seal().unwrap();
        let tables: Vec<_> = (0..PARTITIONS)
            .map(|partition| keys.load(partition).unwrap())
            .collect();
        assert_eq!(
            tables.iter().map(|table| table.iter().count()).sum::<usize>(),
            1001
        );
        assert!(tables.iter().filter(|table| table.iter().count() > 0).count() > PARTITIONS / 2);
        let hash = key_hash(0, b"early");
        assert!(keys.may_have(hash) && tables[partition(hash)].newest(0, b"early") == Some(7));
        let hash = key_hash(1, &1_u32.to_be_bytes());
        assert_eq!(tables[partition(hash)].newest(1, &1_u32.to_be_bytes()), Some(1));
    }

    #[test]
    fn scratch_space_is_bounded() {
        let mut spill = Spill::<2>::create(100).unwrap();
        spill.push(1, 0, b"0123456789", [1, 2]).unwrap();
        spill.push(2, 0, b"0123456789", [1, 2]).unwrap();
        let error = spill.push(3, 0, b"0123456789", [1, 2]).unwrap_err();
        assert!(
            error.to_string().contains("100 bytes of scratch space"),
            "{error}"
        );
    }
}
