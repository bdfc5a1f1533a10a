//! Deleted keys in memory: key bytes to the newest data sequence number that deletes them, without an
//! allocation per key.

use std::hash::{DefaultHasher, Hash, Hasher};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

/// The hash of a key of a set, in memory and on disk.
pub(super) fn key_hash(set: u32, key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    set.hash(&mut hasher);
    key.hash(&mut hasher);
    hasher.finish()
}

/// Keys of several sets.
#[derive(Default)]
pub(super) struct KeyTable {
    entries: HashTable<Entry>,
    bytes: Vec<u8>,
}

/// A key, which is a part of the table's bytes.
#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    length: u32,
    set: u32,
    newest: i64,
}

impl Entry {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start..self.start + self.length as usize]
    }
}

impl KeyTable {
    /// Notes that a key is deleted at a data sequence number.
    pub(super) fn add(&mut self, set: u32, key: &[u8], sequence_number: i64) {
        let bytes = &mut self.bytes;
        let slot = self.entries.entry(
            key_hash(set, key),
            |entry| entry.set == set && entry.key(bytes) == key,
            |entry| key_hash(entry.set, entry.key(bytes)),
        );
        match slot {
            Slot::Occupied(mut entry) => {
                let newest = &mut entry.get_mut().newest;
                *newest = sequence_number.max(*newest);
            }
            Slot::Vacant(vacant) => {
                vacant.insert(Entry {
                    start: bytes.len(),
                    length: u32::try_from(key.len()).expect("a key is one row of a batch, less than 4 GiB"),
                    set,
                    newest: sequence_number,
                });
                bytes.extend_from_slice(key);
            }
        }
    }

    /// The newest data sequence number at which a key is deleted.
    pub(super) fn newest(&self, set: u32, key: &[u8]) -> Option<i64> {
        let is_key = |entry: &Entry| entry.set == set && entry.key(&self.bytes) == key;
        let found = self.entries.find(key_hash(set, key), is_key);
        found.map(|entry| entry.newest)
    }

    /// All keys with their sets and sequence numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8], i64)> {
        let entries = self.entries.iter();
        entries.map(|entry| (entry.set, entry.key(&self.bytes), entry.newest))
    }

    /// What the table takes, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        memory_bytes(self.entries.capacity(), self.bytes.capacity())
    }

    /// What it would take with one more key. Both parts double when they are full.
    pub(super) fn memory_bytes_with(&self, key: &[u8]) -> u64 {
        let grown = |length: usize, capacity: usize| match length <= capacity {
            true => capacity,
            false => capacity.saturating_mul(2).max(length),
        };
        memory_bytes(
            grown(self.entries.len() + 1, self.entries.capacity()),
            grown(self.bytes.len() + key.len(), self.bytes.capacity()),
        )
    }
}

/// A hash table has one byte beside each entry, and stays one eighth empty.
fn memory_bytes(entries: usize, bytes: usize) -> u64 {
    let slots = entries as u64 * 8 / 7;
    slots * (size_of::<Entry>() as u64 + 1) + bytes as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_deletion_of_a_key_counts_in_its_own_set() {
        let mut table = KeyTable::default();
        for (set, key, sequence_number) in [(0, "a", 3), (0, "a", 2), (1, "a", 9), (0, "", 4)] {
            table.add(set, key.as_bytes(), sequence_number);
        }
        assert_eq!(table.newest(0, b"a"), Some(3));
        assert_eq!(table.newest(1, b"a"), Some(9));
        assert_eq!(table.newest(0, b""), Some(4));
        assert_eq!(table.newest(1, b""), None);
        assert_eq!(table.iter().count(), 3);
    }

    #[test]
    fn growth_is_known_before_it_happens() {
        let mut table = KeyTable::default();
        for number in 0..10_000_u32 {
            let key = number.to_be_bytes();
            let promised = table.memory_bytes_with(&key);
            table.add(0, &key, 1);
            assert!(table.memory_bytes() <= promised.max(1024), "{number}");
        }
        assert!(table.memory_bytes() < 10_000 * 80);
    }
}
