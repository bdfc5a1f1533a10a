//! What comparing a column with a constant comes to, as Spark's type coercion and
//! `UnwrapCastInBinaryComparison` leave it: a question in values of the column's own type.

use iceberg::spec::{Datum, PrimitiveType};

use super::check::{Check, Comparison, Tree};
use super::constant::{Constant, clock, date, double, instant, start_of};

/// A comparison as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Of(Comparison),
    /// `<=>`, for which nulls are equal.
    NullSafeEq,
    NullSafeNotEq,
}

impl Operator {
    pub(super) fn negated(self) -> Self {
        use Comparison::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        match self {
            Self::NullSafeEq => Self::NullSafeNotEq,
            Self::NullSafeNotEq => Self::NullSafeEq,
            Self::Of(Eq) => Self::Of(NotEq),
            Self::Of(NotEq) => Self::Of(Eq),
            Self::Of(Lt) => Self::Of(GtEq),
            Self::Of(LtEq) => Self::Of(Gt),
            Self::Of(Gt) => Self::Of(LtEq),
            Self::Of(GtEq) => Self::Of(Lt),
        }
    }

    /// The comparison with its sides swapped.
    pub(super) fn flipped(self) -> Self {
        use Comparison::{Gt, GtEq, Lt, LtEq};
        match self {
            Self::Of(Lt) => Self::Of(Gt),
            Self::Of(LtEq) => Self::Of(GtEq),
            Self::Of(Gt) => Self::Of(Lt),
            Self::Of(GtEq) => Self::Of(LtEq),
            same => same,
        }
    }

    fn comparison(self) -> Comparison {
        match self {
            Self::Of(comparison) => comparison,
            Self::NullSafeEq => Comparison::Eq,
            Self::NullSafeNotEq => Comparison::NotEq,
        }
    }
}

/// Where a constant lies among the values of a type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    At(Datum),
    /// Between this value and the next.
    After(Datum),
    /// Between this value and the one before.
    Before(Datum),
    BeyondAll,
    BeforeAll,
    Nan,
}

/// What `column operator constant` asks of the column.
pub(super) fn compare(
    source: &PrimitiveType,
    operator: Operator,
    constant: &Constant,
) -> Result<Tree<Check<Datum>>, String> {
    if *constant == Constant::Null {
        return Ok(match operator {
            Operator::NullSafeEq => Tree::Leaf(Check::IsNull),
            Operator::NullSafeNotEq => Tree::Leaf(Check::NotNull),
            Operator::Of(_) => Tree::Always(false),
        });
    }
    use Comparison::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let check = |comparison, value| Ok(Tree::Leaf(Check::Compare(comparison, value)));
    // Spark asks of a boolean only whether it is true.
    if *constant == Constant::Bool(false) && matches!(operator, Operator::Of(Eq | NotEq)) {
        return compare(source, operator.negated(), &Constant::Bool(true));
    }
    match (place(source, constant)?, operator.comparison()) {
        (Place::Nan, Eq) => Ok(Tree::Leaf(Check::IsNan)),
        (Place::Nan, NotEq) => Ok(Tree::Leaf(Check::NotNan)),
        (Place::Nan, _) => Err("NaN can only be equal or not: it has no place in an order".to_owned()),
        (Place::At(value), comparison) => check(comparison, value),
        (Place::After(value), Gt | GtEq) => check(Gt, value),
        (Place::After(value), Lt | LtEq) => check(LtEq, value),
        (Place::Before(value), Gt | GtEq) => check(GtEq, value),
        (Place::Before(value), Lt | LtEq) => check(Lt, value),
        (Place::BeyondAll, Lt | LtEq) | (Place::BeforeAll, Gt | GtEq) => Ok(every_value(source, constant)),
        (_, Eq | Gt | GtEq | Lt | LtEq) => Ok(Tree::Always(false)),
        (_, NotEq) if operator == Operator::NullSafeNotEq => Ok(Tree::Always(true)),
        (_, NotEq) => Ok(Tree::Leaf(Check::NotNull)),
    }
}

