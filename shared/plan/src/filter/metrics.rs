//! Whether a data file's statistics leave room for rows that pass a filter (Java's `InclusiveMetricsEvaluator`
//! of Iceberg 1.10): `false` only if no row can.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use iceberg::spec::{DataFile, Datum, PrimitiveLiteral, PrimitiveType, Transform};
use iceberg::transform::create_transform_function;

use super::check::{Check, Comparison, Term, Test, Tree, compare, is_nan};

/// Lists longer than this are not compared with bounds (`InclusiveMetricsEvaluator.IN_PREDICATE_LIMIT`).
const MOST_COMPARED: usize = 200;

/// Whether rows of the file may pass.
pub(super) fn may_match(filter: &Tree<Test>, file: &DataFile) -> bool {
    file.record_count() > 0
        && filter.holds(&|test: &Test| {
            let column = ColumnStatistics {
                file,
                term: &test.term,
            };
            column.may_match(&test.check)
        })
}

/// What a file's manifest entry says of one column.
struct ColumnStatistics<'a> {
    file: &'a DataFile,
    term: &'a Term,
}

impl ColumnStatistics<'_> {
    fn may_match(&self, check: &Check<Datum>) -> bool {
        match check {
            Check::IsNull => !self.keeps_values() || self.may_have_nulls(),
            Check::NotNull => !self.has_only_nulls(),
            // Bounds need not be values of the column: that both are one value does not make it the only one.
            Check::Compare(Comparison::NotEq, _) | Check::NotIn(_) => true,
            Check::IsNan => {
                let has_none = self.is_column() && self.file_count(Self::nans) == Some(0);
                !self.has_only_nulls() && !has_none
            }
            Check::NotNan => !(self.is_column() && self.has_only_nans()),
            Check::Compare(comparison, value) => {
                !self.has_only_nulls()
                    && !self.has_only_nans()
                    && self.in_bounds(*comparison, value.literal())
            }
            Check::In(values) => {
                !self.has_only_nulls() && !self.has_only_nans() && self.any_in_bounds(values)
            }
            Check::StartsWith(prefix) => self.may_start_with(prefix),
            Check::NotStartsWith(prefix) => !self.all_start_with(prefix),
        }
    }

    fn is_column(&self) -> bool {
        self.term.transform == Transform::Identity
    }

    /// Whether what is compared is null only where the column is.
    fn keeps_values(&self) -> bool {
        self.is_column() || self.term.transform.preserves_order()
    }

    fn nans(file: &DataFile) -> &HashMap<i32, u64> {
        file.nan_value_counts()
    }

    fn file_count(&self, counts: impl Fn(&DataFile) -> &HashMap<i32, u64>) -> Option<u64> {
        counts(self.file).get(&self.term.id).copied()
    }

    fn may_have_nulls(&self) -> bool {
        self.file_count(DataFile::null_value_counts) != Some(0)
    }

    fn has_only_nulls(&self) -> bool {
        let nulls = self.file_count(DataFile::null_value_counts);
        nulls.is_some() && nulls == self.file_count(DataFile::value_counts)
    }

    fn has_only_nans(&self) -> bool {
        let nans = self.file_count(Self::nans);
        nans.is_some() && nans == self.file_count(DataFile::value_counts)
    }

    fn bound(&self, bounds: &HashMap<i32, Datum>) -> Option<PrimitiveLiteral> {
        let source = self.term.source.as_ref()?;
        let bound = promoted(bounds.get(&self.term.id)?, source);
        if self.is_column() {
            return Some(bound.literal().clone());
        }
        if !self.term.transform.preserves_order() {
            return None;
        }
        let transform = create_transform_function(&self.term.transform).ok()?;
        let transformed = transform.transform_literal(&bound).ok()??;
        Some(transformed.literal().clone())
    }

    /// A lower bound of NaN says nothing: ORC writers gave it for columns that only start with one.
    fn lower(&self) -> Option<PrimitiveLiteral> {
        self.bound(self.file.lower_bounds())
            .filter(|bound| !is_nan(bound))
    }

    fn upper(&self) -> Option<PrimitiveLiteral> {
        self.bound(self.file.upper_bounds())
    }

    fn in_bounds(&self, comparison: Comparison, value: &PrimitiveLiteral) -> bool {
        let lower = || self.lower().and_then(|bound| compare(&bound, value));
        let upper = || self.upper().and_then(|bound| compare(&bound, value));
        match comparison {
            Comparison::Lt => lower().is_none_or(Ordering::is_lt),
            Comparison::LtEq => lower().is_none_or(Ordering::is_le),
            Comparison::Gt => upper().is_none_or(Ordering::is_gt),
            Comparison::GtEq => upper().is_none_or(Ordering::is_ge),
            Comparison::Eq => lower().is_none_or(Ordering::is_le) && upper().is_none_or(Ordering::is_ge),
            Comparison::NotEq => true,
        }
    }

    fn any_in_bounds(&self, values: &[Datum]) -> bool {
        let Some(lower) = self.lower().filter(|_| values.len() <= MOST_COMPARED) else {
            return true;
        };
        let upper = self.upper();
        values.iter().any(|value| {
            let above = compare(&lower, value.literal()).is_none_or(Ordering::is_le);
            let upper = upper.as_ref();
            above && upper.is_none_or(|upper| compare(upper, value.literal()).is_none_or(Ordering::is_ge))
        })
    }

    fn may_start_with(&self, prefix: &str) -> bool {
        if !self.is_column() {
            return true;
        }
        let order = |bound: Option<PrimitiveLiteral>| match bound {
            Some(PrimitiveLiteral::String(bound)) => Some(head(&bound, prefix).cmp(prefix)),
            _ => None,
        };
        !self.has_only_nulls()
            && order(self.lower()).is_none_or(Ordering::is_le)
            && order(self.upper()).is_none_or(Ordering::is_ge)
    }

    fn all_start_with(&self, prefix: &str) -> bool {
        let starts = |bound: Option<PrimitiveLiteral>| match bound {
            Some(PrimitiveLiteral::String(bound)) => bound.starts_with(prefix),
            _ => false,
        };
        !self.may_have_nulls() && starts(self.lower()) && starts(self.upper())
    }
}

/// The start of a bound that is as long as the prefix, or the whole bound if it is shorter.
fn head<'a>(bound: &'a str, prefix: &str) -> &'a str {
    let end = bound.char_indices().nth(prefix.chars().count());
    end.map_or(bound, |(end, _)| &bound[..end])
}

/// A bound as the type its column has now (spec, Schema Evolution: int to long, float to double).
fn promoted<'a>(bound: &'a Datum, target: &PrimitiveType) -> Cow<'a, Datum> {
    match (bound.literal(), target) {
        (PrimitiveLiteral::Int(value), PrimitiveType::Long) => Cow::Owned(Datum::long(*value)),
        (PrimitiveLiteral::Float(value), PrimitiveType::Double) => Cow::Owned(Datum::double(value.0)),
        _ => Cow::Borrowed(bound),
    }
}
