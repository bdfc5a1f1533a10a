//! Partition tuples as keys to sort by, and the ranges of them that manifest lists tell.

use iceberg::spec::{Datum, FieldSummary, Literal, PrimitiveLiteral, Struct, StructType};

/// One partition value. Nulls sort first and NaN last; int and long, float and double compare as one type,
/// so that a promoted column does not tear a table in two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Null,
    Whole(i64),
    /// The bits of a number, arranged to sort like it.
    Real(i64),
    Wide(i128),
    Unsigned(u128),
    Bytes(Vec<u8>),
    Nan,
}

impl Key {
    fn of(value: &PrimitiveLiteral) -> Self {
        match value {
            PrimitiveLiteral::Boolean(value) => Self::Whole(i64::from(*value)),
            PrimitiveLiteral::Int(value) => Self::Whole(i64::from(*value)),
            PrimitiveLiteral::Long(value) => Self::Whole(*value),
            PrimitiveLiteral::Float(value) => Self::real(f64::from(value.0)),
            PrimitiveLiteral::Double(value) => Self::real(value.0),
            PrimitiveLiteral::String(value) => Self::Bytes(value.as_bytes().to_vec()),
            PrimitiveLiteral::Binary(value) => Self::Bytes(value.clone()),
            PrimitiveLiteral::Int128(value) => Self::Wide(*value),
            PrimitiveLiteral::UInt128(value) => Self::Unsigned(*value),
            PrimitiveLiteral::BelowMin => Self::Null,
            PrimitiveLiteral::AboveMax => Self::Nan,
        }
    }

    fn real(value: f64) -> Self {
        if value.is_nan() {
            return Self::Nan;
        }
        // -0.0 and 0.0 are one value to every reader of bounds.
        let bits = (value + 0.0).to_bits() as i64;
        Self::Real(if bits < 0 { bits ^ i64::MAX } else { bits })
    }
}

/// A partition tuple to sort entries of one spec by.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionKey(Vec<Key>);

impl PartitionKey {
    /// The key of a partition.
    pub fn of(partition: &Struct) -> Self {
        let key = |value: Option<&Literal>| match value {
            Some(Literal::Primitive(value)) => Key::of(value),
            _ => Key::Null,
        };
        Self(partition.iter().map(key).collect())
    }
}

/// The values of one partition field in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    lower: Key,
    upper: Key,
}

impl Range {
    fn is_one_value(&self) -> bool {
        self.lower == self.upper
    }
}

/// The values of every partition field in a manifest. Footprints sort by lower and upper value of the first
/// field, then of the second, and so on: the order of the manifests of a sorted table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Footprint(Vec<Range>);

impl Footprint {
    /// What a manifest list says; absent when it leaves something out or cannot be read.
    pub(super) fn of(summaries: Option<&[FieldSummary]>, partition_type: &StructType) -> Option<Self> {
        let fields = partition_type.fields();
        if fields.is_empty() {
            return Some(Self(Vec::new()));
        }
        let summaries = summaries.filter(|summaries| summaries.len() == fields.len())?;
        let ranges = summaries.iter().zip(fields).map(|(summary, field)| {
            let kind = field.field_type.as_primitive_type()?;
            let bound = |bytes: &[u8]| {
                let datum = Datum::try_from_bytes(bytes, kind.clone()).ok();
                datum.map(|datum| Key::of(datum.literal()))
            };
            let lower = summary.lower_bound.as_ref().map(|bytes| bound(bytes));
            let upper = summary.upper_bound.as_ref().map(|bytes| bound(bytes));
            range(
                summary,
                lower.map_or(Some(None), |key| key.map(Some))?,
                upper.map_or(Some(None), |key| key.map(Some))?,
            )
        });
        ranges.collect::<Option<_>>().map(Self)
    }

    /// Whether every tuple of `self` may come before every tuple of `next`, as far as the ranges tell. Of two
    /// manifests that share a first value, one of which has others too, they do not tell more.
    pub(super) fn is_before(&self, next: &Self) -> bool {
        for (ours, theirs) in self.0.iter().zip(&next.0) {
            match ours.upper.cmp(&theirs.lower) {
                std::cmp::Ordering::Less => return true,
                std::cmp::Ordering::Greater => return false,
                std::cmp::Ordering::Equal if ours.is_one_value() && theirs.is_one_value() => {}
                std::cmp::Ordering::Equal => return true,
            }
        }
        true
    }
}

fn range(summary: &FieldSummary, lower: Option<Key>, upper: Option<Key>) -> Option<Range> {
    let has_nan = summary.contains_nan == Some(true);
    let nan = || has_nan.then_some(Key::Nan);
    let null = || summary.contains_null.then_some(Key::Null);
    Some(Range {
        lower: null().or(lower).or_else(nan)?,
        upper: nan().or(upper).or_else(null)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: Literal) -> PartitionKey {
        PartitionKey::of(&Struct::from_iter([Some(value)]))
    }

    fn footprint(fields: &[(i64, i64)]) -> Footprint {
        let range = |(lower, upper): &(i64, i64)| Range {
            lower: Key::Whole(*lower),
            upper: Key::Whole(*upper),
        };
        Footprint(fields.iter().map(range).collect())
    }

    #[test]
    fn values_sort_like_the_numbers_and_texts_they_are() {
        let null = PartitionKey::of(&Struct::from_iter([None]));
        assert!(null < key(Literal::long(i64::MIN)));
        assert_eq!(key(Literal::int(5)), key(Literal::long(5)));
        assert!(key(Literal::string("a")) < key(Literal::string("ä")));
        let reals = [
            f64::NEG_INFINITY,
            -1.5,
            -0.0,
            1e-300,
            2.5,
            f64::INFINITY,
            f64::NAN,
        ];
        let keys: Vec<_> = reals.into_iter().map(|real| key(Literal::double(real))).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        assert_eq!(key(Literal::double(-0.0)), key(Literal::double(0.0)));
        assert_eq!(key(Literal::float(0.5)), key(Literal::double(0.5)));
    }

    #[test]
    fn only_ranges_that_certainly_overlap_are_out_of_order() {
        let before = |a: &[(i64, i64)], b: &[(i64, i64)]| footprint(a).is_before(&footprint(b));
        assert!(before(&[(1, 2)], &[(3, 4)]) && before(&[(1, 2)], &[(2, 4)]));
        assert!(!before(&[(1, 3)], &[(2, 4)]));
        assert!(before(&[(1, 1), (1, 5)], &[(1, 1), (5, 9)]));
        assert!(!before(&[(1, 1), (1, 6)], &[(1, 1), (5, 9)]));
        assert!(
            before(&[(1, 2), (1, 9)], &[(2, 2), (1, 9)]),
            "it may end with (2, 1)"
        );
        assert!(before(&[], &[]), "without partitions there is no order");
    }

    #[test]
    fn nulls_and_nan_widen_a_range() {
        let summary = |contains_null, contains_nan| FieldSummary {
            contains_null,
            contains_nan: Some(contains_nan),
            ..FieldSummary::default()
        };
        let five = || Some(Key::Whole(5));
        let ends = |range: Option<Range>| range.map(|range| (range.lower, range.upper));
        assert_eq!(
            ends(range(&summary(true, true), five(), five())),
            Some((Key::Null, Key::Nan))
        );
        assert_eq!(
            ends(range(&summary(true, false), None, None)),
            Some((Key::Null, Key::Null))
        );
        assert_eq!(
            ends(range(&summary(false, true), None, None)),
            Some((Key::Nan, Key::Nan))
        );
        assert_eq!(range(&summary(false, false), None, None), None);
    }
}
