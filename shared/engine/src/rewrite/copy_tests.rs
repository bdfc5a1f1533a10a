//! Which row groups of a group's files are copied, and what the new files then hold.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use iceberg::spec::{DataFile, NestedField, PrimitiveType, StructType};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use snowpack_domain::Verification;
use snowpack_plan::ScanFile;

use super::tests::{context, group, run};
use super::{RewriteContext, RewrittenGroup, rewrite_group};
use crate::fake::FakeSupervisor;
use crate::sample::{SampleTable, Value, live};
use crate::write::WrittenFiles;

/// The samples have row groups of 7 rows, of a few hundred bytes.
const COPIED: [(&str, &str); 2] = [
    ("write.parquet.compression-codec", "uncompressed"),
    ("write.parquet.row-group-size-bytes", "400"),
];

fn fields() -> StructType {
    StructType::new(vec![
        NestedField::required(1, "id", PrimitiveType::Long.into()).into(),
        NestedField::optional(2, "text", PrimitiveType::String.into()).into(),
        NestedField::optional(3, "ratio", PrimitiveType::Double.into()).into(),
    ])
}

fn row(id: i64) -> Value {
    let text = if id % 3 == 0 {
        Value::Null
    } else {
        Value::Text(format!("row {id}"))
    };
    Value::Struct(vec![Value::Int(id), text, Value::float(id as f64 / 4.0)])
}

/// A table of one data file per range of ids, without the last.
async fn table(properties: &[(&str, &str)], files: &[(i64, i64)]) -> (SampleTable, Vec<ScanFile>) {
    let table = SampleTable::new(&[fields()], Vec::new(), properties);
    let mut scans = Vec::new();
    for (index, (first, end)) in files.iter().enumerate() {
        let rows: Vec<Value> = (*first..*end).map(row).collect();
        let mut file = table.data_file(&format!("in-{index}"), &fields(), &rows).await;
        let file = file.nan_value_counts(HashMap::from([(3, 0)])).build().unwrap();
        scans.push(ScanFile::new(live(file, 0, 1)));
    }
    (table, scans)
}

async fn footer(table: &SampleTable, file: &DataFile) -> (Bytes, ParquetMetaData) {
    let bytes = table
        .io
        .new_input(file.file_path())
        .unwrap()
        .read()
        .await
        .unwrap();
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    let footer = reader.parse_and_finish(&bytes).unwrap();
    (bytes, footer)
}

/// The bytes of every row group.
async fn row_groups(table: &SampleTable, file: &DataFile) -> Vec<Bytes> {
    let (bytes, footer) = footer(table, file).await;
    let row_groups = footer.row_groups().iter().map(|row_group| {
        let ranges = row_group.columns().iter().map(|column| column.byte_range());
        let chunks =
            ranges.flat_map(|(start, length)| bytes[start as usize..(start + length) as usize].to_vec());
        chunks.collect()
    });
    row_groups.collect()
}

/// Rewrites the files into one, without verifying contents, which would decode them all.
async fn rewrite(table: &SampleTable, scans: Vec<ScanFile>) -> RewrittenGroup {
    let context = context(table).verified(Verification::Counts);
    let (written, supervisor) = (WrittenFiles::default(), FakeSupervisor::default());
    let rewritten = rewrite_group(&context, &group(scans, 1), &written, &supervisor).await;
    rewritten.unwrap()
}

/// Rewrites the files into one; returns how many of their row groups are in it as they were, and how many it has.
async fn copied(table: &SampleTable, scans: Vec<ScanFile>) -> (usize, usize) {
    let mut before = HashSet::new();
    for scan in &scans {
        before.extend(row_groups(table, &scan.data.file).await);
    }
    let rewritten = rewrite(table, scans).await;
    let [file] = &rewritten.files[..] else {
        panic!("{} files", rewritten.files.len());
    };
    let after = row_groups(table, file).await;
    (
        after.iter().filter(|bytes| before.contains(*bytes)).count(),
        after.len(),
    )
}

#[test]
fn row_groups_of_decent_size_are_copied_and_the_rest_is_encoded_together() {
    run(async {
        // Rows 0 to 13 are two whole row groups, 14 a small one; then three small ones.
        let (table, scans) = table(&COPIED, &[(0, 15), (20, 22), (30, 32), (40, 42)]).await;
        assert_eq!(copied(&table, scans).await, (2, 3));
    });
}

