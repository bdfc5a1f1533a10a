//! The body of a submit (api.md, Jobs).

use serde_json::Value;
use snowpack_domain::{Action, JobOptions};

use super::BodyError;
use super::json::{kind, read_object, unknown_member};
use super::options::read_options;

/// What a submit asks for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct SubmitBody {
    /// In order of execution, without repeats, not empty.
    pub actions: Vec<Action>,
    /// Only preview.
    pub dry_run: bool,
    /// Checked options; those of actions that are not asked for are kept and have no effect.
    pub options: JobOptions,
}

impl SubmitBody {
    /// Reads a body.
    ///
    /// # Errors
    /// [`BodyError`] when it is no JSON object, has unknown or repeated members, lacks `actions` or has an
    /// empty list, or names an unknown action or option or a value that does not fit.
    pub fn read(body: &[u8]) -> Result<Self, BodyError> {
        let members = read_object(body)?;
        if let Some(unknown) = members
            .keys()
            .find(|name| !["actions", "dry_run", "options"].contains(&name.as_str()))
        {
            return Err(unknown_member(unknown, "actions, dry_run, options"));
        }
        Ok(Self {
            actions: read_actions(members.get("actions"))?,
            dry_run: members.get("dry_run").map_or(Ok(false), read_dry_run)?,
            options: members
                .get("options")
                .map_or_else(|| Ok(JobOptions::default()), read_options)?,
        })
    }
}

fn read_actions(value: Option<&Value>) -> Result<Vec<Action>, BodyError> {
    let wrong = |found: &str| {
        BodyError::of(
            "actions",
            format!("actions must be an array of action names, not {found}"),
        )
    };
    let items = match value {
        Some(Value::Array(items)) => items,
        Some(other) => return Err(wrong(kind(other))),
        None => {
            return Err(BodyError::of(
                "actions",
                "actions is missing: name at least one action",
            ));
        }
    };
    if items.is_empty() {
        return Err(BodyError::of(
            "actions",
            "actions is empty: name at least one action",
        ));
    }
    let actions: Result<Vec<_>, _> = items
        .iter()
        .enumerate()
        .map(|(index, item)| read_action(index, item))
        .collect();
    actions.map(Action::in_order)
}

fn read_action(index: usize, item: &Value) -> Result<Action, BodyError> {
    let field = format!("actions[{index}]");
    match item {
        Value::String(name) => Action::parse(name).map_err(|error| BodyError::of(field, error.to_string())),
        other => {
            let message = format!("{field} must be the name of an action, not {}", kind(other));
            Err(BodyError::of(field, message))
        }
    }
}

fn read_dry_run(value: &Value) -> Result<bool, BodyError> {
    value.as_bool().ok_or_else(|| {
        BodyError::of(
            "dry_run",
            format!("dry_run must be true or false, not {}", kind(value)),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn actions_are_sorted_and_collapse() {
        let body = br#"{"actions": ["expire_snapshots", "rewrite_data_files", "expire_snapshots"]}"#;
        let read = SubmitBody::read(body).unwrap();
        assert_eq!(read.actions, [Action::RewriteDataFiles, Action::ExpireSnapshots]);
        assert!(!read.dry_run && read.options.is_empty());
    }

    #[test]
    fn the_contracts_dry_run_is_read() {
        let read =
            SubmitBody::read(br#"{"actions": ["rewrite_data_files"], "dry_run": true, "options": {}}"#);
        assert!(read.unwrap().dry_run);
    }

    #[test]
    fn errors_name_the_member() {
        let cases = [
            (r#"{}"#, "actions"),
            (r#"{"actions": []}"#, "actions"),
            (r#"{"actions": "rewrite_data_files"}"#, "actions"),
            (r#"{"actions": null}"#, "actions"),
            (r#"{"actions": ["rewrite_data_files", 1]}"#, "actions[1]"),
            (r#"{"actions": ["Rewrite_Data_Files"]}"#, "actions[0]"),
            (r#"{"actions": ["rewrite_data_files\u0000"]}"#, "actions[0]"),
            (r#"{"actions": ["expire_snapshots"], "dryrun": true}"#, "dryrun"),
            (
                r#"{"actions": ["expire_snapshots"], "dry_run": "true"}"#,
                "dry_run",
            ),
            (r#"{"actions": ["expire_snapshots"], "dry_run": null}"#, "dry_run"),
            (r#"{"actions": ["expire_snapshots"], "options": null}"#, "options"),
        ];
        for (body, field) in cases {
            let error = SubmitBody::read(body.as_bytes()).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{body}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_callers_send_is_repeated_only_in_part(name in ".{0,2000}") {
            let body = serde_json::json!({"actions": ["expire_snapshots"], "options": {"expire_snapshots": {name: 1}}});
            let error = SubmitBody::read(body.to_string().as_bytes()).unwrap_err();
            prop_assert!(error.message.chars().count() < 1000 && error.field.unwrap().chars().count() < 200);
        }
    }
}
