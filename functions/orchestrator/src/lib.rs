//! The orchestrator's event, a tick of the schedule or what a person wants looked at, and its answer.

use serde_json::Value;
use snowpack_domain::{DatabaseName, Run, RunStatus, TableId};
use snowpack_service::RunRequest;
use snowpack_wire::http::RunBody;

/// Members that only EventBridge's own events have.
const SCHEDULED: &str = "detail-type";
/// What an event of a person may have.
const MEMBERS: [&str; 3] = ["dry_run", "databases", "tables"];

/// An event that says nothing the orchestrator understands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// It is no JSON object.
    #[error("the event must be a JSON object, such as {{\"dry_run\": true}}")]
    NoObject,
    /// A member it does not know: a typo must not silently look at everything.
    #[error("unknown member {0:?}: use dry_run, databases, tables")]
    UnknownMember(String),
    /// A member of another type.
    #[error("{member} must be {expected}")]
    WrongType {
        /// The member.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A list without names: it must not silently stand for everything.
    #[error("{member} names nothing: leave it out to look at all")]
    EmptyList {
        /// The member.
        member: &'static str,
    },
    /// A name that no database or table can have.
    #[error("{member}: {reason}")]
    BadName {
        /// The member.
        member: &'static str,
        /// What is wrong with the name.
        reason: String,
    },
}

/// What an event asks for. A tick of the schedule asks for everything.
///
/// # Errors
/// [`EventError`] naming what is wrong.
pub fn read_event(event: &Value) -> Result<RunRequest, EventError> {
    let members = event.as_object().ok_or(EventError::NoObject)?;
    if members.contains_key(SCHEDULED) {
        return Ok(RunRequest::default());
    }
    if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(EventError::UnknownMember(unknown.clone()));
    }
    let dry_run = match members.get("dry_run") {
        None => false,
        Some(value) => value.as_bool().ok_or(EventError::WrongType {
            member: "dry_run",
            expected: "true or false",
        })?,
    };
    Ok(RunRequest {
        dry_run,
        databases: names(members.get("databases"), "databases", DatabaseName::new)?,
        tables: names(members.get("tables"), "tables", TableId::parse)?,
    })
}

/// What the function answers: the record. A run that failed is an error of the function too, so that the alarm on its
/// errors sees it.
///
/// # Errors
/// [`RunFailed`] with the run's error.
pub fn answer(run: &Run) -> Result<RunBody, RunFailed> {
    match run.status {
        RunStatus::Failed => Err(RunFailed(run.error.clone().unwrap_or_default())),
        RunStatus::Completed | RunStatus::Partial => Ok(RunBody::from(run)),
    }
}

/// A run that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the run failed: {0}")]
pub struct RunFailed(pub String);

fn names<T: PartialEq, E: std::fmt::Display>(
    value: Option<&Value>,
    member: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, EventError> {
    let expected = EventError::WrongType {
        member,
        expected: "a list of names",
    };
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let listed = value.as_array().ok_or_else(|| expected.clone())?;
    let name = |value: &Value| {
        let text = value.as_str().ok_or_else(|| expected.clone())?;
        parse(text).map_err(|error| EventError::BadName {
            member,
            reason: error.to_string(),
        })
    };
    if listed.is_empty() {
        return Err(EventError::EmptyList { member });
    }
    let mut names = Vec::new();
    for value in listed {
        let name = name(value)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tick_asks_for_everything() {
        let tick =
            json!({"version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}});
        assert_eq!(read_event(&tick), Ok(RunRequest::default()));
        assert_eq!(read_event(&json!({})), Ok(RunRequest::default()));
    }

    #[test]
    fn a_person_narrows_it_down() {
        let event = json!({"dry_run": true, "databases": ["sales.eu"], "tables": ["sales.eu.orders"]});
        let request = read_event(&event).unwrap();
        assert!(request.dry_run);
        assert_eq!(request.databases[0].as_str(), "sales.eu");
        assert_eq!(request.tables[0].to_string(), "sales.eu.orders");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = |event| read_event(&event).unwrap_err().to_string();
        assert!(said(json!([])).contains("JSON object"));
        assert!(said(json!({"dryrun": true})).contains("\"dryrun\""));
        assert!(said(json!({"dry_run": "yes"})).starts_with("dry_run must be"));
        assert!(said(json!({"tables": "a.b"})).starts_with("tables must be"));
        assert!(said(json!({"tables": [1]})).starts_with("tables must be"));
        assert!(said(json!({"tables": []})).starts_with("tables names nothing"));
        assert!(said(json!({"databases": [], "tables": ["a.b"]})).starts_with("databases names nothing"));
        assert!(said(json!({"databases": ["a b"]})).starts_with("databases: "));
    }
}
