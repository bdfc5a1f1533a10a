//! Random trees and references, spelled every way, against a model that compares plain names.

use proptest::prelude::*;
use snowpack_catalog::ListedFile;

use super::*;
use crate::orphans::reached::{Reached, Verdict};
use crate::orphans::visible::{Visibility, table_of};

/// A file of the model: a bucket, or none for this machine, and path segments.
type File = (Option<u8>, Vec<u8>);

const BUCKETS: [&str; 3] = ["lake", "other", "third"];
const SEGMENTS: [&str; 6] = ["data", "a=b%2Fc", "p=1", "f.parquet", "x y", "é"];

fn file() -> impl Strategy<Value = File> {
    (prop::option::of(0..3u8), prop::collection::vec(0..6u8, 1..4))
}

/// One of eight ways to write a file's location. The third is a bare path on this machine.
fn spell((bucket, segments): &File, way: u8) -> String {
    let slash = if way >= 4 { "//" } else { "/" };
    let segments = segments.iter().map(|index| SEGMENTS[usize::from(*index)]);
    let path: String = segments.map(|segment| format!("{slash}{segment}")).collect();
    let way = usize::from(way % 4);
    match bucket {
        None => {
            let root = ["file:/w", "file:///w", "/w", "file://localhost/w"][way];
            format!("{root}{path}")
        }
        Some(bucket) => {
            let scheme = ["s3", "s3a", "s3n", "S3"][way];
            format!("{scheme}://{}/w{path}", BUCKETS[usize::from(*bucket)])
        }
    }
}

fn is_bare(file: &File, way: u8) -> bool {
    file.0.is_none() && way % 4 == 2
}

