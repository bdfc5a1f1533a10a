//! One contract for every catalog adapter: SQL on a real file, REST and Glue against servers in this process
//! that check and apply commits as the real ones do and fail on demand.

// Everything here is a test or helps one; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod glue;
mod glue_server;
mod rest;
mod rest_access;
mod rest_server;
mod rest_signed;
mod signature;
mod sql;
mod suite;
