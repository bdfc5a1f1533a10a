//! Manifests come back as they were written, whatever their partition fields are called, and damage is an error.

use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, Literal, Manifest,
    ManifestContentType, ManifestEntry, ManifestFile, ManifestStatus, NestedField, PartitionSpec,
    PrimitiveType, Schema, SchemaRef, Struct, Type,
};
use proptest::prelude::*;
use serde_json::json;
use snowpack_manifest::{ManifestSink, read_manifest};

const PATH: &str = "memory:///m.avro";
const SNAPSHOT: i64 = 77;

fn schema() -> SchemaRef {
    let field = |id, name: &str, of| Arc::new(NestedField::optional(id, name, Type::Primitive(of)));
    let fields = [
        field(1, "the key", PrimitiveType::String),
        field(2, "at", PrimitiveType::Date),
    ];
    Arc::new(
        Schema::builder()
            .with_fields(fields)
            .build()
            .expect("it is valid"),
    )
}

fn spec(names: [&str; 2], transforms: [&str; 2]) -> PartitionSpec {
    let fields = [
        json!({"source-id": 1, "field-id": 1000, "name": names[0], "transform": transforms[0]}),
        json!({"source-id": 2, "field-id": 1001, "name": names[1], "transform": transforms[1]}),
    ];
    serde_json::from_value(json!({"spec-id": 3, "fields": fields})).expect("it is valid")
}

fn file(path: &str, partition: [Option<Literal>; 2]) -> DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter(partition))
        .partition_spec_id(3)
        .record_count(5)
        .file_size_in_bytes(50)
        .build()
        .expect("every required field is set")
}

async fn write(
    io: &FileIO,
    version: FormatVersion,
    spec: PartitionSpec,
    entries: &[ManifestEntry],
) -> ManifestFile {
    let content = ManifestContentType::Data;
    let mut sink = ManifestSink::new(version, content, SNAPSHOT, schema(), spec).expect("it is supported");
    for entry in entries {
        let put = match entry.status {
            ManifestStatus::Added => sink.add(entry.data_file.clone(), entry.sequence_number),
            ManifestStatus::Existing => sink.keep(entry),
            ManifestStatus::Deleted => sink.mark_deleted(entry),
        };
        put.expect("it is a data file");
    }
    sink.finish(io, PATH).await.expect("memory takes everything")
}

fn entries() -> Vec<ManifestEntry> {
    let entry = |status, snapshot, number, file| {
        ManifestEntry::builder()
            .status(status)
            .snapshot_id(snapshot)
            .sequence_number(number)
            .file_sequence_number(number)
            .data_file(file)
            .build()
    };
    let partition = |key: Option<&str>| [key.map(Literal::string), Some(Literal::date(3))];
    vec![
        entry(
            ManifestStatus::Added,
            SNAPSHOT,
            9,
            file("a", partition(Some("x"))),
        ),
        entry(ManifestStatus::Existing, 5, 4, file("b", partition(None))),
        entry(
            ManifestStatus::Deleted,
            SNAPSHOT,
            2,
            file("c", partition(Some(""))),
        ),
    ]
}

async fn read(io: &FileIO, listed: &ManifestFile) -> Manifest {
    read_manifest(io, listed, Ok).await.expect("it is sound")
}

