//! Lower and upper bounds of a column, as manifests keep them (Java's `ParquetMetrics`, `UnicodeUtil`,
//! `BinaryUtil`).

use iceberg::spec::{Datum, PrimitiveType};
use parquet::file::statistics::Statistics;

use super::metrics_config::MetricsMode;

/// The smallest value of a column chunk as a bound. `None` when the chunk has only nulls or NaN.
pub(super) fn lower(primitive: &PrimitiveType, statistics: &Statistics) -> Option<Datum> {
    value(primitive, statistics, statistics.min_bytes_opt()?)
}

/// The largest value of a column chunk as a bound.
pub(super) fn upper(primitive: &PrimitiveType, statistics: &Statistics) -> Option<Datum> {
    value(primitive, statistics, statistics.max_bytes_opt()?)
}

/// A statistic as a value of the table's type. Parquet keeps small decimals as integers, low byte first;
/// everything else has the bytes of Iceberg's single-value serialization.
fn value(primitive: &PrimitiveType, statistics: &Statistics, bytes: &[u8]) -> Option<Datum> {
    let datum = match (primitive, statistics) {
        (PrimitiveType::Decimal { .. }, Statistics::Int32(_) | Statistics::Int64(_)) => {
            let big_endian: Vec<u8> = bytes.iter().rev().copied().collect();
            Datum::try_from_bytes(&big_endian, primitive.clone())
        }
        _ => Datum::try_from_bytes(bytes, primitive.clone()),
    };
    datum.ok().filter(|datum| !datum.is_nan())
}

/// A lower bound as the mode keeps it: cut strings and binaries sort before the whole value.
pub(super) fn truncate_lower(datum: Datum, mode: MetricsMode) -> Option<Datum> {
    let MetricsMode::Truncate(length) = mode else {
        return keep_whole(datum, mode);
    };
    let bytes = datum.to_bytes().ok()?;
    match datum.data_type() {
        PrimitiveType::String => Some(Datum::string(cut_text(std::str::from_utf8(&bytes).ok()?, length))),
        PrimitiveType::Binary => Some(Datum::binary(bytes.iter().take(length).copied())),
        _ => Some(datum),
    }
}

/// An upper bound as the mode keeps it: cut strings and binaries are raised so that they sort after the whole
/// value. `None` when there is no such bound of that length.
pub(super) fn truncate_upper(datum: Datum, mode: MetricsMode) -> Option<Datum> {
    let MetricsMode::Truncate(length) = mode else {
        return keep_whole(datum, mode);
    };
    let bytes = datum.to_bytes().ok()?;
    match datum.data_type() {
        PrimitiveType::String => raise_text(std::str::from_utf8(&bytes).ok()?, length).map(Datum::string),
        PrimitiveType::Binary => raise_bytes(&bytes, length).map(Datum::binary),
        _ => Some(datum),
    }
}

fn keep_whole(datum: Datum, mode: MetricsMode) -> Option<Datum> {
    (mode == MetricsMode::Full).then_some(datum)
}

/// The first `length` characters.
fn cut_text(text: &str, length: usize) -> &str {
    text.char_indices()
        .nth(length)
        .map_or(text, |(end, _)| &text[..end])
}

fn raise_text(text: &str, length: usize) -> Option<String> {
    let cut = cut_text(text, length);
    if cut.len() == text.len() {
        return Some(text.to_owned());
    }
    let mut kept = cut;
    while let Some(last) = kept.chars().next_back() {
        kept = &kept[..kept.len() - last.len_utf8()];
        if let Some(next) = next_char(last) {
            return Some(format!("{kept}{next}"));
        }
    }
    None
}

/// The next Unicode scalar value; the surrogates are none.
fn next_char(c: char) -> Option<char> {
    match c {
        '\u{D7FF}' => Some('\u{E000}'),
        c => char::from_u32(u32::from(c) + 1),
    }
}

fn raise_bytes(bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    if bytes.len() <= length {
        return Some(bytes.to_vec());
    }
    let mut kept = bytes[..length].to_vec();
    while let Some(last) = kept.pop() {
        if last < u8::MAX {
            kept.push(last + 1);
            return Some(kept);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_bounds_are_raised_or_given_up() {
        assert_eq!(raise_text("abc", 3).as_deref(), Some("abc"));
        assert_eq!(raise_text("abcd", 3).as_deref(), Some("abd"));
        assert_eq!(raise_text("ab\u{10FFFF}x", 3).as_deref(), Some("ac"));
        assert_eq!(raise_text("a\u{D7FF}x", 2).as_deref(), Some("a\u{E000}"));
        assert_eq!(raise_text("\u{10FFFF}\u{10FFFF}\u{10FFFF}", 2), None);
        assert_eq!(raise_bytes(&[1, 255, 7], 2), Some(vec![2]));
        assert_eq!(raise_bytes(&[255, 255, 7], 2), None);
    }

    #[test]
    fn only_texts_and_binaries_are_cut() {
        let mode = MetricsMode::Truncate(2);
        assert_eq!(
            truncate_lower(Datum::string("äöü"), mode),
            Some(Datum::string("äö"))
        );
        assert_eq!(
            truncate_lower(Datum::binary([1, 2, 3]), mode),
            Some(Datum::binary([1, 2]))
        );
        assert_eq!(
            truncate_upper(Datum::fixed([1, 2, 3]), mode),
            Some(Datum::fixed([1, 2, 3]))
        );
        assert_eq!(truncate_upper(Datum::long(5), mode), Some(Datum::long(5)));
        assert_eq!(truncate_upper(Datum::long(5), MetricsMode::Counts), None);
        assert_eq!(
            truncate_upper(Datum::string("abc"), MetricsMode::Full),
            Some(Datum::string("abc"))
        );
    }

    #[test]
    fn statistics_become_values_of_the_table() {
        let decimal = PrimitiveType::Decimal {
            precision: 9,
            scale: 2,
        };
        let statistics = Statistics::int32(Some(-150), Some(7), None, Some(0), false);
        assert_eq!(lower(&decimal, &statistics).unwrap().to_string(), "-1.50");
        assert_eq!(upper(&decimal, &statistics).unwrap().to_string(), "0.07");
        let nan = Statistics::double(Some(f64::NAN), Some(1.0), None, Some(0), false);
        assert_eq!(lower(&PrimitiveType::Double, &nan), None);
        let nulls = Statistics::int64(None, None, None, Some(3), false);
        assert_eq!(upper(&PrimitiveType::Long, &nulls), None);
    }
}
