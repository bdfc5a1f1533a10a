//! Work by kind of file, and times by kind of work.

use iceberg::spec::DataContentType;

use super::*;
use crate::fixture::{FileOf, metadata, settings, state};
use crate::rewrite::plan;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn work(
    files: Vec<FileOf>,
    deletes: Vec<FileOf>,
    settings: &Compaction,
    format: FormatVersion,
) -> NativeWork {
    let plan = plan(&state(files, deletes), &metadata(), settings, None);
    NativeWork::of_rewrite(&plan, settings, format)
}

fn files(count: usize, bytes: u64) -> Vec<FileOf> {
    (0..count)
        .map(|index| FileOf::data(&format!("f{index}"), bytes))
        .collect()
}

#[test]
fn whole_files_are_copied_and_the_rest_is_encoded() {
    let copied = work(files(6, 10 * MIB), vec![], &settings(GIB), FormatVersion::V2);
    assert_eq!(
        (copied.copied_bytes, copied.encoded_bytes, copied.files),
        (60 * MIB, 0, 6)
    );
    let scraps = work(files(6, MIB - 1), vec![], &settings(GIB), FormatVersion::V2);
    assert_eq!((scraps.copied_bytes, scraps.encoded_bytes), (0, 6 * (MIB - 1)));
    let lineage = work(files(6, 10 * MIB), vec![], &settings(GIB), FormatVersion::V3);
    assert_eq!(lineage.copied_bytes, 0);
    let sorted = Compaction {
        strategy: Strategy::Sort,
        sort_order: Some("id".into()),
        ..settings(GIB)
    };
    let sorted = work(files(6, 10 * MIB), vec![], &sorted, FormatVersion::V2);
    assert_eq!((sorted.sorts, sorted.encoded_bytes), (true, 60 * MIB));
}

#[test]
fn deletes_cost_their_file_the_shortcut() {
    let delete = FileOf::deletes("d", DataContentType::PositionDeletes)
        .at(50)
        .with(|file| {
            file.referenced_data_file(Some("f0".to_owned()));
        });
    let work = work(
        files(6, 10 * MIB),
        vec![delete],
        &settings(GIB),
        FormatVersion::V2,
    );
    assert_eq!(
        (work.encoded_bytes, work.copied_bytes, work.files),
        (10 * MIB, 50 * MIB, 7)
    );
}

#[test]
fn times_grow_with_the_work_and_saturate() {
    let encoded = |bytes| NativeWork {
        encoded_bytes: bytes,
        ..NativeWork::default()
    };
    let seconds = |work: NativeWork| work.estimate().as_micros() / 1_000_000;
    assert_eq!(seconds(encoded(0)), 0);
    assert_eq!(seconds(encoded(30 * GIB)), 1024);
    let sorted = NativeWork {
        sorts: true,
        ..encoded(30 * GIB)
    };
    assert_eq!(seconds(sorted), 3 * 1024);
    let copied = NativeWork {
        copied_bytes: 30 * GIB,
        ..NativeWork::default()
    };
    assert!(seconds(copied) * 4 < 1024);
    let read_back = NativeWork {
        reads_back: true,
        ..copied
    };
    assert_eq!(seconds(read_back) / 2, seconds(copied));
    assert!(seconds(encoded(u64::MAX)) > 0);
}
