//! What a filter on rows asks of partition values (Java's `Projections.inclusive` and the transforms' `project` of
//! Iceberg 1.10): a partition that holds a passing row always passes.

use iceberg::spec::{Datum, PartitionSpec, PrimitiveLiteral, PrimitiveType, Transform};
use iceberg::transform::create_transform_function;

use super::check::{Check, Comparison, Test, Tree};
use super::coerce::decimal;

/// A question about one partition value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PartitionTest {
    /// Position in the partition tuple.
    pub(super) position: usize,
    pub(super) check: Check<PrimitiveLiteral>,
}

/// The filter's projection on partitions of a spec.
pub(super) fn project(filter: &Tree<Test>, spec: &PartitionSpec) -> Tree<PartitionTest> {
    filter.replace(&|test: &Test| {
        let fields = spec.fields().iter().enumerate();
        let of_column = fields.filter(|(_, field)| field.source_id == test.term.id);
        Tree::all(of_column.filter_map(|(position, field)| {
            let check = project_test(test, &field.transform)?;
            Some(Tree::Leaf(PartitionTest { position, check }))
        }))
    })
}

/// `None` where the partition value tells nothing. A transform in the filter tells only of partitions by the
/// same transform; Java's identity transform takes it for the column itself, which leaves out files.
fn project_test(test: &Test, transform: &Transform) -> Option<Check<PrimitiveLiteral>> {
    let check = &test.check;
    if test.term.transform != Transform::Identity {
        return (test.term.transform == *transform).then(|| check.untyped());
    }
    match (transform, check) {
        (Transform::Identity, _) => Some(check.untyped()),
        (Transform::Void | Transform::Unknown, _) => None,
        (_, Check::IsNull | Check::NotNull) => Some(check.untyped()),
        (Transform::Bucket(_), Check::Compare(comparison, value)) => {
            let bucket = || Some(Check::Compare(Comparison::Eq, apply(transform, value)?));
            (*comparison == Comparison::Eq).then(bucket).flatten()
        }
        (_, Check::In(values)) => {
            let values = values.iter().map(|value| apply(transform, value));
            let check = Check::is_in(values.collect::<Option<Vec<_>>>()?);
            Some(widened_for_old_writers(
                check,
                test.term.source.as_ref(),
                transform,
            ))
        }
        (Transform::Bucket(_), _) => None,
        (_, Check::Compare(comparison, value)) => {
            let check = project_comparison(transform, *comparison, value)?;
            Some(widened_for_old_writers(
                check,
                test.term.source.as_ref(),
                transform,
            ))
        }
        (Transform::Truncate(width), Check::StartsWith(prefix)) => Some(project_prefix(*width, prefix)),
        (Transform::Truncate(width), Check::NotStartsWith(prefix)) => {
            match prefix.chars().count().cmp(&(*width as usize)) {
                std::cmp::Ordering::Less => Some(Check::NotStartsWith(prefix.clone())),
                std::cmp::Ordering::Equal => {
                    let whole = PrimitiveLiteral::String(prefix.clone());
                    Some(Check::Compare(Comparison::NotEq, whole))
                }
                std::cmp::Ordering::Greater => None,
            }
        }
        _ => None,
    }
}

/// Truncated values, and times in whole units, keep the order of what they are made of.
fn project_comparison(
    transform: &Transform,
    comparison: Comparison,
    value: &Datum,
) -> Option<Check<PrimitiveLiteral>> {
    let (comparison, edge) = match comparison {
        Comparison::Eq => (Comparison::Eq, value.clone()),
        Comparison::NotEq => return None,
        Comparison::LtEq => (Comparison::LtEq, value.clone()),
        Comparison::GtEq => (Comparison::GtEq, value.clone()),
        Comparison::Lt => (Comparison::LtEq, neighbour(value, -1)?),
        Comparison::Gt => (Comparison::GtEq, neighbour(value, 1)?),
    };
    Some(Check::Compare(comparison, apply(transform, &edge)?))
}

/// The next value up or down; strings and bytes, which have none, stay. `None` at the end of the type.
fn neighbour(value: &Datum, step: i8) -> Option<Datum> {
    let int = |value: i32| value.checked_add(i32::from(step));
    let long = |value: i64| value.checked_add(i64::from(step));
    Some(match (value.literal(), value.data_type()) {
        (PrimitiveLiteral::Int(v), PrimitiveType::Date) => Datum::date(int(*v)?),
        (PrimitiveLiteral::Int(v), _) => Datum::int(int(*v)?),
        (PrimitiveLiteral::Long(v), PrimitiveType::Timestamp) => Datum::timestamp_micros(long(*v)?),
        (PrimitiveLiteral::Long(v), PrimitiveType::Timestamptz) => Datum::timestamptz_micros(long(*v)?),
        (PrimitiveLiteral::Long(v), PrimitiveType::Long) => Datum::long(long(*v)?),
        (PrimitiveLiteral::Int128(v), kind) => decimal(v.checked_add(i128::from(step))?, kind)?,
        (PrimitiveLiteral::String(_) | PrimitiveLiteral::Binary(_), _) => value.clone(),
        _ => return None,
    })
}

fn project_prefix(width: u32, prefix: &str) -> Check<PrimitiveLiteral> {
    let truncated: String = prefix.chars().take(width as usize).collect();
    if prefix.chars().count() == width as usize {
        return Check::Compare(Comparison::Eq, PrimitiveLiteral::String(truncated));
    }
    Check::StartsWith(truncated)
}

fn apply(transform: &Transform, value: &Datum) -> Option<PrimitiveLiteral> {
    let function = create_transform_function(transform).ok()?;
    let transformed = function.transform_literal(value).ok()??;
    Some(transformed.literal().clone())
}

/// Iceberg 0.10 and older gave times before 1970 a partition value that is one too large; days of dates were
/// right (`ProjectionUtil.fixInclusiveTimeProjection`).
fn widened_for_old_writers(
    check: Check<PrimitiveLiteral>,
    source: Option<&PrimitiveType>,
    transform: &Transform,
) -> Check<PrimitiveLiteral> {
    let was_wrong = match transform {
        Transform::Year | Transform::Month | Transform::Hour => true,
        Transform::Day => source != Some(&PrimitiveType::Date),
        _ => false,
    };
    if !was_wrong {
        return check;
    }
    let one_larger = |value: &PrimitiveLiteral| match value {
        PrimitiveLiteral::Int(unit) if *unit < 0 => Some(PrimitiveLiteral::Int(unit + 1)),
        _ => None,
    };
    match check {
        Check::Compare(Comparison::LtEq, value) => {
            Check::Compare(Comparison::LtEq, one_larger(&value).unwrap_or(value))
        }
        Check::Compare(Comparison::Eq, value) => match one_larger(&value) {
            Some(larger) => Check::is_in(vec![value, larger]),
            None => Check::Compare(Comparison::Eq, value),
        },
        Check::In(mut values) => {
            let larger: Vec<_> = values.iter().filter_map(one_larger).collect();
            values.extend(larger);
            Check::is_in(values)
        }
        check => check,
    }
}
