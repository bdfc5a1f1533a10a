//! Constants of a filter, with the types Spark gives them, and the text they are written as.

use iceberg::spec::Datum;

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with exactly this many decimal places.
    Decimal {
        unscaled: i128,
        scale: u32,
    },
    Float(f32),
    Double(f64),
    Text(String),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970 of an instant.
    Instant(i64),
    /// Microseconds since 1970 on a clock without a zone.
    Clock(i64),
    Bytes(Vec<u8>),
}

const MICROS_PER_SECOND: i64 = 1_000_000;
pub(super) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Most digits of a Spark decimal.
const MAX_DIGITS: usize = 38;

impl Constant {
    /// Reads a number as Spark's parser types it: by its suffix, else by what it looks like.
    pub(super) fn number(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no number, or one out of range");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let suffix = text[digits.len()..].to_ascii_uppercase();
        let is_exponent = digits.bytes().any(|byte| byte.eq_ignore_ascii_case(&b'e'));
        match suffix.as_str() {
            "" if is_exponent => finite(digits).map(Self::Double).ok_or_else(wrong),
            "" if digits.contains('.') => decimal_number(digits).ok_or_else(wrong),
            "" => digits
                .parse()
                .map(Self::Integer)
                .or_else(|_| decimal_number(digits).ok_or_else(wrong)),
            "D" => finite(digits).map(Self::Double).ok_or_else(wrong),
            "F" => digits
                .parse()
                .ok()
                .filter(|v: &f32| v.is_finite())
                .map(Self::Float)
                .ok_or_else(wrong),
            "BD" => decimal_number(digits).ok_or_else(wrong),
            "L" => digits.parse().map(Self::Integer).map_err(|_| wrong()),
            "S" => digits
                .parse::<i16>()
                .map(|v| Self::Integer(v.into()))
                .map_err(|_| wrong()),
            "Y" => digits
                .parse::<i8>()
                .map(|v| Self::Integer(v.into()))
                .map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    pub(super) fn negated(self) -> Result<Self, String> {
        match self {
            Self::Null => Ok(Self::Null),
            // The one whole number without an opposite among them.
            Self::Integer(i64::MIN) => Ok(Self::Decimal {
                unscaled: -i128::from(i64::MIN),
                scale: 0,
            }),
            Self::Integer(value) => Ok(Self::Integer(-value)),
            Self::Decimal { unscaled, scale } => Ok(Self::Decimal {
                unscaled: -unscaled,
                scale,
            }),
            Self::Float(value) => Ok(Self::Float(-value)),
            Self::Double(value) => Ok(Self::Double(-value)),
            _ => Err("a minus sign needs a number".to_owned()),
        }
    }

    /// The constant as another type, as `CAST` gives it.
    pub(super) fn cast(self, kind: &str) -> Result<Self, String> {
        let refused = |value: &Self| format!("{value:?} cannot be cast to {kind} in a filter");
        let kind = kind.to_ascii_lowercase();
        match (kind.as_str(), self) {
            (_, Self::Null) => Ok(Self::Null),
            ("tinyint" | "byte" | "smallint" | "short" | "int" | "integer" | "bigint" | "long", value) => {
                whole(&kind, &value)
                    .map(Self::Integer)
                    .ok_or_else(|| refused(&value))
            }
            ("double", value) => double(&value).map(Self::Double).ok_or_else(|| refused(&value)),
            ("float" | "real", value) => float(&value).map(Self::Float).ok_or_else(|| refused(&value)),
            ("string", Self::Integer(value)) => Ok(Self::Text(value.to_string())),
            ("string", Self::Bool(value)) => Ok(Self::Text(value.to_string())),
            ("string", value @ Self::Text(_)) => Ok(value),
            ("binary", Self::Text(text)) => Ok(Self::Bytes(text.into_bytes())),
            ("date", value @ Self::Date(_)) => Ok(value),
            ("date", Self::Text(text)) => date(&text).map(Self::Date),
            ("date", Self::Instant(micros) | Self::Clock(micros)) => Ok(Self::Date(day_of(micros))),
            ("timestamp" | "timestamp_ltz", Self::Text(text)) => instant(&text).map(Self::Instant),
            ("timestamp" | "timestamp_ltz", value) => {
                midnight(&value).map(Self::Instant).ok_or_else(|| refused(&value))
            }
            ("timestamp_ntz", Self::Text(text)) => clock(&text).map(Self::Clock),
            ("timestamp_ntz", value) => midnight(&value).map(Self::Clock).ok_or_else(|| refused(&value)),
            (_, value) => Err(refused(&value)),
        }
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A number written with an optional point and exponent, exactly.
fn decimal_number(text: &str) -> Option<Constant> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.trim_start_matches('0').len() > MAX_DIGITS {
        return None;
    }
    let unscaled: i128 = digits.parse().ok()?;
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    let unscaled = match scale {
        0.. => unscaled,
        _ => unscaled.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)?,
    };
    let scale = u32::try_from(scale.max(0)).ok()?;
    (scale as usize <= MAX_DIGITS).then_some(Constant::Decimal { unscaled, scale })
}

fn whole(kind: &str, value: &Constant) -> Option<i64> {
    let value = match value {
        Constant::Integer(value) => *value,
        Constant::Text(text) => text.trim().parse().ok()?,
        Constant::Bool(value) => i64::from(*value),
        _ => return None,
    };
    let bits = match kind {
        "tinyint" | "byte" => 8,
        "smallint" | "short" => 16,
        "int" | "integer" => 32,
        _ => 64,
    };
    let limit = i64::MAX >> (64 - bits);
    (-limit - 1..=limit).contains(&value).then_some(value)
}

/// The number as a double, rounded to the nearest.
pub(super) fn double(value: &Constant) -> Option<f64> {
    match value {
        Constant::Integer(value) => Some(*value as f64),
        Constant::Decimal { unscaled, scale } => format!("{unscaled}e-{scale}").parse().ok(),
        Constant::Float(value) => Some(f64::from(*value)),
        Constant::Double(value) => Some(*value),
        Constant::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn float(value: &Constant) -> Option<f32> {
    match value {
        Constant::Integer(value) => Some(*value as f32),
        Constant::Text(text) => text.trim().parse().ok(),
        value => double(value).map(|value| value as f32),
    }
}

/// The micros of a day's start or of a time.
fn midnight(value: &Constant) -> Option<i64> {
    match value {
        Constant::Date(days) => Some(start_of(*days)),
        Constant::Instant(micros) | Constant::Clock(micros) => Some(*micros),
        _ => None,
    }
}

/// Microseconds at which a day starts, in UTC.
pub(super) fn start_of(days: i32) -> i64 {
    i64::from(days) * MICROS_PER_DAY
}

fn day_of(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(MICROS_PER_DAY)).expect("64 bits of microseconds are fewer days")
}

/// Reads a date as `CAST('...' AS DATE)` does: year, month and day, of which the last may be left out.
pub(super) fn date(text: &str) -> Result<i32, String> {
    let wrong = || format!("{text:?} is no date: write it like 2026-04-25");
    let (days, rest) = day(text.trim()).ok_or_else(wrong)?;
    match rest.chars().next() {
        None | Some(' ' | 'T') => Ok(days),
        Some(_) => Err(wrong()),
    }
}

/// Reads a time as `CAST('...' AS TIMESTAMP)` does, in UTC where it names no zone.
pub(super) fn instant(text: &str) -> Result<i64, String> {
    let (micros, zone) = date_time(text).ok_or_else(|| no_time(text))?;
    let offset = zone_seconds(zone)
        .ok_or_else(|| format!("{zone:?} in {text:?} is no zone: use Z or an offset like +02:00"))?;
    Ok(micros - offset * MICROS_PER_SECOND)
}

/// Reads a time as `CAST('...' AS TIMESTAMP_NTZ)` does; a zone is not taken into account.
pub(super) fn clock(text: &str) -> Result<i64, String> {
    let (micros, zone) = date_time(text).ok_or_else(|| no_time(text))?;
    zone_seconds(zone).map(|_| micros).ok_or_else(|| no_time(text))
}

fn no_time(text: &str) -> String {
    format!("{text:?} is no time: write it like 2026-04-25 14:30:00")
}

/// Days since 1970, and what follows them.
fn day(text: &str) -> Option<(i32, &str)> {
    let end = text.find([' ', 'T']).unwrap_or(text.len());
    let (date, rest) = text.split_at(end);
    let parts: Vec<&str> = date.split('-').collect();
    if parts.len() > 3 || (parts.len() < 3 && !rest.is_empty()) {
        return None;
    }
    let year = number(parts[0], 4)?;
    let part = |at: usize| parts.get(at).map_or(Some(1), |part| number(part, 1));
    let found = Datum::date_from_ymd(i32::try_from(year).ok()?, part(1)?, part(2)?).ok()?;
    match found.literal() {
        iceberg::spec::PrimitiveLiteral::Int(days) => Some((*days, rest)),
        _ => None,
    }
}

/// Digits: at least `least` of them, and no more than a year has or than a month, day, hour... has.
fn number(text: &str, least: usize) -> Option<u32> {
    let most = if least == 4 { 6 } else { 2 };
    let is_number = (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Microseconds since 1970 on the clock, and the zone's name.
fn date_time(text: &str) -> Option<(i64, &str)> {
    let (days, rest) = day(text.trim())?;
    let Some(time) = rest.strip_prefix([' ', 'T']) else {
        return Some((start_of(days), ""));
    };
    let end = time.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.');
    let (time, zone) = time.split_at(end.unwrap_or(time.len()));
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = time.split(':');
    let mut next = |limit: u32, needed: bool| match parts.next() {
        Some(part) => number(part, 1).filter(|value| *value < limit).map(i64::from),
        None => (!needed).then_some(0),
    };
    let (hours, minutes, seconds) = (next(24, true)?, next(60, true)?, next(60, false)?);
    if parts.next().is_some() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}")[..6].parse().ok()?;
    let seconds = hours * 3600 + minutes * 60 + seconds;
    Some((start_of(days) + seconds * MICROS_PER_SECOND + micros, zone.trim()))
}

/// Seconds east of UTC.
fn zone_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "UTC" | "GMT") {
        return Some(0);
    }
    let zone = zone
        .strip_prefix("UTC")
        .or_else(|| zone.strip_prefix("GMT"))
        .unwrap_or(zone);
    let sign = match zone.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':').unwrap_or((&zone[1..], "0"));
    let (hours, minutes) = (number(hours, 1)?, number(minutes, 1)?);
    (hours <= 18 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

/// The text of a string literal as it stands between its quotes, with Spark's escapes resolved
/// (`SparkParserUtils.unescapeSQLString`; two quotes side by side end one literal and start the next).
pub(super) fn unescaped(raw: &str, quote: char) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => unescape(&mut rest, &mut text),
            next if next == quote => {}
            next => text.push(next),
        }
    }
    text
}

fn unescape(rest: &mut std::str::Chars<'_>, text: &mut String) {
    let tail = rest.as_str();
    let coded = |skip: usize, length: usize, radix: u32| {
        let digits = tail.get(skip..skip + length)?;
        let is_code = digits.chars().all(|c| c.is_digit(radix));
        let code = is_code
            .then(|| u32::from_str_radix(digits, radix).ok())
            .flatten()?;
        Some((skip + length, char::from_u32(code)?))
    };
    let found = match tail.chars().next() {
        None => return text.push('\\'),
        Some('u') => coded(1, 4, 16),
        Some('U') => coded(1, 8, 16),
        Some('0'..='3') => coded(0, 3, 8),
        Some(_) => None,
    };
    if let Some((length, code)) = found {
        *rest = tail[length..].chars();
        return text.push(code);
    }
    match rest.next().expect("there is another character") {
        '0' => text.push('\0'),
        'b' => text.push('\u{8}'),
        'n' => text.push('\n'),
        'r' => text.push('\r'),
        't' => text.push('\t'),
        'Z' => text.push('\u{1a}'),
        // Wildcards of LIKE stay escaped.
        wildcard @ ('%' | '_') => text.extend(['\\', wildcard]),
        other => text.push(other),
    }
}
