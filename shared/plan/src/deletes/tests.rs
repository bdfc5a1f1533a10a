//! The index against the rules written out one by one, and against a naive search.

use iceberg::spec::{DataContentType, Datum};
use proptest::prelude::*;

use super::*;
use crate::applying::SharedDeletes;
use crate::fixture::{FileOf, metadata, state};

fn position(path: &str) -> FileOf {
    FileOf::deletes(path, DataContentType::PositionDeletes)
}

fn equality(path: &str) -> FileOf {
    FileOf::deletes(path, DataContentType::EqualityDeletes).with(|file| {
        file.equality_ids(Some(vec![1]));
    })
}

fn paths(deletes: &Deletes) -> Vec<&str> {
    deletes.iter().map(|file| file.file.file_path()).collect()
}

fn scan(data: FileOf, deletes: Vec<FileOf>) -> ScanFile {
    let state = state(vec![data], deletes);
    DeleteIndex::new(&state, &metadata()).scan(&state.data[0])
}

#[test]
fn position_deletes_apply_to_their_own_and_older_sequence_numbers() {
    let deletes = vec![position("p1").at(1), position("p3").at(3), position("p2").at(2)];
    let found = scan(FileOf::data("s3://b/d", 10).at(2), deletes);
    assert_eq!(paths(&found.position_deletes), ["p2", "p3"]);
}

#[test]
fn position_deletes_stay_in_their_partition_and_spec() {
    let elsewhere = vec![
        position("other").at(9).partition(2),
        position("unpartitioned").at(9).unpartitioned(),
    ];
    assert_eq!(scan(FileOf::data("s3://b/d", 10), elsewhere).delete_count(), 0);
    let own = scan(
        FileOf::data("s3://b/d", 10).unpartitioned(),
        vec![position("p").at(9).unpartitioned()],
    );
    assert_eq!(paths(&own.position_deletes), ["p"]);
}

#[test]
fn file_scoped_deletes_find_their_file_however_it_is_spelled() {
    let by_field = position("by_field").with(|file| {
        file.referenced_data_file(Some("file:///w/d".to_owned()));
    });
    let by_bounds = position("by_bounds").with(|file| {
        let path = HashMap::from([(DELETE_FILE_PATH_ID, Datum::string("file:/w/d"))]);
        file.lower_bounds(path.clone()).upper_bounds(path);
    });
    let of_another = position("of_another").with(|file| {
        file.referenced_data_file(Some("/w/e".to_owned()));
    });
    let of_several = position("of_several").with(|file| {
        file.lower_bounds(HashMap::from([(DELETE_FILE_PATH_ID, Datum::string("/w/a"))]));
        file.upper_bounds(HashMap::from([(DELETE_FILE_PATH_ID, Datum::string("/w/z"))]));
    });
    let found = scan(
        FileOf::data("/w/d", 10),
        vec![by_field, by_bounds, of_another, of_several],
    );
    assert_eq!(
        paths(&found.position_deletes),
        ["of_several", "by_field", "by_bounds"]
    );
    assert_eq!(found.known_deleted_rows(), 100);
}

#[test]
fn equality_deletes_apply_to_strictly_older_files_of_their_partition_or_everywhere() {
    let deletes = vec![
        equality("same").at(2),
        equality("newer").at(3),
        equality("elsewhere").at(3).partition(2),
        equality("global").at(4).unpartitioned(),
    ];
    let found = scan(FileOf::data("d", 10).at(2), deletes);
    assert_eq!(paths(&found.equality_deletes), ["global", "newer"]);
}

#[test]
fn a_deletion_vector_replaces_position_deletes() {
    let vector = position("v").at(5).with(|file| {
        file.file_format(DataFileFormat::Puffin)
            .referenced_data_file(Some("d".to_owned()));
    });
    let found = scan(FileOf::data("d", 10), vec![position("p").at(9), vector]);
    assert_eq!(paths(&found.position_deletes), ["v"]);
}

