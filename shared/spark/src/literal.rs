//! Literals and names of Spark's SQL, quoted so that no value can end them or be taken for anything else.

use chrono::{DateTime, Datelike, Utc};
use snowpack_domain::{TableId, Timestamp};

/// Characters that stand for themselves in every grammar a statement goes through. Not among them: quotes, `\`, the
/// `$` of variables, and what comments are made of.
const PLAIN: &str = " _.,:=<>()[]%+";

/// A string literal. What is not plain is written by its UTF-16 code, which Spark and Iceberg read alike.
pub(crate) fn text(value: &str) -> String {
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('\'');
    for character in value.chars() {
        if character.is_ascii_alphanumeric() || PLAIN.contains(character) {
            literal.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                literal.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    literal.push('\'');
    literal
}

/// A string literal that holds the table's full name, each part between backticks.
pub(crate) fn table(catalog: &str, table: &TableId) -> String {
    let parts = std::iter::once(catalog)
        .chain(table.database.levels())
        .chain([table.table.as_str()]);
    let quoted: Vec<String> = parts.map(|part| format!("`{part}`")).collect();
    text(&quoted.join("."))
}

/// An instant, cut to the years that the literal can say.
pub(crate) fn instant(time: Timestamp) -> String {
    let least: DateTime<Utc> = DateTime::UNIX_EPOCH
        .with_year(1)
        .expect("the year 1 has a first of January");
    let most = DateTime::UNIX_EPOCH
        .with_year(9999)
        .expect("the year 9999 has one too");
    let beyond = if time.as_micros() < 0 { least } else { most };
    let time = DateTime::from_timestamp_micros(time.as_micros()).unwrap_or(beyond);
    format!(
        "TIMESTAMP '{} UTC'",
        time.clamp(least, most).format("%Y-%m-%d %H:%M:%S%.6f")
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Spark's parser makes of a literal (`ParserUtils.unescapeSQLString`), as far as ours go.
    fn read_back(literal: &str) -> String {
        let inside = literal.strip_prefix('\'').unwrap().strip_suffix('\'').unwrap();
        let mut units = Vec::new();
        let mut rest = inside;
        while let Some(first) = rest.chars().next() {
            if let Some(escaped) = rest.strip_prefix("\\u") {
                units.push(u16::from_str_radix(&escaped[..4], 16).unwrap());
                rest = &escaped[4..];
            } else {
                units.extend(first.encode_utf16(&mut [0; 2]).iter());
                rest = &rest[first.len_utf8()..];
            }
        }
        String::from_utf16(&units).unwrap()
    }

    proptest! {
        #[test]
        fn any_text_is_one_literal_and_survives(value in any::<String>()) {
            let literal = text(&value);
            prop_assert_eq!(read_back(&literal), value);
            let inside = &literal[1..literal.len() - 1];
            let special = ['\'', '"', '`', '$', '-', '/', '*', ';', '\n', '{'];
            prop_assert!(inside.is_ascii() && !inside.contains(special));
            let bare = inside.matches('\\').count();
            prop_assert_eq!(bare, inside.matches("\\u").count(), "no other escape");
        }
    }

    #[test]
    fn what_would_break_out_does_not() {
        assert_eq!(text("day = 3"), "'day = 3'");
        assert_eq!(text("a' or '1"), "'a\\u0027 or \\u00271'");
        assert_eq!(
            text("${spark.x}\\'"),
            "'\\u0024\\u007bspark.x\\u007d\\u005c\\u0027'"
        );
        assert_eq!(text("\u{1f9ca}"), "'\\ud83e\\uddca'");
    }

    #[test]
    fn names_keep_their_parts() {
        let named = table("snowpack", &TableId::new("a.b-c", "offers").unwrap());
        assert_eq!(read_back(&named), "`snowpack`.`a`.`b-c`.`offers`");
    }

    #[test]
    fn instants_are_said_to_the_microsecond_and_kept_in_range() {
        let time = Timestamp::from_micros(1_777_127_400_000_001);
        assert_eq!(instant(time), "TIMESTAMP '2026-04-25 14:30:00.000001 UTC'");
        assert_eq!(
            instant(Timestamp::from_micros(i64::MIN)),
            "TIMESTAMP '0001-01-01 00:00:00.000000 UTC'"
        );
        assert_eq!(
            instant(Timestamp::from_micros(i64::MAX)),
            "TIMESTAMP '9999-01-01 00:00:00.000000 UTC'"
        );
    }
}
