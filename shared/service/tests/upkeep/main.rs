//! Sync and orchestrator over the embedded store and a made-up catalog: what is read, written and submitted, and that
//! no bad table, lack of time or second run does harm.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod lake;
mod orchestrate;
mod sync;
mod turns;
