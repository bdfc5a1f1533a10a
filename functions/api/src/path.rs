//! Names and ids in paths, taken from the raw path: each segment is percent-decoded once and then checked.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::percent_decode_str;
use snowpack_domain::{JobId, RunId, TableId};

use crate::problem::Problem;

/// The table of `/tables/{database}/{table}...`.
///
/// # Errors
/// 422 naming the part that is no name, or not UTF-8 once decoded.
pub(crate) fn table(uri: &Uri) -> Result<TableId, Problem> {
    let database = decoded(uri, 2).ok_or_else(|| not_utf8("database"))?;
    let table = decoded(uri, 3).ok_or_else(|| not_utf8("table"))?;
    Ok(TableId::new(&database, &table)?)
}

/// The job of `/jobs/{job_id}...`.
///
/// # Errors
/// 404 when it is no job id: then there is no such job either.
pub(crate) fn job_id(uri: &Uri) -> Result<JobId, Problem> {
    let decoded = decoded(uri, 2).unwrap_or_default();
    JobId::parse(&decoded).map_err(|_| Problem::unknown_job())
}

/// The run of `/orchestrator/runs/{run_id}`.
///
/// # Errors
/// 404 when it is no run id: then there is no such run either.
pub(crate) fn run_id(uri: &Uri) -> Result<RunId, Problem> {
    let decoded = decoded(uri, 3).unwrap_or_default();
    RunId::parse(&decoded).map_err(|_| Problem::unknown_run())
}

/// The segment after that many slashes less one; `None` when it is not UTF-8.
fn decoded(uri: &Uri, index: usize) -> Option<Cow<'_, str>> {
    let segment = uri.path().split('/').nth(index).unwrap_or_default();
    percent_decode_str(segment).decode_utf8().ok()
}

fn not_utf8(field: &str) -> Problem {
    Problem::bad_name(
        field,
        format!("the {field} name is not UTF-8 once percent-decoded"),
    )
}