/// All values, but not nulls; Spark forgets the nulls where only a decimal is wide enough for the constant.
fn every_value(source: &PrimitiveType, constant: &Constant) -> Tree<Check<Datum>> {
    match (source, constant) {
        (PrimitiveType::Long, Constant::Decimal { .. }) => Tree::Always(true),
        _ => Tree::Leaf(Check::NotNull),
    }
}

/// Where the constant lies among the values of the column's type.
///
/// # Errors
/// Spark would compare them as another type, which Iceberg cannot do on statistics, or the constant cannot be
/// read as that type.
pub(super) fn place(source: &PrimitiveType, constant: &Constant) -> Result<Place, String> {
    use PrimitiveType as Type;
    let at = |value| Ok(Place::At(value));
    match (source, constant) {
        (Type::Boolean, Constant::Bool(value)) => at(Datum::bool(*value)),
        (Type::Int | Type::Long, _) => whole(source, constant),
        (Type::Float, _) => float(constant).ok_or_else(|| refused(source, constant)),
        (Type::Double, _) => match double(constant) {
            Some(value) if value.is_nan() => Ok(Place::Nan),
            Some(value) => at(Datum::double(value)),
            None => Err(refused(source, constant)),
        },
        (Type::Decimal { .. }, _) => scaled(source, constant),
        (Type::String, Constant::Text(text)) => at(Datum::string(text)),
        (Type::Uuid, Constant::Text(text)) => Datum::uuid_from_str(text)
            .map(Place::At)
            .map_err(|_| format!("{text:?} is no UUID")),
        (Type::Binary, Constant::Bytes(bytes)) => at(Datum::binary(bytes.clone())),
        (Type::Binary, Constant::Text(text)) => at(Datum::binary(text.bytes())),
        (Type::Fixed(length), Constant::Bytes(bytes)) if *length == bytes.len() as u64 => {
            at(Datum::fixed(bytes.clone()))
        }
        (Type::Date, Constant::Date(days)) => at(Datum::date(*days)),
        (Type::Date, Constant::Text(text)) => at(Datum::date(date(text)?)),
        (Type::Timestamptz, Constant::Instant(micros) | Constant::Clock(micros)) => {
            at(Datum::timestamptz_micros(*micros))
        }
        (Type::Timestamptz, Constant::Date(days)) => at(Datum::timestamptz_micros(start_of(*days))),
        (Type::Timestamptz, Constant::Text(text)) => at(Datum::timestamptz_micros(instant(text)?)),
        (Type::Timestamp, Constant::Clock(micros)) => at(Datum::timestamp_micros(*micros)),
        (Type::Timestamp, Constant::Date(days)) => at(Datum::timestamp_micros(start_of(*days))),
        (Type::Timestamp, Constant::Text(text)) => at(Datum::timestamp_micros(clock(text)?)),
        _ => Err(refused(source, constant)),
    }
}

fn refused(source: &PrimitiveType, constant: &Constant) -> String {
    let kind = match constant {
        Constant::Null => "NULL",
        Constant::Bool(_) => "a boolean",
        Constant::Integer(_) => "a whole number",
        Constant::Decimal { .. } => "a decimal",
        Constant::Float(_) => "a float",
        Constant::Double(_) => "a double",
        Constant::Text(_) => "a string",
        Constant::Date(_) => "a date",
        Constant::Instant(_) => "a timestamp",
        Constant::Clock(_) => "a timestamp without zone",
        Constant::Bytes(_) => "bytes",
    };
    format!("{source} cannot be compared with {kind} on statistics: write the constant as a {source}")
}

