//! Each rule of the statistics test, and its safety: no delete that matches a row is ever left out.

use iceberg::spec::DataContentType;
use proptest::prelude::*;

use super::*;
use crate::fixture::{FileOf, metadata, metadata_from, metadata_json};

const NAME: i32 = 3;

/// A file whose column `id` has these values, with honest statistics.
fn file_with(id: i32, values: &[Option<&str>]) -> FileOf {
    FileOf::deletes("f", DataContentType::EqualityDeletes).with(|file| {
        let present = || values.iter().copied().flatten();
        file.equality_ids(Some(vec![id]))
            .value_counts(HashMap::from([(id, values.len() as u64)]))
            .null_value_counts(HashMap::from([(id, (values.len() - present().count()) as u64)]))
            .lower_bounds(
                present()
                    .min()
                    .map(|low| (id, Datum::string(low)))
                    .into_iter()
                    .collect(),
            )
            .upper_bounds(
                present()
                    .max()
                    .map(|high| (id, Datum::string(high)))
                    .into_iter()
                    .collect(),
            );
    })
}

fn may_match(data: FileOf, delete: FileOf) -> bool {
    may_match_in(&metadata(), data, delete)
}

fn may_match_in(metadata: &TableMetadata, data: FileOf, delete: FileOf) -> bool {
    let comparison = Comparison::of(&[delete.build()], metadata);
    comparison.may_match(0, &comparison.statistics_of(&data.build().file))
}

#[test]
fn ranges_that_do_not_meet_cannot_match() {
    let data = file_with(NAME, &[Some("b"), Some("d")]);
    assert!(!may_match(data.clone(), file_with(NAME, &[Some("a")])));
    assert!(!may_match(data.clone(), file_with(NAME, &[Some("e"), Some("f")])));
    assert!(may_match(data.clone(), file_with(NAME, &[Some("d"), Some("f")])));
    assert!(may_match(data, file_with(NAME, &[Some("c")])));
}

#[test]
fn nulls_match_only_nulls() {
    assert!(may_match(
        file_with(NAME, &[None, Some("a")]),
        file_with(NAME, &[None, Some("z")])
    ));
    assert!(!may_match(
        file_with(NAME, &[None, None]),
        file_with(NAME, &[Some("a")])
    ));
    assert!(!may_match(
        file_with(NAME, &[Some("a")]),
        file_with(NAME, &[None])
    ));
}

#[test]
fn missing_statistics_may_match() {
    let bare = FileOf::data("d", 10);
    assert!(may_match(bare.clone(), file_with(NAME, &[Some("a")])));
    assert!(may_match(
        file_with(NAME, &[Some("a")]),
        bare.with(|file| {
            file.equality_ids(Some(vec![NAME, 999]));
        })
    ));
}

#[test]
fn bounds_from_before_a_promotion_are_compared() {
    let with = |datum: Datum| {
        FileOf::deletes("f", DataContentType::EqualityDeletes).with(|file| {
            let bound = HashMap::from([(1, datum)]);
            file.equality_ids(Some(vec![1]))
                .lower_bounds(bound.clone())
                .upper_bounds(bound);
        })
    };
    assert!(!may_match(with(Datum::int(5)), with(Datum::long(6))));
    assert!(may_match(with(Datum::int(5)), with(Datum::long(5))));
}

#[test]
fn nan_is_outside_bounds() {
    let with = |value: f64, nans: u64| {
        FileOf::deletes("f", DataContentType::EqualityDeletes).with(|file| {
            let bound = HashMap::from([(4, Datum::double(value))]);
            file.equality_ids(Some(vec![4]))
                .null_value_counts(HashMap::from([(4, 0)]))
                .nan_value_counts(HashMap::from([(4, nans)]))
                .lower_bounds(bound.clone())
                .upper_bounds(bound);
        })
    };
    assert!(may_match(with(1.0, 1), with(2.0, 1)));
    assert!(!may_match(with(1.0, 1), with(2.0, 0)));
}

#[test]
fn a_dropped_column_is_found_in_its_old_schema() {
    let mut json = metadata_json();
    let current = r#"{"type": "struct", "schema-id": 1, "fields": [{"id": 1, "name": "id", "required": true, "type": "long"}, {"id": 2, "name": "part", "required": false, "type": "int"}]}"#;
    json["schemas"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::from_str(current).unwrap());
    json["current-schema-id"] = 1.into();
    let (data, delete) = (file_with(NAME, &[Some("a")]), file_with(NAME, &[Some("z")]));
    assert!(!may_match_in(&metadata_from(&json), data, delete));
}

fn values() -> impl Strategy<Value = Vec<Option<String>>> {
    prop::collection::vec(prop::option::of("[a-d]"), 1..4)
}

proptest! {
    #[test]
    fn a_matching_delete_is_never_left_out(data in values(), deleted in values()) {
        let borrowed = |values: &[Option<String>]| -> FileOf {
            file_with(NAME, &values.iter().map(Option::as_deref).collect::<Vec<_>>())
        };
        let matches = data.iter().any(|value| deleted.contains(value));
        prop_assert!(may_match(borrowed(&data), borrowed(&deleted)) || !matches);
    }
}
