//! Bodies of the operation routes, and the one form every error has (api.md, Conventions and Operation).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use snowpack_domain::Drain;

use super::BodyError;
use super::json::{kind, read_object, unknown_member};

/// Longest reason of a drain in characters: it is shown in every refusal.
const MAX_REASON_CHARS: usize = 500;

/// An error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A code in snake case, one for each case a client would tell apart.
    pub error: String,
    /// One sentence a person can act on.
    pub message: String,
    /// The member, parameter or name that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The job that holds the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_job_id: Option<String>,
    /// The status of a job that can no longer change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The request, as the log names it.
    pub request_id: String,
}

/// The drain switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainBody {
    /// Whether no job is accepted or started.
    pub enabled: bool,
    /// Why.
    pub reason: Option<String>,
}

/// What a purge removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedBody {
    /// Jobs deleted.
    pub deleted: u64,
}

/// The answer of `/healthz` and `/readyz` when all is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusBody {
    /// `ok` or `ready`.
    pub status: String,
}

impl From<Drain> for DrainBody {
    fn from(drain: Drain) -> Self {
        Self {
            enabled: drain.enabled,
            reason: drain.reason,
        }
    }
}

/// Reads the body of `PUT /drain`.
///
/// # Errors
/// [`BodyError`] when it is no JSON object, has unknown or repeated members or lacks `enabled`, or a value
/// has the wrong type or length.
pub fn read_drain(body: &[u8]) -> Result<Drain, BodyError> {
    let members = read_object(body)?;
    if let Some(unknown) = members
        .keys()
        .find(|name| !["enabled", "reason"].contains(&name.as_str()))
    {
        return Err(unknown_member(unknown, "enabled, reason"));
    }
    let enabled = match members.get("enabled") {
        Some(Value::Bool(enabled)) => *enabled,
        Some(other) => {
            return Err(BodyError::of(
                "enabled",
                format!("enabled must be true or false, not {}", kind(other)),
            ));
        }
        None => return Err(BodyError::of("enabled", "enabled is missing: give true or false")),
    };
    let reason = match members.get("reason") {
        None | Some(Value::Null) => None,
        Some(Value::String(reason)) if reason.chars().count() <= MAX_REASON_CHARS => Some(reason.clone()),
        Some(Value::String(_)) => {
            return Err(BodyError::of(
                "reason",
                format!("reason is longer than {MAX_REASON_CHARS} characters"),
            ));
        }
        Some(other) => {
            return Err(BodyError::of(
                "reason",
                format!("reason must be a string, not {}", kind(other)),
            ));
        }
    };
    Ok(Drain { enabled, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bodies() {
        let error = ErrorBody {
            error: "drain_mode".into(),
            message: "m".into(),
            request_id: "r".into(),
            ..ErrorBody::default()
        };
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"error":"drain_mode","message":"m","request_id":"r"}"#
        );
        let error = ErrorBody {
            field: Some("f".into()),
            active_job_id: Some("j".into()),
            status: Some("failed".into()),
            ..error
        };
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"error":"drain_mode","message":"m","field":"f","active_job_id":"j","status":"failed","request_id":"r"}"#
        );
        assert_eq!(
            serde_json::to_string(&PurgedBody { deleted: 3 }).unwrap(),
            r#"{"deleted":3}"#
        );
        assert_eq!(
            serde_json::to_string(&StatusBody { status: "ok".into() }).unwrap(),
            r#"{"status":"ok"}"#
        );
        assert_eq!(
            serde_json::to_string(&DrainBody::from(Drain::default())).unwrap(),
            r#"{"enabled":false,"reason":null}"#
        );
    }

    #[test]
    fn drain_is_read_strictly() {
        let drain = read_drain(br#"{"enabled": true, "reason": "migration"}"#).unwrap();
        assert_eq!(
            drain,
            Drain {
                enabled: true,
                reason: Some("migration".into())
            }
        );
        assert_eq!(
            read_drain(br#"{"enabled": false, "reason": null}"#).unwrap(),
            Drain::default()
        );
        let long = format!(r#"{{"enabled": true, "reason": "{}"}}"#, "x".repeat(501));
        let cases = [
            ("{}", Some("enabled")),
            (r#"{"enabled": 1}"#, Some("enabled")),
            (r#"{"enabled": true, "reason": 1}"#, Some("reason")),
            (r#"{"enabled": true, "until": 1}"#, Some("until")),
            (long.as_str(), Some("reason")),
            ("true", None),
        ];
        for (body, field) in cases {
            assert_eq!(
                read_drain(body.as_bytes()).unwrap_err().field.as_deref(),
                field,
                "{body}"
            );
        }
    }
}
