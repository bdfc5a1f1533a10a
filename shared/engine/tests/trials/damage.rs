//! Damaged files: whatever their bytes, an action ends with a result or with an error that names table or file.
//! It never panics, and no length in a file makes it take gigabytes of memory.
//!
//! A failure names its seed. What was found so has a named test beside the decoder.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use iceberg::spec::{DataContentType, DataFileFormat, FormatVersion, TableMetadata};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use snowpack_catalog::LoadedTable;
use snowpack_domain::Action;
use snowpack_manifest::{read_manifest, read_manifest_list};

use crate::MEMORY;
use crate::action::Job;
use crate::catalog::table_id;
use crate::lake::grown;
use crate::mutation::damaged;
use crate::scheduler::Scheduler;
use crate::schedules::{alone, on_all_cores};
use crate::world::{LOCATION, World, lock};

/// Damaged files that actions meet.
const ACTIONS: u64 = 3_000;
/// Damaged manifest lists and manifests that are decoded by themselves.
const MANIFESTS: u64 = 6_000;
/// Damaged metadata documents.
const DOCUMENTS: u64 = 4_000;
/// Tables whose files are damaged.
const TABLES: u64 = 20;
/// Most memory this process may ever have taken, all tests together: they need a fraction of it, and one length
/// that is believed needs more.
const MAX_BYTES: usize = 900 * 1024 * 1024;

fn check_memory(seed: u64) {
    let peak = MEMORY.max_allocated();
    assert!(
        peak < MAX_BYTES,
        "seed {seed}: {peak} bytes were allocated at once"
    );
}

/// Tables that have deletes of every kind among them.
fn tables() -> Vec<Arc<World>> {
    let tables = (0..).map(|seed| grown(seed, None));
    tables
        .filter(|world| world.table().1.format_version() != FormatVersion::V1)
        .take(TABLES as usize)
        .collect()
}

/// The files that the newest snapshot needs, by kind.
fn victims(world: &World) -> Vec<Vec<String>> {
    let (_, metadata) = world.table();
    let head = metadata.current_snapshot().expect("it has a history");
    let mut kinds = vec![vec![head.manifest_list().to_owned()]];
    kinds.push(
        world
            .manifests(&metadata, head)
            .into_iter()
            .map(|file| file.manifest_path)
            .collect(),
    );
    let live = world.live(&metadata, head);
    let of = |content, format| -> Vec<String> {
        let files = live.iter().filter(|file| file.file.content_type() == content);
        let files = files.filter(|file| file.file.file_format() == format);
        files.map(|file| file.path().to_owned()).collect()
    };
    kinds.push(of(DataContentType::Data, DataFileFormat::Parquet));
    kinds.push(of(DataContentType::PositionDeletes, DataFileFormat::Parquet));
    kinds.push(of(DataContentType::PositionDeletes, DataFileFormat::Puffin));
    kinds.push(of(DataContentType::EqualityDeletes, DataFileFormat::Parquet));
    kinds.retain(|files| !files.is_empty());
    kinds
}

/// Damages one file of a table and returns its path. Its size stays what the manifest says, so that readers do not
/// stop at that.
fn damage(world: &World, rng: &mut StdRng) -> String {
    let kinds = victims(world);
    let kind = kinds.choose(rng).expect("a table has files");
    let (path, other) = (kind.choose(rng), kind.choose(rng));
    let (path, other) = (path.expect("it has files"), other.expect("it has files"));
    let (bytes, other) = (world.bytes(path), world.bytes(other));
    let mut new = damaged(rng, &bytes, &other);
    if path.contains("/data/") && rng.random_bool(0.9) {
        fit(&mut new, bytes.len());
    }
    lock(&world.files).get_mut(path).expect("it is there").bytes = new.into();
    path.clone()
}

/// Brings a file to a size by cutting or filling its start, where nobody looks: its end is the footer.
fn fit(file: &mut Vec<u8>, size: usize) {
    match file.len() > size {
        true => drop(file.drain(..file.len() - size)),
        false => drop(file.splice(4..4, vec![0; size - file.len()])),
    }
}

#[test]
fn actions_survive_damaged_files() {
    let tables = tables();
    on_all_cores(ACTIONS, |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        let world = tables[seed as usize % tables.len()].fork(Scheduler::default());
        world.is_damaged.store(true, Ordering::SeqCst);
        let path = damage(&world, &mut rng);
        let job = Job::random(&mut rng, world.table().1.format_version());
        if let Err(cause) = alone(job.try_run(&world)) {
            // Damage to a manifest may change the names of the files it lists.
            let named = cause.contains("://") || cause.contains("db.t") || cause.contains(&path);
            assert!(named, "seed {seed}: damage to {path} is reported as: {cause}");
            let bugs = ["failed an assertion", "ended early"];
            assert!(
                !bugs.iter().any(|bug| cause.contains(bug)),
                "seed {seed}, {path}: {cause}"
            );
        }
        check_memory(seed);
    });
}

