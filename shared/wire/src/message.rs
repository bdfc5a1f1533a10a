//! The queue message: which job to work on, and nothing else, so that a late or repeated message does no harm.

use serde::{Deserialize, Serialize};
use snowpack_domain::JobId;

/// The version of the message written, and the only one read.
pub const MESSAGE_VERSION: u32 = 1;

/// Why a message cannot be used. Receiving it again does not help.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It is not JSON with a version and a job id.
    #[error("not a job message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another version of Snowpack sent it.
    #[error("job message of version {0}; this version of Snowpack reads version {MESSAGE_VERSION}")]
    UnknownVersion(u32),
    /// It names no job.
    #[error("job message with the job id {0:?}")]
    BadJobId(String),
}

#[derive(Serialize, Deserialize)]
struct JobMessage {
    version: u32,
    job_id: String,
}

/// The message that asks for work on `job`.
pub fn encode_message(job: &JobId) -> String {
    let message = JobMessage {
        version: MESSAGE_VERSION,
        job_id: job.to_string(),
    };
    serde_json::to_string(&message).expect("text and numbers are always JSON")
}

/// The job a message asks for.
///
/// # Errors
/// [`MessageError`] when it is malformed or of another version.
pub fn decode_message(body: &str) -> Result<JobId, MessageError> {
    let message: JobMessage = serde_json::from_str(body)?;
    if message.version != MESSAGE_VERSION {
        return Err(MessageError::UnknownVersion(message.version));
    }
    JobId::parse(&message.job_id).map_err(|_| MessageError::BadJobId(message.job_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_keeps_its_form() {
        let job = JobId::from_u128(7);
        let text = r#"{"version":1,"job_id":"00000000000000000000000000000007"}"#;
        assert_eq!(encode_message(&job), text);
        assert_eq!(decode_message(text).unwrap(), job);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let refusal = |body| decode_message(body).unwrap_err().to_string();
        assert!(refusal("hello").contains("not a job message"));
        assert!(refusal(r#"{"version":2,"job_id":"x"}"#).contains("version 2"));
        assert!(refusal(r#"{"version":1,"job_id":"../x"}"#).contains("../x"));
    }
}
