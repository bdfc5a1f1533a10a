//! The SQL adapter on a real PostgreSQL server, which `SNOWPACK_TEST_POSTGRES` names: the contract of every
//! adapter, encryption, rights, and answers that get lost.

// Everything here is a test or helps one; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

mod harness;
mod proxy;
mod server;
#[path = "../contract/suite.rs"]
mod suite;
