//! The HTTP API: one router for Lambda and for the local server.
//!
//! Routes translate: they read names, queries and bodies with pure functions, call a use case, and turn its
//! outcome into an answer. Every answer that is not a success is a `problem::Problem`, and `frame`
//! alone renders those, numbers the requests and logs them.

mod api;
mod body;
mod frame;
mod health;
mod jobs;
mod operation;
mod path;
mod problem;
mod prometheus;
mod query;
mod reply;
mod router;
mod runs;
mod submit;
mod tables;
mod ui;

pub use api::{Api, Ports};
pub use frame::RequestId;
pub use operation::OPENAPI;
pub use router::router;
