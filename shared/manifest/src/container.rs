//! The frame of an Avro file (Avro specification, Object Container Files): its header is read and replaced, its
//! blocks are checked and recompressed, its records are never looked at.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::shape::Shape;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;
/// Header key of the records' schema.
const SCHEMA: &str = "avro.schema";
/// Header key of the compression codec.
const CODEC: &str = "avro.codec";
/// Most bytes the blocks of one file may inflate to. Manifests of 8 MiB, the target size, inflate to some tens of
/// that; what says it is larger is damaged, or made to exhaust the memory.
const MAX_PLAIN_BYTES: usize = 512 * 1024 * 1024;

/// An Avro file taken apart.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    /// The header's keys and values, in the file's order.
    header: Vec<(Vec<u8>, Vec<u8>)>,
    sync: &'a [u8],
    blocks: &'a [u8],
}

impl<'a> Container<'a> {
    /// Takes a file apart. What is wrong with it is said in one sentence.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it is not an Avro file")?;
        let mut cursor = Cursor(rest);
        let mut header = Vec::new();
        loop {
            let count = cursor.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                cursor.long()?; // the block's length in bytes, which only helps to skip it
            }
            for _ in 0..count.unsigned_abs() {
                header.push((cursor.bytes()?.to_vec(), cursor.bytes()?.to_vec()));
            }
        }
        let sync = cursor.take(SYNC_BYTES)?;
        Ok(Self {
            header,
            sync,
            blocks: cursor.0,
        })
    }

    /// A value of the header.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        let found = self.header.iter().find(|(name, _)| name == key.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// Sets a value of the header.
    pub(crate) fn set(&mut self, key: &str, value: Vec<u8>) {
        match self.header.iter_mut().find(|(name, _)| name == key.as_bytes()) {
            Some((_, old)) => *old = value,
            None => self.header.push((key.as_bytes().to_vec(), value)),
        }
    }

    /// The file put together again.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.header_bytes();
        out.extend_from_slice(self.blocks);
        out
    }

    /// As [`Container::to_bytes`], with uncompressed blocks compressed as Java does by default
    /// (`write.avro.compression-codec`, gzip: Avro calls it `deflate`).
    pub(crate) fn into_compressed(mut self) -> Result<Vec<u8>, String> {
        let is_plain = self.get(CODEC).is_none_or(|codec| codec == b"null");
        if !is_plain {
            return Ok(self.to_bytes());
        }
        self.set(CODEC, b"deflate".to_vec());
        let mut out = self.header_bytes();
        let mut cursor = Cursor(self.blocks);
        while !cursor.0.is_empty() {
            let records = cursor.long()?;
            let block = cursor.bytes()?;
            if cursor.take(SYNC_BYTES)? != self.sync {
                return Err("a block does not end with the sync marker".to_owned());
            }
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            let compressed = encoder.write_all(block).and_then(|()| encoder.finish());
            put_long(&mut out, records);
            put_bytes(&mut out, &compressed.map_err(|error| error.to_string())?);
            out.extend_from_slice(self.sync);
        }
        Ok(out)
    }

    /// The file with its blocks inflated and checked, so that whoever decodes it believes no length that is not
    /// true. Of blocks of other codecs than `deflate` only the frame is checked.
    pub(crate) fn into_plain(mut self) -> Result<Vec<u8>, String> {
        let is_deflated = self.get(CODEC) == Some(b"deflate");
        if is_deflated {
            self.set(CODEC, b"null".to_vec());
        }
        let schema = self.get(SCHEMA).ok_or("its header has no schema")?;
        let schema =
            serde_json::from_slice(schema).map_err(|error| format!("its schema is no JSON: {error}"))?;
        let shape = Shape::of(&schema);
        let is_plain = self.get(CODEC).is_none_or(|codec| codec == b"null");
        let mut out = self.header_bytes();
        let mut left = MAX_PLAIN_BYTES;
        let mut cursor = Cursor(self.blocks);
        while !cursor.0.is_empty() {
            let records = cursor.long()?;
            let block = cursor.bytes()?;
            if cursor.take(SYNC_BYTES)? != self.sync {
                return Err("a block does not end with the sync marker".to_owned());
            }
            put_long(&mut out, records);
            if is_deflated {
                let plain = inflate(block, left)?;
                left -= plain.len();
                shape.check(&plain, records)?;
                put_bytes(&mut out, &plain);
            } else {
                if is_plain {
                    shape.check(block, records)?;
                }
                put_bytes(&mut out, block);
            }
            out.extend_from_slice(self.sync);
        }
        Ok(out)
    }

    fn header_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_long(&mut out, self.header.len() as i64);
        for (key, value) in &self.header {
            put_bytes(&mut out, key);
            put_bytes(&mut out, value);
        }
        if !self.header.is_empty() {
            put_long(&mut out, 0);
        }
        out.extend_from_slice(self.sync);
        out
    }
}

