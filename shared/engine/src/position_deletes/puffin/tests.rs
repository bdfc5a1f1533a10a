//! What is written is what `iceberg` reads, entry by entry, whatever the vectors are and however files are cut.

use iceberg::puffin::PuffinReader;
use iceberg::spec::{NestedField, PrimitiveType, StructType, Type};
use proptest::prelude::*;
use roaring::RoaringTreemap;

use super::*;
use crate::deletes::vector::{encode, read};
use crate::sample::SampleTable;

fn context() -> VectorContext {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    let table = SampleTable::new(&[StructType::new(vec![id.into()])], Vec::new(), &[]);
    VectorContext {
        io: table.io.clone(),
        verify: Verification::Content,
        locations: LocationProvider::of(&table.metadata).unwrap(),
        table: Arc::clone(&table.metadata),
    }
}

async fn write(context: &VectorContext, vectors: &[RoaringTreemap], limit: u64) -> Vec<DataFile> {
    let written = WrittenFiles::default();
    let mut output = PuffinOutput::new(context, 7, limit, &written);
    let partition = Struct::empty();
    for (index, positions) in vectors.iter().enumerate() {
        let vector = NewVector {
            data_file: format!("s3://b/data/{index}.parquet"),
            partition: &partition,
            placed: Placed {
                spec_id: 0,
                sequence_number: index as i64,
            },
            cardinality: positions.len(),
            blob: encode(positions).unwrap(),
        };
        output.add(vector).await.unwrap();
    }
    let (files, placed) = output.finish().await.unwrap();
    let numbers: Vec<_> = placed.iter().map(|placed| placed.sequence_number).collect();
    assert_eq!(numbers, (0..vectors.len() as i64).collect::<Vec<_>>());
    let mut paths: Vec<_> = files.iter().map(|file| file.file_path().to_owned()).collect();
    paths.dedup();
    assert_eq!(paths, written.locations());
    files
}

async fn check(context: &VectorContext, files: &[DataFile], vectors: &[RoaringTreemap]) {
    assert_eq!(files.len(), vectors.len());
    for (index, (file, positions)) in files.iter().zip(vectors).enumerate() {
        assert_eq!(read(&context.io, file).await.unwrap(), *positions);
        let input = context.io.new_input(file.file_path()).unwrap();
        assert_eq!(input.metadata().await.unwrap().size, file.file_size_in_bytes());
        let reader = PuffinReader::new(input);
        let footer = reader.file_metadata().await.unwrap();
        let offset = file.content_offset().map(|offset| offset as u64);
        let blob = footer
            .blobs()
            .iter()
            .find(|blob| Some(blob.offset()) == offset)
            .unwrap();
        assert_eq!(Some(blob.length() as i64), file.content_size_in_bytes());
        assert_eq!(
            (blob.blob_type(), blob.fields()),
            (DELETION_VECTOR_V1, &[i32::MAX - 2][..])
        );
        assert_eq!((blob.snapshot_id(), blob.sequence_number()), (-1, -1));
        let target = format!("s3://b/data/{index}.parquet");
        let properties = HashMap::from([
            ("referenced-data-file".to_owned(), target.clone()),
            ("cardinality".to_owned(), positions.len().to_string()),
        ]);
        assert_eq!(*blob.properties(), properties);
        assert_eq!(
            (file.referenced_data_file(), file.record_count()),
            (Some(target), positions.len())
        );
        assert_eq!(file.equality_ids(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn vectors_come_back_from_as_many_files_as_the_limit_makes(
        vectors in prop::collection::vec(prop::collection::btree_set(0..(1_u64 << 40), 1..40), 1..12),
        limit in 1..6_000_u64,
    ) {
        let vectors: Vec<RoaringTreemap> = vectors.into_iter().map(|set| set.into_iter().collect()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let context = context();
            let files = write(&context, &vectors, limit).await;
            check(&context, &files, &vectors).await;
            let fits = |file: &DataFile| file.file_size_in_bytes() <= limit.max(4_000);
            assert!(files.iter().all(fits), "a limit of {limit}");
        });
    }
}

#[tokio::test]
async fn names_are_those_of_delete_files() {
    let files = write(&context(), &[RoaringTreemap::from_iter([1])], 10).await;
    assert!(
        files[0].file_path().contains("/data/00007-7-"),
        "{}",
        files[0].file_path()
    );
    assert!(files[0].file_path().ends_with("-00001-deletes.puffin"));
}
