//! Copies of data files that differ in one thing: `DataFile` has no setters, and its builder takes no file.

use iceberg::spec::{DataFile, DataFileBuilder};

/// A builder of a file that is the same in everything but statistics, of which it has none, and the id of its spec,
/// which a file does not tell.
pub fn without_statistics(file: &DataFile) -> DataFileBuilder {
    let mut copy = DataFileBuilder::default();
    copy.content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .first_row_id(file.first_row_id())
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes());
    if let Some(order) = file.sort_order_id() {
        copy.sort_order_id(order);
    }
    copy
}

/// A builder of a file that is the same in everything but the id of its spec, which a file does not tell.
pub fn to_builder(file: &DataFile) -> DataFileBuilder {
    let mut copy = without_statistics(file);
    copy.column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone());
    copy
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use iceberg::spec::{DataContentType, DataFileFormat, Datum, Literal, Struct};

    use super::*;

    #[test]
    fn a_copy_has_everything() {
        let counts = || HashMap::from([(1, 5)]);
        let bounds = || HashMap::from([(1, Datum::long(5))]);
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::PositionDeletes)
            .file_path("f".to_owned())
            .file_format(DataFileFormat::Puffin)
            .partition(Struct::from_iter([Some(Literal::int(1))]))
            .record_count(5)
            .file_size_in_bytes(6)
            .key_metadata(Some(vec![1]))
            .split_offsets(Some(vec![4]))
            .equality_ids(Some(vec![1]))
            .first_row_id(Some(7))
            .referenced_data_file(Some("d".to_owned()))
            .content_offset(Some(4))
            .content_size_in_bytes(Some(8))
            .sort_order_id(3);
        let plain = builder.build().unwrap();
        builder
            .column_sizes(counts())
            .value_counts(counts())
            .null_value_counts(counts())
            .nan_value_counts(counts())
            .lower_bounds(bounds())
            .upper_bounds(bounds());
        let full = builder.build().unwrap();
        assert_eq!(to_builder(&full).build().unwrap(), full);
        assert_eq!(without_statistics(&full).build().unwrap(), plain);
    }
}
