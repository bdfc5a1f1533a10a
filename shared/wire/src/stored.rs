//! How jobs are kept in a store: one versioned JSON document for every store, and the cursors of its lists.
//!
//! Rules: the document holds every member of a job; a document of an unknown version, or with a member this
//! version does not have, is refused and never half read, because writing it back would lose what was not
//! understood. Any change of members raises [`JOB_FORMAT`].

mod cursor;
mod document;
mod parts;

pub use cursor::Cursor;

use snowpack_domain::Job;

/// The version of the job document written. Older ones are read: what they lack has a default.
pub const JOB_FORMAT: u32 = 3;

/// Why a stored document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// It is not a job document: not JSON, or members are missing, unknown or of another type.
    #[error("not a job document: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A newer version of Snowpack wrote it.
    #[error("job document of format {0}; this version of Snowpack reads formats 1 to {JOB_FORMAT}")]
    UnknownFormat(u32),
    /// A member has a value that no job can have.
    #[error("job document with {member} {value:?}")]
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
