//! Inheritance, v1, and damaged files, with real manifests on disk.

use iceberg::spec::DataContentType;

use super::*;
use crate::fixture::{DiskTable, Entry, FileOf};

fn data(path: &str) -> FileOf {
    FileOf::data(path, 10)
}

fn names(files: &[Arc<LiveFile>]) -> Vec<&str> {
    files.iter().map(|file| file.file.file_path()).collect()
}

async fn error_of(table: &DiskTable) -> String {
    let error = TableState::read(&table.load()).await.unwrap_err();
    assert!(!error.is_transient(), "{error}");
    error.to_string()
}

/// A table with one manifest of this many files.
async fn table_of(files: usize) -> DiskTable {
    let mut table = DiskTable::new();
    let entries = (0..files)
        .map(|index| Entry::Added(data(&format!("f{index}"))))
        .collect();
    let manifest = table.manifest("m.avro", true, entries).await;
    table.commit(vec![manifest]).await;
    table
}

fn cut(table: &DiskTable, name: &str, keep: impl Fn(usize) -> usize) {
    let path = table.folder.path().join(name);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..keep(bytes.len())]).unwrap();
}

#[tokio::test]
async fn entries_inherit_what_they_do_not_carry() {
    let mut table = DiskTable::new();
    let mut existing = data("existing").at(3);
    (existing.snapshot_id, existing.added) = (2, 4);
    let entries = vec![
        Entry::Added(data("added")),
        Entry::Existing(existing),
        Entry::Deleted(data("deleted")),
    ];
    let files = table.manifest("m1.avro", true, entries).await;
    let delete = FileOf::deletes("delete", DataContentType::PositionDeletes);
    let deletes = table.manifest("m2.avro", false, vec![Entry::Added(delete)]).await;
    let gone = table
        .manifest("m3.avro", true, vec![Entry::Deleted(data("gone"))])
        .await;
    table.commit(vec![files, deletes, gone]).await;

    let state = TableState::read(&table.load()).await.unwrap();
    assert_eq!(
        (state.snapshot_id, state.sequence_number, state.manifests.len()),
        (7, 9, 3)
    );
    assert_eq!(
        (names(&state.data), names(&state.deletes)),
        (vec!["added", "existing"], vec!["delete"])
    );
    let [added, existing] = &state.data[..] else {
        panic!("two files")
    };
    assert_eq!(
        (
            added.snapshot_id,
            added.sequence_number,
            added.file_sequence_number
        ),
        (7, 9, Some(9))
    );
    assert_eq!(
        (
            existing.snapshot_id,
            existing.sequence_number,
            existing.file_sequence_number
        ),
        (2, 3, Some(4))
    );
    assert_eq!((added.spec_id, state.deletes[0].spec_id), (1, 1));
}

#[tokio::test]
async fn everything_in_v1_has_sequence_number_zero() {
    let mut table = DiskTable::new();
    table.json["format-version"] = 1.into();
    table.json["schema"] = table.json["schemas"][0].clone();
    table.json["partition-spec"] = table.json["partition-specs"][1]["fields"].clone();
    let manifest = table.v1_manifest("m.avro", vec![Entry::Added(data("f"))]).await;
    table.commit(vec![manifest]).await;
    let state = TableState::read(&table.load()).await.unwrap();
    assert_eq!(state.sequence_number, 0);
    assert_eq!((state.data[0].snapshot_id, state.data[0].sequence_number), (7, 0));
}

#[tokio::test]
async fn v1_manifests_stay_at_zero_in_an_upgraded_table() {
    let mut table = DiskTable::new();
    let old = ManifestFile {
        sequence_number: 0,
        min_sequence_number: 0,
        ..table
            .v1_manifest("m1.avro", vec![Entry::Added(data("old"))])
            .await
    };
    let new = table
        .manifest("m2.avro", true, vec![Entry::Added(data("new"))])
        .await;
    table.commit(vec![old, new]).await;
    let state = TableState::read(&table.load()).await.unwrap();
    let numbers: Vec<_> = state.data.iter().map(|file| file.sequence_number).collect();
    assert_eq!(numbers, [0, 9]);
}

#[tokio::test]
async fn a_table_without_a_snapshot_is_empty() {
    let state = TableState::read(&DiskTable::new().load()).await.unwrap();
    assert_eq!(
        (state.snapshot_id, state.data.len(), state.manifests.len()),
        (NO_SNAPSHOT, 0, 0)
    );
}

#[tokio::test]
async fn many_manifests_keep_their_order() {
    let mut table = DiskTable::new();
    let mut manifests = Vec::new();
    for index in 0..3 * MANIFESTS_IN_FLIGHT {
        let entry = Entry::Added(data(&format!("f{index:02}")));
        manifests.push(table.manifest(&format!("m{index}.avro"), true, vec![entry]).await);
    }
    table.commit(manifests).await;
    let state = TableState::read(&table.load()).await.unwrap();
    assert_eq!(state.data.len(), 3 * MANIFESTS_IN_FLIGHT);
    assert!(names(&state.data).is_sorted());
}

