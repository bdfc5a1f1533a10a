//! One contract for every catalog adapter: SQL on a real file, REST, Glue and S3 Tables against servers in this
//! process that check and apply commits as the real ones do and fail on demand. SQL on a real server is in
//! `tests/postgres`.

// Everything here is a test or helps one; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod glue;
mod glue_server;
mod rest;
mod rest_access;
mod rest_server;
mod rest_signed;
mod s3tables;
mod s3tables_server;
mod signature;
mod sql;
mod suite;
