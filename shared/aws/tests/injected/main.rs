//! Answers no emulator gives: conflicts, throttling, lost answers, refused keys. They are put in below the SDK,
//! in place of the network.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod dynamo;
mod emr;
mod large_folders;
mod lists;
mod s3;
mod script;
