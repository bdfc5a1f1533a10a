//! Damages files: bit flips, cuts, splices, lengths that lie, also behind compression and checksums, which would
//! otherwise catch everything before a decoder sees it.

use std::io::Read;

use flate2::read::DeflateDecoder;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Numbers that lie about lengths, as the formats spell them: Avro's and Thrift's varints, words of either order.
const LIES: [&[u8]; 8] = [
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xfe, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0xff; 8],
    &[0; 8],
];
const AVRO: &[u8] = b"Obj\x01";
const PARQUET: &[u8] = b"PAR1";
const PUFFIN: &[u8] = b"PFA1";
const AVRO_SYNC: usize = 16;

/// A damaged copy of a file of any format; `other` is a sound file to splice from.
pub(crate) fn damaged(rng: &mut StdRng, file: &[u8], other: &[u8]) -> Vec<u8> {
    let rounds = rng.random_range(1..=3);
    if file.starts_with(AVRO) && rng.random_bool(0.8) {
        let (header, block, sync) = avro(file);
        let (header, block) = match rng.random_bool(0.25) {
            true => (mutated(rng, header, other, rounds), block),
            false => (header.to_vec(), mutated(rng, &block, other, rounds)),
        };
        return reassembled(&header, &block, &sync, rng.random_bool(0.9));
    }
    if file.starts_with(PARQUET) && rng.random_bool(0.6) {
        let footer = u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap());
        let start = file.len() - 8 - footer as usize;
        let mut damaged = file[..start].to_vec();
        let metadata = mutated(rng, &file[start..file.len() - 8], other, rounds);
        damaged.extend(&metadata);
        damaged.extend((metadata.len() as u32).to_le_bytes());
        damaged.extend(PARQUET);
        return damaged;
    }
    if file.starts_with(PUFFIN) && rng.random_bool(0.8) {
        return with_damaged_vector(rng, file, other, rounds);
    }
    mutated(rng, file, other, rounds)
}

/// Puts a damaged bitmap behind a checksum that fits; its length stays, which the manifest says.
fn with_damaged_vector(rng: &mut StdRng, file: &[u8], other: &[u8], rounds: u32) -> Vec<u8> {
    let start = PUFFIN.len();
    let length = u32::from_be_bytes(file[start..start + 4].try_into().unwrap()) as usize;
    let content = start + 4..start + 4 + length;
    let mut bitmap = mutated(rng, &file[content.start + 4..content.end], other, rounds);
    bitmap.resize(length - 4, 0);
    let mut damaged = file.to_vec();
    damaged[content.start + 4..content.end].copy_from_slice(&bitmap);
    let mut checksum = flate2::Crc::new();
    checksum.update(&damaged[content.clone()]);
    damaged[content.end..content.end + 4].copy_from_slice(&checksum.sum().to_be_bytes());
    damaged
}

fn mutated(rng: &mut StdRng, bytes: &[u8], other: &[u8], rounds: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rounds {
        mutate(rng, &mut bytes, other);
    }
    bytes
}

fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>, other: &[u8]) {
    if bytes.is_empty() {
        bytes.push(rng.random());
        return;
    }
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..10) {
        0..3 => bytes[at] ^= 1 << rng.random_range(0..8),
        3 => bytes[at] = *[0, 1, 0x7f, 0x80, 0xff].choose(rng).expect("it has elements"),
        4 => bytes[at] = rng.random(),
        5 => bytes.truncate(at),
        6..8 => {
            let lie = LIES.choose(rng).expect("it has elements");
            let end = (at + lie.len() * usize::from(rng.random_bool(0.5))).min(bytes.len());
            bytes.splice(at..end, lie.iter().copied());
        }
        8 => {
            let from = rng.random_range(0..other.len());
            let to = (from + rng.random_range(1..64)).min(other.len());
            let end = (at + to - from).min(bytes.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        _ => {
            let end = (at + rng.random_range(1..16)).min(bytes.len());
            rng.fill(&mut bytes[at..end]);
        }
    }
}

/// The header of an Avro file, its first block inflated, and its sync marker.
fn avro(file: &[u8]) -> (&[u8], Vec<u8>, Vec<u8>) {
    let mut at = AVRO.len();
    loop {
        let entries = number(file, &mut at);
        if entries == 0 {
            break;
        }
        for _ in 0..entries * 2 {
            let length = number(file, &mut at);
            at += length as usize;
        }
    }
    let (header, sync) = (&file[AVRO.len()..at], file[at..at + AVRO_SYNC].to_vec());
    at += AVRO_SYNC;
    if at == file.len() {
        return (header, Vec::new(), sync);
    }
    number(file, &mut at);
    let length = number(file, &mut at) as usize;
    let block = &file[at..at + length];
    let mut plain = Vec::new();
    let is_deflated = header.windows(7).any(|window| window == b"deflate");
    match is_deflated {
        true => drop(DeflateDecoder::new(block).read_to_end(&mut plain).unwrap()),
        false => plain.extend(block),
    }
    (header, plain, sync)
}

/// An Avro file of one uncompressed block. The codec in the header is overwritten in place, as long as it is.
fn reassembled(header: &[u8], block: &[u8], sync: &[u8], fits: bool) -> Vec<u8> {
    let mut file = AVRO.to_vec();
    let codec = header.windows(8).position(|window| window == b"\x0edeflate");
    match codec {
        Some(at) => {
            file.extend(&header[..at]);
            file.extend(b"\x08null");
            file.extend(&header[at + 8..]);
        }
        None => file.extend(header),
    }
    file.extend(sync);
    put_number(&mut file, 1);
    put_number(&mut file, if fits { block.len() as u64 } else { 1 << 40 });
    file.extend(block);
    file.extend(sync);
    file
}

fn number(file: &[u8], at: &mut usize) -> u64 {
    let (mut value, mut shift) = (0_u64, 0);
    loop {
        let byte = file[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value >> 1;
        }
    }
}

fn put_number(out: &mut Vec<u8>, value: u64) {
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