#[test]
fn damaged_manifests_are_errors_that_name_them() {
    let tables = tables();
    on_all_cores(MANIFESTS, |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        let world = &tables[seed as usize % tables.len()];
        let (_, metadata) = world.table();
        let head = metadata.current_snapshot().expect("it has a history");
        let listed = world.manifests(&metadata, head);
        let manifest = listed.choose(&mut rng).expect("it has manifests");
        let (list, of_manifest) = (
            world.bytes(head.manifest_list()),
            world.bytes(&manifest.manifest_path),
        );
        let copy = world.fork(Scheduler::default());
        let is_list = rng.random_bool(0.4);
        let (path, new) = match is_list {
            true => (head.manifest_list(), damaged(&mut rng, &list, &of_manifest)),
            false => (
                manifest.manifest_path.as_str(),
                damaged(&mut rng, &of_manifest, &list),
            ),
        };
        lock(&copy.files).get_mut(path).expect("it is there").bytes = new.into();
        let io = copy.io(0);
        let read = alone(async {
            match is_list {
                true => read_manifest_list(&io, &metadata, head).await.map(drop),
                false => read_manifest(&io, manifest, Ok).await.map(drop),
            }
        });
        assert!(
            read.is_ok() || read.is_err_and(|error| error.to_string().contains(path)),
            "seed {seed}"
        );
        check_memory(seed);
    });
}

#[test]
fn damaged_metadata_is_an_error_that_names_it() {
    let tables = tables();
    let documents: Vec<String> = tables
        .iter()
        .map(|world| serde_json::to_string(&*world.table().1).unwrap())
        .collect();
    on_all_cores(DOCUMENTS, |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        let text = documents.choose(&mut rng).expect("there are some");
        let other = documents.choose(&mut rng).expect("there are some");
        let new = match rng.random_bool(0.6) {
            true => with_a_changed_member(&mut rng, text).into_bytes(),
            false => damaged(&mut rng, text.as_bytes(), other.as_bytes()),
        };
        let read = read_metadata(&tables[0].fork(Scheduler::default()), new);
        assert!(
            read.is_ok() || read.is_err_and(|error| error.contains("v9.metadata.json")),
            "seed {seed}"
        );
        check_memory(seed);
    });
}

fn read_metadata(world: &Arc<World>, document: Vec<u8>) -> Result<(), String> {
    let path = format!("{LOCATION}/metadata/v9.metadata.json");
    world.put(&path, document.into(), false);
    let (_, metadata): (u64, Arc<TableMetadata>) = world.table();
    let table = LoadedTable::new(table_id(), metadata, "now".to_owned(), world.io(0));
    let read = alone(table.at(&path));
    read.map(drop).map_err(|error| error.to_string())
}

/// The document with one member, at any depth, gone or of another value.
fn with_a_changed_member(rng: &mut StdRng, text: &str) -> String {
    let mut document: Value = serde_json::from_str(text).unwrap();
    let mut places = BTreeSet::new();
    collect(&document, &mut String::new(), &mut places);
    let places: Vec<_> = places.into_iter().collect();
    let place = places.choose(rng).expect("the document has members");
    let strange = [
        Value::Null,
        Value::from(-1),
        Value::from(0),
        Value::from(i64::MAX),
        Value::from(u64::MAX),
        Value::from(1e300),
        Value::from(""),
        Value::from("void"),
        Value::from(Vec::<Value>::new()),
        Value::Object(Default::default()),
        Value::Bool(true),
    ];
    *document.pointer_mut(place).expect("it was just found") = strange.choose(rng).expect("some").clone();
    document.to_string()
}

/// Every place in a document, as a JSON pointer.
fn collect(value: &Value, at: &mut String, places: &mut BTreeSet<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, child)| (name.clone(), child))
            .collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(i, child)| (i.to_string(), child))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        let length = at.len();
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        places.insert(at.clone());
        collect(child, at, places);
        at.truncate(length);
    }
}

#[test]
fn every_action_is_met_by_damage() {
    // Damage must not all be caught before an action starts: a sound table runs through.
    for action in [
        Action::RewriteDataFiles,
        Action::RewriteManifests,
        Action::ExpireSnapshots,
    ] {
        let world = tables()[0].fork(Scheduler::default());
        let job = Job::of(action, &mut StdRng::seed_from_u64(1));
        assert_eq!(alone(job.try_run(&world)), Ok(()), "{action}");
    }
}
