//! The REST contract, row by row, over the router and over real HTTP on the loopback interface.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod faulty_store;
mod health;
mod jobs;
mod logs;
mod metrics;
mod openapi;
mod operation;
mod property;
mod raw_http;
mod runs;
mod submit;
mod tables;
mod ui;
mod world;
