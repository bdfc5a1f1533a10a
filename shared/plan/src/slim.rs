//! Data files without the statistics that planning has no use for. A file of a wide table carries kilobytes of
//! them, which a table of 100,000 files cannot afford in memory.

use std::collections::{HashMap, HashSet};

use iceberg::spec::DataFile;
use snowpack_manifest::without_statistics;

/// The data file with the statistics of these columns only. Column sizes are dropped altogether; NaN counts stay, of
/// which there are few and Parquet footers have none.
pub(crate) fn slim(file: &DataFile, columns: &HashSet<i32>) -> DataFile {
    without_statistics(file)
        .value_counts(of_columns(file.value_counts(), columns))
        .null_value_counts(of_columns(file.null_value_counts(), columns))
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(of_columns(file.lower_bounds(), columns))
        .upper_bounds(of_columns(file.upper_bounds(), columns))
        .build()
        .expect("every required field is set")
}

fn of_columns<T: Clone>(statistics: &HashMap<i32, T>, columns: &HashSet<i32>) -> HashMap<i32, T> {
    let kept = columns
        .iter()
        .filter_map(|id| Some((*id, statistics.get(id)?.clone())));
    kept.collect()
}

#[cfg(test)]
mod tests {
    use iceberg::spec::Datum;

    use super::*;
    use crate::fixture::FileOf;

    #[test]
    fn keeps_everything_but_other_columns_statistics() {
        let counts = || HashMap::from([(1, 5), (2, 6)]);
        let bounds = || HashMap::from([(1, Datum::long(5)), (2, Datum::long(6))]);
        let full = FileOf::data("f", 10).with(|file| {
            file.column_sizes(counts())
                .value_counts(counts())
                .nan_value_counts(counts())
                .lower_bounds(bounds())
                .upper_bounds(bounds())
                .split_offsets(Some(vec![4]))
                .sort_order_id(3);
        });
        let only_two = full.clone().with(|file| {
            file.column_sizes(HashMap::new())
                .value_counts(HashMap::from([(2, 6)]))
                .lower_bounds(HashMap::from([(2, Datum::long(6))]))
                .upper_bounds(HashMap::from([(2, Datum::long(6))]));
        });
        assert_eq!(
            slim(&full.build().file, &HashSet::from([2])),
            only_two.build().file
        );
    }
}