#[test]
fn what_is_copied_is_described_as_if_it_had_been_encoded() {
    run(async {
        let ranges = [(0, 14), (21, 35)];
        let (copying, scans) = table(&COPIED, &ranges).await;
        let copied = rewrite(&copying, scans).await;
        let (encoding, scans) = table(&COPIED[..1], &ranges).await;
        let encoded = rewrite(&encoding, scans).await;
        let ([copied], [encoded]) = (&copied.files[..], &encoded.files[..]) else {
            panic!("one file each");
        };
        assert_eq!(copying.rows_of(copied).await, encoding.rows_of(encoded).await);
        assert_eq!(copied.record_count(), 28);
        assert_eq!(copied.value_counts(), encoded.value_counts());
        assert_eq!(copied.null_value_counts(), encoded.null_value_counts());
        assert_eq!(copied.nan_value_counts(), encoded.nan_value_counts());
        assert_eq!(copied.lower_bounds(), encoded.lower_bounds());
        assert_eq!(copied.upper_bounds(), encoded.upper_bounds());
        let offsets = copied.split_offsets().unwrap();
        assert_eq!(offsets.len(), 4);
        let (bytes, footer) = footer(&copying, copied).await;
        assert_eq!(copied.file_size_in_bytes(), bytes.len() as u64);
        // The page index moved along.
        let pages = footer.offset_index().unwrap();
        for (row_group, pages) in footer.row_groups().iter().zip(pages) {
            for (column, pages) in row_group.columns().iter().zip(pages) {
                assert_eq!(pages.page_locations[0].offset, column.data_page_offset());
            }
        }
        assert!(footer.column_index().is_some());
    });
}

#[test]
fn nothing_is_copied_that_would_not_be_written_like_that() {
    run(async {
        let none = |what: &'static str| move |copied: (usize, usize)| assert_eq!(copied.0, 0, "{what}");
        let (zstd, scans) = table(
            &[("write.parquet.compression-codec", "zstd"), COPIED[1]],
            &[(0, 14)],
        )
        .await;
        none("another codec")(copied(&zstd, scans).await);

        let (large, scans) = table(&COPIED[..1], &[(0, 14)]).await;
        none("row groups too small")(copied(&large, scans).await);

        let filter = ("write.parquet.bloom-filter-enabled.column.id", "true");
        let (bloom, scans) = table(&[COPIED[0], COPIED[1], filter], &[(0, 14)]).await;
        none("no bloom filter")(copied(&bloom, scans).await);

        let (renamed, scans) = table(&COPIED, &[(0, 14)]).await;
        let mut changed = fields().fields().to_vec();
        changed[1] = NestedField::optional(2, "words", PrimitiveType::String.into()).into();
        let now = SampleTable::new(&[fields(), StructType::new(changed)], Vec::new(), &COPIED);
        let now = SampleTable {
            io: renamed.io,
            ..now
        };
        none("a column renamed")(copied(&now, scans).await);

        let (deleted, mut scans) = table(&COPIED, &[(0, 14)]).await;
        let path = scans[0].data.file.file_path().to_owned();
        let delete = deleted.position_deletes("deletes", &[(path, 3)]).await;
        scans[0].position_deletes.push(live(delete, 0, 2));
        none("a row deleted")(copied(&deleted, scans).await);

        let (unknown, mut scans) = table(&COPIED, &[(0, 14)]).await;
        let rows: Vec<Value> = (0..14).map(row).collect();
        let uncounted = unknown
            .data_file("uncounted", &fields(), &rows)
            .await
            .build()
            .unwrap();
        scans[0].data = live(uncounted, 0, 1);
        none("NaN values not counted")(copied(&unknown, scans).await);
    });
}

#[test]
fn files_are_cut_between_copied_row_groups() {
    run(async {
        let (table, scans) = table(&COPIED, &[(0, 140), (140, 280)]).await;
        let supervisor = FakeSupervisor::default();
        let context = RewriteContext::of(table.metadata.clone(), table.io.clone(), 0).unwrap();
        let rewritten = rewrite_group(&context, &group(scans, 3), &WrittenFiles::default(), &supervisor)
            .await
            .unwrap();
        let counts: Vec<u64> = rewritten.files.iter().map(DataFile::record_count).collect();
        assert_eq!(counts, [91, 98, 91]);
    });
}