fn settings() -> OrphanRemoval {
    let to_s3 = ["s3a", "s3n"].map(|scheme| (scheme.to_owned(), "s3".to_owned()));
    OrphanRemoval {
        older_than: Timestamp::from_micros(100),
        location: None,
        prefix_mismatch: PrefixMismatch::Error,
        equal_schemes: BTreeMap::from(to_s3),
        equal_authorities: BTreeMap::new(),
        max_orphan_ratio: 1.0,
        dry_run: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However references and listings are spelled, the verdict is what comparing the files themselves says.
    #[test]
    fn verdicts_do_not_depend_on_spelling(
        references in prop::collection::vec((file(), 0..8u8), 0..30),
        listed in prop::collection::vec((file(), 0..8u8), 1..30),
    ) {
        let names = Names::of(&settings());
        let mut reached = Reached::default();
        for (file, way) in &references {
            reached.insert(&names.reference(&spell(file, *way)));
        }
        for (file, way) in &listed {
            let same_path = || references.iter().filter(|(other, _)| other.1 == file.1);
            // A bare path may be anywhere.
            let expected = if same_path().any(|(other, way)| other.0 == file.0 || is_bare(other, *way)) {
                "referenced"
            } else if same_path().next().is_some() {
                "mismatch"
            } else {
                "unreferenced"
            };
            let found = match reached.judge(&names.place(&spell(file, *way))) {
                Verdict::Referenced => "referenced",
                Verdict::Mismatch(_) => "mismatch",
                Verdict::Unreferenced => "unreferenced",
            };
            prop_assert_eq!(found, expected, "{}", spell(file, *way));
        }
    }

    /// Any two locations are the same place, one in the other, or apart, as their segments say.
    #[test]
    fn containment_is_that_of_segments(one in file(), other in file(), ways in (0..8u8, 0..8u8)) {
        let names = Names::of(&settings());
        let (first, second) = (names.place(&spell(&one, ways.0)), names.place(&spell(&other, ways.1)));
        prop_assert_eq!(first == second, one == other);
        prop_assert_eq!(first.contains(&second), one.0 == other.0 && other.1.starts_with(&one.1));
        prop_assert_eq!(first.path_hash() == second.path_hash(), one.1 == other.1);
    }

    /// No location is so odd that reading it fails.
    #[test]
    fn any_text_is_read(text in "\\PC{0,40}") {
        let uri = Names::of(&settings()).place(&text);
        prop_assert!(uri.path.starts_with('/') && !uri.path.contains("//"));
        prop_assert!(table_of(&uri).is_none_or(|root| root.contains(&uri)));
    }
}

/// A file of a random tree.
#[derive(Clone, Debug)]
struct Leaf {
    path: Vec<&'static str>,
    age: Option<i64>,
    /// How it is referenced, if it is.
    spelled: Option<usize>,
}

const FOLDERS: [&str; 7] = ["data", "metadata", "_hidden", ".dot", "_part=1", "inner", "x"];
const FILES: [&str; 6] = [
    "f.parquet",
    "_SUCCESS",
    ".f.crc",
    "v1.metadata.json",
    "g.avro",
    "h",
];

fn leaf() -> impl Strategy<Value = Leaf> {
    let folders = prop::collection::vec(prop::sample::select(&FOLDERS[..]), 0..4);
    let path = (folders, prop::sample::select(&FILES[..])).prop_map(|(mut path, name)| {
        path.push(name);
        path
    });
    let age = prop::option::of(prop::sample::select(vec![0, 99, 100, 101]));
    (path, age, prop::option::of(0..8usize)).prop_map(|(path, age, spelled)| Leaf { path, age, spelled })
}

fn is_hidden(path: &[&str]) -> bool {
    path.iter()
        .any(|name| name.starts_with(['_', '.']) && !name.starts_with("_part="))
}

/// The folder of another table that a file is the metadata of.
fn table_of_leaf(leaf: &Leaf) -> Option<&[&'static str]> {
    match leaf.path.as_slice() {
        [root @ .., "metadata", "v1.metadata.json"] if !root.is_empty() && !is_hidden(root) => Some(root),
        _ => None,
    }
}

/// The plain rules, one file at a time.
fn is_orphan(leaf: &Leaf, all: &[Leaf]) -> bool {
    let is_old = leaf.age.is_some_and(|age| age < 100);
    let mut tables = all.iter().filter_map(table_of_leaf);
    let of_another = tables.any(|root| leaf.path.starts_with(root));
    is_old && leaf.spelled.is_none() && !of_another && !is_hidden(&leaf.path)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A random tree is sifted as the plain rules say, whatever pages it is listed in.
    #[test]
    fn a_sifted_listing_is_what_the_plain_rules_leave(
        leaves in prop::collection::vec(leaf(), 0..40),
        page in 1..9usize,
    ) {
        let mut seen = BTreeSet::new();
        let leaves: Vec<_> = leaves.into_iter().filter(|leaf| seen.insert(leaf.path.clone())).collect();
        let table = FakeTable::at("file:/w", disk(), FormatVersion::V2, HashMap::new()).now();
        let settings = settings();
        let names = Names::of(&settings);
        let places = places::choose(&table, &settings, &Neighbours::default(), &names).unwrap().places;
        let mut reach = Reachability::new(names);
        for leaf in &leaves {
            if let Some(way) = leaf.spelled {
                let slash = if way >= 4 { "//" } else { "/" };
                let root = ["file:/w", "file:///w", "/w", "file://localhost/w"][way % 4];
                reach.reference(&format!("{root}{slash}{}", leaf.path.join(slash)));
            }
        }
        let location = |leaf: &Leaf| format!("file:/w/{}", leaf.path.join("/"));
        let mut sieve = Sieve::new(&table, &places[0], &settings, &reach).seeing(Visibility::with("_part="));
        for page in leaves.chunks(page) {
            let listed = page.iter().map(|leaf| ListedFile {
                location: location(leaf),
                bytes: 1,
                modified: leaf.age.map(Timestamp::from_micros),
            });
            sieve.take(listed.collect(), &reach).unwrap();
        }
        let orphans = sieve.finish(&reach).unwrap().orphans.into_iter();
        let found: BTreeSet<_> = orphans.map(|orphan| orphan.location).collect();
        let expected = leaves.iter().filter(|leaf| is_orphan(leaf, &leaves)).map(location);
        prop_assert_eq!(found, expected.collect::<BTreeSet<_>>());
    }
}
