//! Strict reading of JSON: a member given twice is refused, since readers disagree on which one counts.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::BodyError;

/// Longest piece of a caller's text that is repeated to it.
const MAX_ECHO_CHARS: usize = 80;

/// A body's members.
///
/// # Errors
/// [`BodyError`] when it is no JSON object, or a member is given twice.
pub(super) fn read_object(body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    if body.is_empty() {
        return Err(BodyError::of_body("the request has no body: send a JSON object"));
    }
    let Strict(value) = serde_json::from_slice(body)
        .map_err(|error| BodyError::of_body(format!("the body is not valid JSON: {error}")))?;
    match value {
        Value::Object(members) => Ok(members),
        other => Err(BodyError::of_body(format!(
            "the body must be a JSON object, not {}",
            kind(&other)
        ))),
    }
}

/// What kind of JSON a value is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A caller's text cut to what a message may repeat.
pub(super) fn echo(text: &str) -> String {
    text.chars().take(MAX_ECHO_CHARS).collect()
}

/// The error for a member that no request of this kind has.
pub(super) fn unknown_member(name: &str, known: &str) -> BodyError {
    let name = echo(name);
    let message = format!("unknown member {name:?}: use {known}");
    BodyError::of(name, message)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!(
                    "member {:?} is given twice",
                    echo(&name)
                )));
            }
            let Strict(value) = members.next_value()?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_readers_disagree_on() {
        let message = |body: &str| read_object(body.as_bytes()).unwrap_err().message;
        assert!(message(r#"{"a": 1, "\u0061": 2}"#).contains("\"a\" is given twice"));
        assert!(message(r#"{"x": {"a": 1, "a": 1}}"#).contains("given twice"));
        assert!(message("[]").contains("not an array"));
        assert!(message("").contains("no body"));
        for odd in [
            "{",
            "{}{}",
            "nul",
            r#"{"a": 1e999}"#,
            r#"{"a": "\ud800"}"#,
            "\u{feff}{}",
            "{\"a\": NaN}",
        ] {
            assert!(message(odd).contains("not valid JSON"), "{odd}");
        }
        let deep = "[".repeat(60_000);
        assert!(message(&deep).contains("recursion limit"));
        assert!(read_object(b"{\"a\": \"\xff\"}").is_err());
    }

    #[test]
    fn keeps_values_as_they_are() {
        let text = r#"{"a": [null, true, -1, 18446744073709551615, 0.5, "\u0000"], "b": {"c": {}}}"#;
        let read = Value::Object(read_object(text.as_bytes()).unwrap());
        assert_eq!(read, serde_json::from_str::<Value>(text).unwrap());
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
            let _ = read_object(&body);
            let _ = read_object(text.as_bytes());
        }
    }
}