#[tokio::test]
async fn missing_files_are_named() {
    let table = table_of(1).await;
    std::fs::remove_file(table.folder.path().join("m.avro")).unwrap();
    let error = error_of(&table).await;
    assert!(
        error.contains("db.t: manifest ") && error.contains("/m.avro"),
        "{error}"
    );
    std::fs::remove_file(table.folder.path().join("list.avro")).unwrap();
    let error = error_of(&table).await;
    assert!(
        error.contains("manifest list") && error.contains("/list.avro"),
        "{error}"
    );
}

#[tokio::test]
async fn files_cut_anywhere_are_damaged_never_short() {
    for part in 0..20 {
        let table = table_of(300).await;
        cut(&table, "m.avro", |length| length * part / 20);
        assert!(error_of(&table).await.contains("/m.avro"), "{part}");
        cut(&table, "list.avro", |length| length * part / 20);
        assert!(error_of(&table).await.contains("/list.avro"), "{part}");
    }
}

#[tokio::test]
async fn a_manifest_with_fewer_files_than_listed_is_damaged() {
    let mut table = DiskTable::new();
    let manifest = table
        .manifest("m.avro", true, vec![Entry::Added(data("f"))])
        .await;
    table
        .commit(vec![ManifestFile {
            added_files_count: Some(2),
            ..manifest
        }])
        .await;
    assert!(
        error_of(&table)
            .await
            .contains("1 live files where the manifest list counts 2")
    );
}

#[tokio::test]
async fn a_manifest_of_the_other_kind_is_damaged() {
    let mut table = DiskTable::new();
    let manifest = table
        .manifest("m.avro", true, vec![Entry::Added(data("f"))])
        .await;
    table
        .commit(vec![ManifestFile {
            content: ManifestContentType::Deletes,
            ..manifest
        }])
        .await;
    assert!(
        error_of(&table)
            .await
            .contains("a manifest of deletes files lists f as Data")
    );
}

#[tokio::test]
async fn encrypted_manifests_are_refused() {
    let mut table = DiskTable::new();
    let manifest = table
        .manifest("m.avro", true, vec![Entry::Added(data("f"))])
        .await;
    table
        .commit(vec![ManifestFile {
            key_metadata: Some(vec![1]),
            ..manifest
        }])
        .await;
    assert!(error_of(&table).await.contains("m.avro is encrypted"));
}

#[test]
fn counts_the_list_leaves_out_are_filled_in() {
    let counts = Counts {
        files: [3, 2, 1],
        rows: [30, 20, 10],
    };
    let mut manifest = ManifestFile {
        manifest_path: "m".to_owned(),
        manifest_length: 1,
        partition_spec_id: 0,
        content: ManifestContentType::Data,
        sequence_number: 0,
        min_sequence_number: 0,
        added_snapshot_id: 1,
        added_files_count: Some(7),
        existing_files_count: None,
        deleted_files_count: None,
        added_rows_count: None,
        existing_rows_count: None,
        deleted_rows_count: None,
        partitions: None,
        key_metadata: None,
        first_row_id: None,
    };
    counts.fill_in(&mut manifest);
    let files = (
        manifest.existing_files_count,
        manifest.added_files_count,
        manifest.deleted_files_count,
    );
    assert_eq!(files, (Some(3), Some(7), Some(1)));
    let rows = (
        manifest.existing_rows_count,
        manifest.added_rows_count,
        manifest.deleted_rows_count,
    );
    assert_eq!(rows, (Some(30), Some(20), Some(10)));
}

#[tokio::test]
async fn data_files_keep_the_statistics_that_equality_deletes_compare() {
    let mut table = DiskTable::new();
    let counted = data("f").with(|file| {
        file.null_value_counts([(1, 0), (3, 5)].into());
    });
    let delete = FileOf::deletes("delete", DataContentType::EqualityDeletes).with(|file| {
        file.equality_ids(Some(vec![3]))
            .null_value_counts([(1, 0), (3, 0)].into());
    });
    let files = table.manifest("m1.avro", true, vec![Entry::Added(counted)]).await;
    let deletes = table.manifest("m2.avro", false, vec![Entry::Added(delete)]).await;
    table.commit(vec![files, deletes]).await;
    let state = TableState::read(&table.load()).await.unwrap();
    assert_eq!(state.data[0].file.null_value_counts(), &[(3, 5)].into());
    assert_eq!(state.deletes[0].file.null_value_counts().len(), 2);
}