#[test]
fn partitions_promoted_since_still_match() {
    let mut json = crate::fixture::metadata_json();
    json["schemas"][0]["fields"][1]["type"] = "long".into();
    let metadata = crate::fixture::metadata_from(&json);
    let promoted = position("p").at(2).with(|file| {
        file.partition(Struct::from_iter([Some(iceberg::spec::Literal::long(1))]));
    });
    let state = state(vec![FileOf::data("d", 10)], vec![promoted]);
    assert_eq!(
        DeleteIndex::new(&state, &metadata)
            .scan(&state.data[0])
            .delete_count(),
        1
    );
}

#[test]
fn many_deletes_of_many_files_are_listed_once() {
    const FILES: i64 = 500;
    let data = (0..FILES).map(|file| FileOf::data(&format!("s3://b/{file}"), 10).at(1 + file % 3));
    let deletes = (0..FILES).flat_map(|file| {
        let (position, equality) = (position(&format!("p{file}")), equality(&format!("e{file}")));
        [position.at(4 + file % 7), equality.at(4 + file % 7)]
    });
    let state = state(data.collect(), deletes.collect());
    let index = DeleteIndex::new(&state, &metadata());
    let scans: Vec<_> = state.data.iter().map(|data| index.scan(data)).collect();
    for deletes in scans
        .iter()
        .flat_map(|scan| [&scan.position_deletes, &scan.equality_deletes])
    {
        assert_eq!(deletes.len() as i64, FILES);
        assert_eq!(deletes.lists().count(), 1);
    }
    let all = scans
        .iter()
        .flat_map(|scan| [&scan.position_deletes, &scan.equality_deletes]);
    assert_eq!(SharedDeletes::of(all).len(), 2);
}

#[derive(Clone, Debug)]
struct Delete {
    kind: u8,
    partition: Option<i32>,
    sequence_number: i64,
    about: usize,
}

fn delete() -> impl Strategy<Value = Delete> {
    (0_u8..3, prop::option::of(0..3_i32), 1_i64..6, 0_usize..6).prop_map(
        |(kind, partition, sequence_number, about)| Delete {
            kind,
            partition,
            sequence_number,
            about,
        },
    )
}

fn placed(file: FileOf, partition: Option<i32>) -> FileOf {
    match partition {
        Some(value) => file.partition(value),
        None => file.unpartitioned(),
    }
}

/// The specification's rules, word for word.
fn applies(delete: &Delete, index: usize, partition: Option<i32>, sequence_number: i64) -> bool {
    match delete.kind {
        0 => delete.sequence_number >= sequence_number && delete.partition == partition,
        1 => delete.sequence_number >= sequence_number && delete.about == index,
        _ => {
            let in_scope = delete.partition.is_none() || delete.partition == partition;
            delete.sequence_number > sequence_number && in_scope
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_a_naive_search(
        data in prop::collection::vec((prop::option::of(0..3_i32), 1_i64..6), 1..6),
        deletes in prop::collection::vec(delete(), 0..12),
    ) {
        let files = data.iter().enumerate().map(|(index, (partition, sequence_number))| {
            placed(FileOf::data(&format!("s3://b/{index}"), 10).at(*sequence_number), *partition)
        });
        let delete_files = deletes.iter().enumerate().map(|(index, delete)| {
            let path = format!("delete{index}");
            let file = match delete.kind {
                0 => position(&path),
                1 => position(&path).with(|file| {
                    file.referenced_data_file(Some(format!("s3a://b/{}", delete.about)));
                }),
                _ => equality(&path),
            };
            placed(file.at(delete.sequence_number), delete.partition)
        });
        let state = state(files.collect(), delete_files.collect());
        let index = DeleteIndex::new(&state, &metadata());
        for (position, (partition, sequence_number)) in data.iter().enumerate() {
            let scan = index.scan(&state.data[position]);
            let mut found = paths(&scan.position_deletes);
            found.extend(paths(&scan.equality_deletes));
            found.sort_unstable();
            let mut expected: Vec<_> = (0..deletes.len())
                .filter(|at| applies(&deletes[*at], position, *partition, *sequence_number))
                .map(|at| format!("delete{at}"))
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
