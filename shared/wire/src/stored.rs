//! How jobs, health reports and runs are kept in a store: one versioned JSON document each for every store, and the
//! cursors of their lists.
//!
//! Rules: the document holds every member; a document of an unknown version, or with a member this version does not
//! have, is refused and never half read, because writing it back would lose what was not understood. Any change of
//! members raises the document's format.

mod cursor;
mod document;
mod health;
mod parts;
mod run;

pub use cursor::Cursor;
pub use health::{decode_health, encode_health};
pub use run::{decode_run, encode_run};

use snowpack_domain::Job;

/// The version of the job document written. Older ones are read: what they lack has a default.
pub const JOB_FORMAT: u32 = 4;
/// The version of the health document written and read.
pub const HEALTH_FORMAT: u32 = 1;
/// The version of the run document written and read.
pub const RUN_FORMAT: u32 = 1;

/// Why a stored document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// It is not such a document: not JSON, or members are missing, unknown or of another type.
    #[error("not a document of Snowpack: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A newer version of Snowpack wrote it.
    #[error("document of format {0}, which this version of Snowpack does not read; a newer one wrote it")]
    UnknownFormat(u32),
    /// A member has a value that it can never have.
    #[error("document with {member} {value:?}")]
    BadValue {
        /// The member.
        member: &'static str,
        /// Its value.
        value: String,
    },
}

impl StoredError {
    pub(crate) fn bad(member: &'static str, value: impl Into<String>) -> Self {
        Self::BadValue {
            member,
            value: value.into(),
        }
    }
}

/// The document of a job.
pub fn encode_job(job: &Job) -> String {
    let document = document::JobDocument::from(job);
    serde_json::to_string(&document).expect("maps with text keys, text and numbers are always JSON")
}

/// The job of a document.
///
/// # Errors
/// [`StoredError`] when the document is of another format or holds what no job can hold.
pub fn decode_job(text: &str) -> Result<Job, StoredError> {
    let head: document::Head = serde_json::from_str(text)?;
    if !(1..=JOB_FORMAT).contains(&head.format) {
        return Err(StoredError::UnknownFormat(head.format));
    }
    serde_json::from_str::<document::JobDocument>(text)?.into_job()
}

#[cfg(test)]
mod tests;
