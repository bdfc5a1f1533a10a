//! Options of actions as JSON: an object per action, a member per option.

use serde_json::{Map, Number, Value};
use snowpack_domain::{Action, JobOptions, OptionValue};

use super::BodyError;
use super::json::{echo, kind};
use crate::time::format_time;

/// Reads the member `options` of a submit.
///
/// # Errors
/// [`BodyError`] naming the action or option that is unknown or does not fit.
pub(super) fn read_options(value: &Value) -> Result<JobOptions, BodyError> {
    let mut options = JobOptions::default();
    for (action, given) in object(value, "options")? {
        let field = format!("options.{}", echo(action));
        let action = Action::parse(action).map_err(|error| BodyError::of(&field, error.to_string()))?;
        for (name, value) in object(given, &field)? {
            let field = format!("{field}.{}", echo(name));
            let value = read_value(value).map_err(|found| {
                BodyError::of(
                    &field,
                    format!("option {action}.{}: {found} is no option value", echo(name)),
                )
            })?;
            options
                .set(action, &echo(name), value)
                .map_err(|error| BodyError::of(&field, error.to_string()))?;
        }
    }
    Ok(options)
}

fn object<'a>(value: &'a Value, field: &str) -> Result<&'a Map<String, Value>, BodyError> {
    value
        .as_object()
        .ok_or_else(|| BodyError::of(field, format!("{field} must be an object, not {}", kind(value))))
}

/// A value as the domain checks it, or what it is instead.
fn read_value(value: &Value) -> Result<OptionValue, String> {
    match value {
        Value::Bool(switch) => Ok(OptionValue::Bool(*switch)),
        Value::String(text) => Ok(OptionValue::Text(text.clone())),
        Value::Number(number) => read_number(number),
        Value::Array(items) => {
            let ids: Option<Vec<i64>> = items.iter().map(Value::as_i64).collect();
            ids.map(OptionValue::Ints)
                .ok_or_else(|| "an array of anything but whole numbers".to_owned())
        }
        Value::Null | Value::Object(_) => Err(kind(value).to_owned()),
    }
}

fn read_number(number: &Number) -> Result<OptionValue, String> {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => Ok(OptionValue::Int(whole)),
        (None, Some(fraction)) if number.is_f64() => Ok(OptionValue::Float(fraction)),
        _ => Err(format!("{number}, which is out of range,")),
    }
}

/// Options as the job object shows them.
pub(super) fn write_options(options: &JobOptions) -> Map<String, Value> {
    let mut by_action = Map::new();
    for (action, name, value) in options.iter() {
        let of_action = by_action
            .entry(action.as_str())
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(of_action) = of_action {
            of_action.insert(name.to_owned(), write_value(value));
        }
    }
    by_action
}

fn write_value(value: &OptionValue) -> Value {
    match value {
        OptionValue::Bool(switch) => Value::from(*switch),
        OptionValue::Int(whole) => Value::from(*whole),
        OptionValue::Float(fraction) => Value::from(*fraction),
        OptionValue::Text(text) => Value::from(text.as_str()),
        OptionValue::Ints(ids) => Value::from(ids.as_slice()),
        OptionValue::Time(time) => Value::from(format_time(*time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_round_trip() {
        let given = json!({
            "expire_snapshots": {
                "clean_expired_metadata": true,
                "older_than": "2026-04-25T14:30:00+00:00",
                "retain_last": 3,
                "snapshot_ids": [1, 9_223_372_036_854_775_807_i64]
            },
            "rewrite_data_files": {"delete-ratio-threshold": 0.5, "strategy": "binpack"}
        });
        let options = read_options(&given).unwrap();
        assert_eq!(Value::Object(write_options(&options)), given);
    }

    #[test]
    fn text_is_read_as_the_options_type() {
        let options = read_options(&json!({"rewrite_data_files": {"min-input-files": "7"}})).unwrap();
        assert_eq!(
            options.get(Action::RewriteDataFiles, "min-input-files"),
            Some(&OptionValue::Int(7))
        );
    }

    #[test]
    fn errors_name_the_member() {
        let cases = [
            (json!([]), "options"),
            (json!({"compact": {}}), "options.compact"),
            (json!({"expire_snapshots": 1}), "options.expire_snapshots"),
            (
                json!({"expire_snapshots": {"keep": 1}}),
                "options.expire_snapshots.keep",
            ),
            (
                json!({"expire_snapshots": {"retain_last": 0}}),
                "options.expire_snapshots.retain_last",
            ),
            (
                json!({"expire_snapshots": {"retain_last": 1.5}}),
                "options.expire_snapshots.retain_last",
            ),
            (
                json!({"expire_snapshots": {"retain_last": null}}),
                "options.expire_snapshots.retain_last",
            ),
            (
                json!({"expire_snapshots": {"retain_last": u64::MAX}}),
                "options.expire_snapshots.retain_last",
            ),
            (
                json!({"expire_snapshots": {"snapshot_ids": ["x"]}}),
                "options.expire_snapshots.snapshot_ids",
            ),
            (
                json!({"expire_snapshots": {"older_than": "yesterday\0"}}),
                "options.expire_snapshots.older_than",
            ),
            (
                json!({"rewrite_data_files": {"strategy": "fast"}}),
                "options.rewrite_data_files.strategy",
            ),
        ];
        for (given, field) in cases {
            let error = read_options(&given).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{error}");
        }
    }
}