fn inflate(block: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let read = DeflateDecoder::new(block)
        .take(limit as u64 + 1)
        .read_to_end(&mut plain);
    read.map_err(|error| format!("a block cannot be inflated: {error}"))?;
    if plain.len() > limit {
        return Err(format!("its blocks inflate to more than {MAX_PLAIN_BYTES} bytes"));
    }
    Ok(plain)
}

/// Reads Avro's primitive values off the front of a slice.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or("it ends in the middle of the Avro header or of a block")?;
        self.0 = rest;
        Ok(taken)
    }

    /// A zig-zag coded variable-length number.
    pub(crate) fn long(&mut self) -> Result<i64, String> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err("it has a number of more than 64 bits".to_owned())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| format!("it has a length of {length} bytes"))?;
        self.take(length)
    }
}

fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: i64) {
            let mut out = Vec::new();
            put_long(&mut out, value);
            let mut cursor = Cursor(&out);
            prop_assert_eq!(cursor.long(), Ok(value));
            prop_assert!(cursor.0.is_empty());
        }

        #[test]
        fn any_bytes_are_taken_apart_or_refused(bytes: Vec<u8>) {
            let mut file = MAGIC.to_vec();
            file.extend(bytes);
            if let Ok(container) = Container::parse(&file) {
                let again = container.to_bytes();
                let same = Container::parse(&again).expect("what was written can be read");
                prop_assert_eq!(same.header, container.header);
                prop_assert_eq!(same.blocks, container.blocks);
            }
        }
    }

    /// A file of one block, compressed as its header says.
    fn of_one_block(codec: &[u8], block: &[u8]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        put_long(&mut file, 2);
        put_bytes(&mut file, SCHEMA.as_bytes());
        put_bytes(&mut file, br#"{"type": "fixed", "name": "f", "size": 7}"#);
        put_bytes(&mut file, CODEC.as_bytes());
        put_bytes(&mut file, codec);
        put_long(&mut file, 0);
        file.extend([7; SYNC_BYTES]);
        put_long(&mut file, 1);
        put_bytes(&mut file, block);
        file.extend([7; SYNC_BYTES]);
        file
    }

    #[test]
    fn blocks_are_inflated_or_refused() {
        let plain = of_one_block(b"null", b"records");
        let compressed = Container::parse(&plain).and_then(Container::into_compressed);
        let compressed = compressed.expect("it is sound");
        assert_ne!(compressed, plain);
        let again = Container::parse(&compressed).and_then(Container::into_plain);
        assert_eq!(again.as_ref(), Ok(&plain));

        let mut longer = plain;
        let at = longer.len() - SYNC_BYTES - b"records".len() - 1;
        longer[at] = 0x7e;
        assert!(Container::parse(&longer).and_then(Container::into_plain).is_err());
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[0; 10_000]).expect("memory takes it");
        let bomb = encoder.finish().expect("memory takes it");
        assert_eq!(inflate(&bomb, 10_000).map(|plain| plain.len()), Ok(10_000));
        let refused = inflate(&bomb, 9_999);
        assert!(refused.is_err_and(|reason| reason.contains("inflate to more than")));
    }

    #[test]
    fn a_header_value_is_replaced_and_the_blocks_stay() {
        let mut file = MAGIC.to_vec();
        put_long(&mut file, -1); // the form with a byte count
        put_long(&mut file, 99);
        put_bytes(&mut file, b"key");
        put_bytes(&mut file, b"value");
        put_long(&mut file, 0);
        file.extend([7; SYNC_BYTES]);
        file.extend(b"blocks");
        let mut container = Container::parse(&file).expect("it is sound");
        assert_eq!(container.get("key"), Some(b"value".as_slice()));
        container.set("key", b"other".to_vec());
        container.set("new", b"1".to_vec());
        let changed = container.to_bytes();
        let again = Container::parse(&changed).expect("it is sound");
        assert_eq!(again.get("key"), Some(b"other".as_slice()));
        assert_eq!(again.get("new"), Some(b"1".as_slice()));
        assert_eq!(again.blocks, b"blocks");
    }
}