/// As the manifest list of a commit with sequence number 9 lists it.
fn committed(listed: ManifestFile) -> ManifestFile {
    ManifestFile {
        sequence_number: 9,
        ..listed
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_names_come_back(first in "\\PC{1,8}", second in "\\PC{1,8}") {
        prop_assume!(first != second);
        let spec = spec([&first, &second], ["identity", "identity"]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("there are threads");
        let read = runtime.block_on(async {
            let io = FileIO::new_with_memory();
            let listed = committed(write(&io, FormatVersion::V2, spec.clone(), &entries()).await);
            read(&io, &listed).await
        });
        prop_assert_eq!(read.metadata().partition_spec(), &spec);
        let read: Vec<_> = read.entries().iter().map(|entry| ManifestEntry::clone(entry)).collect();
        prop_assert_eq!(read, entries());
    }

    #[test]
    fn damage_is_an_error_or_harmless(at in 0_usize..4096, byte: u8, cut: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("there are threads");
        runtime.block_on(async {
            let io = FileIO::new_with_memory();
            let names = spec(["the key", "at"], ["identity", "day"]);
            let listed = committed(write(&io, FormatVersion::V2, names, &entries()).await);
            let mut bytes = io.new_input(PATH).unwrap().read().await.unwrap().to_vec();
            let at = at % bytes.len();
            match cut {
                true => bytes.truncate(at),
                false => bytes[at] = byte,
            }
            io.new_output(PATH).unwrap().write(Bytes::from(bytes)).await.unwrap();
            if let Err(error) = read_manifest(&io, &listed, Ok).await {
                assert!(error.to_string().contains(PATH), "{error}");
                assert!(!error.is_transient());
            }
        });
    }
}

#[tokio::test]
async fn a_dropped_field_of_v1_may_have_its_columns_name() {
    let io = FileIO::new_with_memory();
    let spec = spec(["the key", "at"], ["void", "identity"]);
    let partition = [None, Some(Literal::date(3))];
    let added = ManifestEntry::builder()
        .status(ManifestStatus::Added)
        .snapshot_id(SNAPSHOT)
        .sequence_number(0)
        .file_sequence_number(0)
        .data_file(file("a", partition.clone()))
        .build();
    let listed = write(&io, FormatVersion::V1, spec.clone(), &[added]).await;
    let listed = ManifestFile {
        sequence_number: 0,
        ..listed
    };
    let manifest = read(&io, &listed).await;
    assert_eq!(manifest.metadata().partition_spec(), &spec);
    assert_eq!(
        manifest.entries()[0].data_file().partition(),
        &Struct::from_iter(partition)
    );
}

#[tokio::test]
async fn manifests_are_compressed_and_their_length_is_listed() {
    let io = FileIO::new_with_memory();
    let entry = &entries()[0];
    let many = vec![entry.clone(); 500];
    let listed = committed(
        write(
            &io,
            FormatVersion::V2,
            spec(["k", "at"], ["identity", "day"]),
            &many,
        )
        .await,
    );
    let bytes = io.new_input(PATH).unwrap().read().await.unwrap();
    assert_eq!(listed.manifest_length, bytes.len() as i64);
    assert!(
        bytes.len() < 500 * 20,
        "{} bytes for 500 equal entries",
        bytes.len()
    );
    assert_eq!(read(&io, &listed).await.entries().len(), 500);
}

#[tokio::test]
async fn an_entry_missing_behind_a_cut_is_noticed() {
    let io = FileIO::new_with_memory();
    let listed = committed(
        write(
            &io,
            FormatVersion::V2,
            spec(["k", "at"], ["identity", "day"]),
            &entries(),
        )
        .await,
    );
    let listed = ManifestFile {
        added_files_count: Some(2),
        ..listed
    };
    let error = read_manifest(&io, &listed, Ok).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("2 live files where the manifest list counts 3"),
        "{error}"
    );
}

#[tokio::test]
async fn first_row_ids_are_inherited_in_order_and_written_ones_stay() {
    let io = FileIO::new_with_memory();
    let names = || spec(["k", "at"], ["identity", "day"]);
    let listed = write(
        &io,
        FormatVersion::V3,
        names(),
        &[&entries()[..], &entries()[..2]].concat(),
    )
    .await;
    let listed = ManifestFile {
        first_row_id: Some(100),
        ..committed(listed)
    };
    let ids = |manifest: &Manifest| -> Vec<_> {
        let files = manifest.entries().iter();
        files.map(|entry| entry.data_file().first_row_id()).collect()
    };
    let inherited = read(&io, &listed).await;
    // Every file has 5 rows; the third is deleted.
    assert_eq!(
        ids(&inherited),
        [Some(100), Some(105), None, Some(110), Some(115)]
    );
    let kept: Vec<_> = inherited
        .entries()
        .iter()
        .skip(3)
        .map(|entry| ManifestEntry::clone(entry))
        .collect();
    let again = write(&io, FormatVersion::V3, names(), &kept).await;
    let again = ManifestFile {
        first_row_id: Some(500),
        ..committed(again)
    };
    assert_eq!(ids(&read(&io, &again).await), [Some(110), Some(115)]);
}