/// A decimal as exact places: the greatest not above it, and whether that is less than it.
fn floor(constant: &Constant, scale: u32) -> Option<(i128, bool)> {
    let (unscaled, own_scale) = match constant {
        Constant::Integer(value) => (i128::from(*value), 0),
        Constant::Decimal { unscaled, scale } => (*unscaled, *scale),
        _ => return None,
    };
    if own_scale <= scale {
        let raised = unscaled.checked_mul(10_i128.checked_pow(scale - own_scale)?)?;
        return Some((raised, false));
    }
    let divisor = 10_i128.checked_pow(own_scale - scale)?;
    Some((unscaled.div_euclid(divisor), unscaled.rem_euclid(divisor) != 0))
}

fn whole(source: &PrimitiveType, constant: &Constant) -> Result<Place, String> {
    let is_int = *source == PrimitiveType::Int;
    let (floor, is_between) = match constant {
        // A long is not wholly a double, so that Spark would have to cast the column.
        Constant::Double(value) if is_int && value.is_finite() => {
            (value.floor() as i128, value.fract() != 0.0)
        }
        Constant::Text(text) => {
            let value: i64 = text
                .trim()
                .parse()
                .map_err(|_| format!("{text:?} is no whole number"))?;
            (i128::from(value), false)
        }
        constant => floor(constant, 0).ok_or_else(|| refused(source, constant))?,
    };
    let (least, most) = match is_int {
        true => (i128::from(i32::MIN), i128::from(i32::MAX)),
        false => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    if floor > most {
        return Ok(Place::BeyondAll);
    }
    if floor < least {
        return Ok(Place::BeforeAll);
    }
    let value = i64::try_from(floor).expect("it is within the range");
    let value = match i32::try_from(value) {
        Ok(value) if is_int => Datum::int(value),
        _ => Datum::long(value),
    };
    Ok(if is_between {
        Place::After(value)
    } else {
        Place::At(value)
    })
}

fn float(constant: &Constant) -> Option<Place> {
    let value = match constant {
        Constant::Integer(value) => return Some(Place::At(Datum::float(*value as f32))),
        Constant::Float(value) if value.is_nan() => return Some(Place::Nan),
        Constant::Float(value) => return Some(Place::At(Datum::float(*value))),
        Constant::Text(text) => {
            let value: f32 = text.trim().parse().ok()?;
            return Some(if value.is_nan() {
                Place::Nan
            } else {
                Place::At(Datum::float(value))
            });
        }
        constant => double(constant)?,
    };
    let nearest = value as f32;
    Some(match f64::from(nearest).partial_cmp(&value) {
        None => Place::Nan,
        Some(std::cmp::Ordering::Equal) => Place::At(Datum::float(nearest)),
        Some(std::cmp::Ordering::Less) => Place::After(Datum::float(nearest)),
        Some(std::cmp::Ordering::Greater) => Place::Before(Datum::float(nearest)),
    })
}

fn scaled(source: &PrimitiveType, constant: &Constant) -> Result<Place, String> {
    let PrimitiveType::Decimal { precision, scale } = source else {
        return Err(refused(source, constant));
    };
    if !matches!(constant, Constant::Integer(_) | Constant::Decimal { .. }) {
        return Err(refused(source, constant));
    }
    let out_of_range = || format!("the number is out of the range of {source}");
    let (floor, is_between) = floor(constant, *scale).ok_or_else(out_of_range)?;
    let limit = 10_i128.checked_pow(*precision).ok_or_else(out_of_range)?;
    if floor <= -limit || floor >= limit {
        return Err(out_of_range());
    }
    let value = decimal(floor, source).ok_or_else(out_of_range)?;
    Ok(if is_between {
        Place::After(value)
    } else {
        Place::At(value)
    })
}

/// A decimal of this type from its unscaled value; `None` if the type is none.
pub(super) fn decimal(unscaled: i128, kind: &PrimitiveType) -> Option<Datum> {
    matches!(kind, PrimitiveType::Decimal { .. })
        .then(|| Datum::try_from_bytes(&unscaled.to_be_bytes(), kind.clone()).ok())
        .flatten()
}
